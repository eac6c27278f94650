"""Decode videos with PyAV. The bytes may be foreign, damaged or hostile: nothing but `VideoError` comes out."""

from __future__ import annotations

import pathlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from kvdiff.media.errors import VideoError
from kvdiff.media.libraries import import_av
from kvdiff.media.limits import ReadLimits
from kvdiff.media.opening import VIDEO_FORMATS
from kvdiff.media.scaling import FrameScaler
from kvdiff.media.wholeness import check_whole

__all__ = ["Clip", "ClipFacts", "decode_video"]

_HIDES_FRAMES = ("vp8",)  # Some of its packets hold reference pictures that are never shown.
_USUAL_RATE = 25.0  # Frames a second, where a file says nothing at all of time.


class ClipFacts(NamedTuple):
    """What is known of a file besides its pixels."""

    container: str
    codec: str
    height: int
    """Of a frame as it is stored, turned upright."""
    width: int
    rotation: int
    """Degrees counter-clockwise by which stored frames are turned."""


class Clip(NamedTuple):
    """Frames, and when each of the file's frames begins to be shown."""

    frames: np.ndarray
    """uint8 [frames kept, height, width, channels]."""
    times: np.ndarray
    """float64 [frames of the file], seconds, ascending; NaN where it has no clock (arrays, folders of frames). Where
    decoding stopped early, only those of the frames seen."""
    facts: ClipFacts


def decode_video(
    path: pathlib.Path,
    file: BinaryIO,
    scaler: FrameScaler,
    *,
    wanted: Sequence[int] | None = None,
    max_frames: int | None = None,
    limits: ReadLimits,
) -> Clip:
    """The frames of an open video, upright, with 3 channels, in the order in which they are shown.

    Args:
        path: names the file in errors; its suffix says which container the file must hold.
        file: the open file. Nothing else is opened.
        scaler: gives frames their size.
        wanted: indices of the frames to keep, in any order, repeats allowed; decoding stops after the last. An empty
            list keeps none and decodes all, to count them. None keeps all.
        max_frames: stop after so many.
        limits: caps.

    Raises:
        VideoError: content of another kind, damage, fewer frames than declared, or more than the caps allow.
    """
    try:
        check_whole(path.suffix.lower(), file)
        return _decode(path, file, _Keeper(scaler, wanted, max_frames, limits), limits)
    except Exception as error:  # Hostile bytes make the decoder raise almost anything.
        reason = str(error) or type(error).__name__
        raise VideoError(path, f"expected a readable {path.suffix} video. Received: {reason}") from error


def _decode(path: pathlib.Path, file: BinaryIO, keeper: _Keeper, limits: ReadLimits) -> Clip:
    # Only the container that the suffix promises, and no protocol at all: the bytes come from `file`, and a playlist in
    # disguise reaches nothing else.
    options = {"format_whitelist": VIDEO_FORMATS[path.suffix.lower()], "protocol_whitelist": "none"}
    with import_av().open(file, options=options, metadata_errors="ignore") as container:
        if not container.streams.video:
            raise ValueError("no video stream")
        stream = container.streams.video[0]
        stream.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode", "max_pixels": str(limits.frame_pixels)}
        for frame in _shown_frames(container, stream):
            if keeper.take(frame):
                break
        return Clip(keeper.frames(), _clock(keeper.times, stream), keeper.facts(container.format.name, stream))


class _Keeper:
    """Keeps the wanted frames, and the times of all."""

    def __init__(
        self, scaler: FrameScaler, wanted: Sequence[int] | None, max_frames: int | None, limits: ReadLimits
    ) -> None:
        self.times: list[float | None] = []
        self._scaler, self._wanted, self._limits = scaler, wanted, limits
        self._needed: Collection[int] | None = None if wanted is None else frozenset(wanted)
        self._last = max(wanted) if wanted else None if max_frames is None else max_frames - 1
        self._kept: dict[int, np.ndarray] = {}
        self._shape = (0, 0, 0)

    def take(self, frame: Any) -> bool:
        """See the next frame; whether it was the last one needed."""
        index = len(self.times)
        self._check(index, frame)
        self.times.append(frame.time)
        if self._needed is None or index in self._needed:
            picture = self._scaler.frame(frame)
            self._kept[index] = picture
            if len(self._kept) * picture.nbytes > self._limits.clip_bytes:
                limit = f"{self._limits.clip_bytes} bytes of pixels"
                raise ValueError(f"more than {limit} (`clip_bytes`; a smaller `size` or `max_frames` helps)")
        return index == self._last

    def _check(self, index: int, frame: Any) -> None:
        if index >= self._limits.frames:
            raise ValueError(f"more than {self._limits.frames} frames")
        if frame.height * frame.width > self._limits.frame_pixels:
            raise ValueError(f"a frame of {frame.height}×{frame.width} pixels, more than {self._limits.frame_pixels}")
        if not index:
            self._shape = (frame.height, frame.width, round(frame.rotation))

    def frames(self) -> np.ndarray:
        """uint8 [frames kept, height, width, 3]."""
        if not self.times:
            raise ValueError("no frame")
        order = range(len(self.times)) if self._wanted is None else self._wanted
        if missing := set(order) - set(self._kept):
            raise ValueError(f"{len(self.times)} frames, none with index {min(missing)}")
        shapes = {frame.shape[:2] for frame in self._kept.values()}
        if len(shapes) > 1:
            raise ValueError(f"frames of several sizes: {sorted(shapes)}")
        return np.stack([self._kept[index] for index in order]) if order else np.zeros((0, 1, 1, 3), np.uint8)

    def facts(self, container: str, stream: Any) -> ClipFacts:
        height, width, rotation = self._shape
        upright = (width, height) if rotation % 180 else (height, width)
        return ClipFacts(container, stream.codec_context.name, *upright, rotation)


def _shown_frames(container: Any, stream: Any) -> Iterator[Any]:
    """Every frame, then an error where fewer came out than went in: of damage the decoders say little."""
    coded = dropped = shown = 0
    for packet in container.demux(stream):
        dropped += bool(packet.is_discard)
        coded += packet.size > 1 and not packet.is_discard  # Packed MPEG-4 has placeholders of one byte.
        for frame in packet.decode():
            shown += 1
            yield frame
    if stream.codec_context.name in _HIDES_FRAMES:
        coded = 0
    # An .avi counts frames that are shown twice, and elsewhere 0 means that the container does not say.
    declared = 0 if container.format.name == "avi" else stream.frames
    expected = max(coded, declared - dropped)
    if shown < expected:
        raise ValueError(f"only {shown} of its {expected} frames (damaged?)")


def _clock(times: list[float | None], stream: Any) -> np.ndarray:
    """Times of frames in the order in which they are shown, whatever the container made of them.

    Frames leave the decoder in that order, so sorted times belong to them; .avi gives those of the stored order.
    """
    known = [time for time in times if time is not None]
    if len(known) < len(times):
        return np.arange(len(times)) / float(stream.average_rate or _USUAL_RATE)
    return np.sort(np.array(known, np.float64))
