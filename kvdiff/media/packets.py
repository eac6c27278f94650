"""How many frames a video must give, by the packets that went into its decoder."""

from __future__ import annotations

from typing import Any

from kvdiff.media.units import NEEDS_NONE, is_picture, kind_of, units

_HIDES_FRAMES = ("vp8",)  # Some of its packets hold reference pictures that are never shown.
_HAS_LEADING = ("mpeg1video", "mpeg2video")  # Any picture that others begin from may have some shown before it.


class PacketCount:
    """Counts packets and frames of one decoding.

    A film that was cut out of a longer one can begin with pictures that refer to what is gone. They are left out, as
    players do; from the first whole picture on, everything that went in must come out.

    Args:
        demuxer: what FFmpeg calls the container.
        stream: the video stream.
    """

    def __init__(self, demuxer: str, stream: Any) -> None:
        self._codec, self._extra = stream.codec_context.name, bytes(stream.codec_context.extradata or b"")
        # An .avi counts frames that are shown twice, and elsewhere 0 means that the container does not say.
        self._declared = 0 if demuxer == "avi" else stream.frames
        self._stamps: list[int | None] = []
        self._num_dropped = self._num_shown = 0
        self._first: int | None = None
        self._is_cut: bool | None = None

    @property
    def may_fail(self) -> bool:
        """Whether a packet may be undecodable: nothing was shown yet of a film that begins in the middle."""
        return bool(self._is_cut) and self._codec not in _HAS_LEADING and not self._num_shown

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out at the beginning."""
        left_out = self._num_leading()
        return (f"its first {left_out} frames refer to what was cut off, and are left out",) if left_out else ()

    def add(self, packet: Any) -> None:
        """A packet goes into the decoder."""
        if packet.size <= 1:  # The end; packed MPEG-4 has placeholders of one byte.
            return
        if self._is_cut is None:
            self._is_cut = self._begins_in_the_middle(packet)
        if packet.is_discard:
            self._num_dropped += 1
        else:
            self._stamps.append(packet.pts)

    def show(self, frame: Any) -> None:
        """A frame comes out."""
        if not self._num_shown:
            self._first = frame.pts
        self._num_shown += 1

    def check(self) -> None:
        """Raise where frames are missing."""
        leading = self._num_leading()
        coded = 0 if self._codec in _HIDES_FRAMES else len(self._stamps) - leading
        expected = max(coded, self._declared - self._num_dropped - leading)
        if self._num_shown < expected:
            raise ValueError(f"only {self._num_shown} of its {expected} frames (damaged?)")

    def _num_leading(self) -> int:
        """Packets whose frames would have been shown before the first that was."""
        if not self._is_cut or self._first is None:
            return 0
        return sum(stamp is None or stamp < self._first for stamp in self._stamps)

    def _begins_in_the_middle(self, packet: Any) -> bool:
        """Whether the first packet may refer to earlier ones; of one that is damaged, no."""
        if self._codec in _HAS_LEADING:
            return True
        if self._codec not in NEEDS_NONE:
            return False
        try:
            kinds = {kind_of(unit, self._codec) for unit in units(bytes(packet), self._codec, self._extra)}
        except ValueError:
            return False
        if self._codec == "h264":
            return 1 in kinds and not kinds & NEEDS_NONE["h264"]
        return any(is_picture(kind, "hevc") for kind in kinds) and not kinds & NEEDS_NONE["hevc"]
