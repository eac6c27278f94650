"""Decode from a key frame inside a long video in place of its beginning, with the same frames to the bit.

An index has the time stamp of every packet, read without decoding, and says from which of them decoding may begin. It
is made only of files in which a packet is a frame with a time stamp of its own. Whoever seeks compares every packet
that follows with the index, so a container whose seeks lead elsewhere is noticed.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from kvdiff.media.clocks import frame_times, jump_notes
from kvdiff.media.units import begins_anew, changes_parameters

_WITH_UNITS = ("h264", "hevc")
_CODECS = (*_WITH_UNITS, "av1", "mjpeg", "prores", "vp9")
"""Those of which one packet is one frame, and whose key frames make the decoder forget what was before.

Not VP8, which has packets that are never shown; not MPEG-1, 2 and 4, which keep more than pictures from frame to frame.
"""
MANY = 500
"""Frames. Files of fewer are decoded whole when they are first needed, and all of their damage is found."""

_COMPARED = 20  # Frames that are decoded to see that they have the packets' time stamps; decoders delay up to 16.
_CUT = "its beginning is damaged, or refers to what was cut off"
_STARTS, _DISCARDED, _RECOVERS = 1, 2, 4
_NONE = -(2**63)  # No decoding time stamp.


@dataclasses.dataclass(frozen=True)
class Seek:
    """Where to begin, and what must be found there.

    Attributes:
        packets: the time stamps (pts) of the packets from a key frame on, in the order of decoding.
        num_ahead: of these, those that need not be decodable: the key frame that counts comes after them.
        dts: the first one's decoding time stamp, where it has one.
        wanted: the time stamps of the wanted frames, ascending.
        file_bytes: of the file that the index was made of.
    """

    packets: Sequence[int]
    num_ahead: int
    dts: int | None
    wanted: Sequence[int]
    file_bytes: int


@dataclasses.dataclass(frozen=True)
class FrameIndex:
    """The frames of a video and the places where decoding may begin.

    Attributes:
        packets: int64 [packets, 3]: time stamp (pts), decoding time stamp (dts), and flags (1: decoding may begin here;
            2: left out of what is shown; 4: beginning here, the decoder misses frames that are named but not needed).
        time_base: seconds of a time stamp's unit, as a fraction.
        rate: frames a second as the file declares it; NaN where it does not.
        file_bytes: of the file.
    """

    packets: np.ndarray
    time_base: tuple[int, int]
    rate: float
    file_bytes: int

    def __post_init__(self) -> None:
        if self.packets.dtype != np.int64 or self.packets.ndim != 2 or self.packets.shape[1] != 3:
            raise ValueError("`packets`: expected int64 [packets, 3]")
        if min(self.time_base) < 1 or not len(self._order) or len(np.unique(self.packets[:, 0])) < len(self.packets):
            raise ValueError("`packets`, `time_base`: expected different time stamps of some frames")

    @functools.cached_property
    def _order(self) -> np.ndarray:
        """The number of the packet of every frame, in the order in which frames are shown."""
        (shown,) = np.nonzero(self.packets[:, 2] & _DISCARDED == 0)
        return shown[np.argsort(self.packets[shown, 0])]

    @functools.cached_property
    def _clock(self) -> tuple[np.ndarray, int]:
        # As PyAV computes the time of a frame, to the bit.
        stamps = self.packets[self._order, 0].astype(np.float64) * self.time_base[0] / self.time_base[1]
        return frame_times(stamps.tolist(), None if np.isnan(self.rate) else self.rate)

    @property
    def times(self) -> np.ndarray:
        """When each frame is shown, as decoding the whole file says: float64 [frames], seconds, ascending."""
        return self._clock[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the clock."""
        return jump_notes(self._clock[1])

    def seek(self, wanted: Sequence[int]) -> Seek | None:
        """How to reach the frames of these indices; None where one must begin at the beginning."""
        if not len(wanted) or max(wanted) >= len(self._order):
            return None
        numbers = self._order[np.unique(wanted)]
        stamps = self.packets[numbers, 0]
        is_start = (self.packets[:, 2] & _STARTS != 0) & (self.packets[:, 0] <= stamps[0])
        (starts,) = np.nonzero(is_start[: numbers.min() + 1])
        if not len(starts) or not starts[-1]:
            return None
        key = int(starts[-1])
        # It complains of frames that are missing; after a further key frame all that are named are there.
        first = int(starts[-2]) if self.packets[key, 2] & _RECOVERS else key
        if not first:
            return None
        dts, end = int(self.packets[first, 1]), int(numbers.max()) + 1
        packets = self.packets[first:end, 0].tolist()
        return Seek(packets, key - first, None if dts == _NONE else dts, stamps.tolist(), self.file_bytes)

    def to_bytes(self) -> bytes:
        """For a file; it has check sums."""
        buffer = io.BytesIO()
        about = np.array([*self.time_base, self.file_bytes], np.int64)
        np.savez(buffer, packets=self.packets, about=about, rate=np.float64(self.rate))
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> FrameIndex:
        """What `to_bytes` has written.

        Raises:
            ValueError: something else, or damage.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                above, below, file_bytes = map(int, arrays["about"])
                return cls(arrays["packets"], (above, below), float(arrays["rate"]), file_bytes)
        except Exception as error:  # NumPy and zipfile have many of them.
            raise ValueError(f"expected an index of frames. Received: {error}") from error


class NotIndexedError(ValueError):
    """Why a file has no index.

    Args:
        reason: a sentence.
        is_needed: whether a long file would need one.
    """

    def __init__(self, reason: str, *, is_needed: bool = True) -> None:
        super().__init__(reason)
        self.is_needed = is_needed


def index_of(container: Any, stream: Any, file: BinaryIO, max_frames: int) -> FrameIndex:
    """The index of an open video.

    Raises:
        NotIndexedError: a short file, or one whose frames cannot be told from its packets.
    """
    codec, extra = stream.codec_context.codec.canonical_name, bytes(stream.codec_context.extradata or b"")
    if codec not in _CODECS:
        raise NotIndexedError(f"its codec is {codec}")
    seen, rows = list[int | None](), list[tuple[int, int, int]]()
    for packet in container.demux(stream):
        if packet.size > 1:
            rows.append(_row(packet, codec, extra))
            if not rows[0][2] & _STARTS:
                raise NotIndexedError(_CUT)
        if len(seen) < _COMPARED:
            try:
                seen += [frame.pts for frame in packet.decode()]
            except Exception as error:  # PyAV has many of them.
                raise NotIndexedError(_CUT) from error
        if len(rows) > max_frames:
            raise NotIndexedError(f"it has more than {max_frames} frames")
    if len(rows) <= MANY:
        raise NotIndexedError(f"it has few frames, {len(rows)}", is_needed=False)
    if container.format.name != "avi" and len(rows) < stream.frames:  # An .avi counts frames that are shown twice.
        raise NotIndexedError("it is damaged")
    table = np.array(rows, np.int64)
    if table[0, 0] > table[:, 0].min():
        raise NotIndexedError(_CUT)
    if not (table[1:, 2] & _STARTS).any():
        raise NotIndexedError("decoding can begin only at its beginning")
    if len(np.unique(table[:, 0])) < len(table):
        raise NotIndexedError("several frames have one time stamp")
    base, rate = stream.time_base, stream.average_rate
    size = file.seek(0, os.SEEK_END)
    index = FrameIndex(table, (base.numerator, base.denominator), np.nan if rate is None else float(rate), size)
    if seen != table[index._order[: len(seen)], 0].tolist():
        raise NotIndexedError("its frames come in another order than its packets say")
    return index


def _row(packet: Any, codec: str, extra: bytes) -> tuple[int, int, int]:
    if packet.pts is None:
        raise NotIndexedError("not all of its frames have a time stamp")
    if packet.is_corrupt:
        raise NotIndexedError("some of its packets are damaged")
    has_units = codec in _WITH_UNITS
    if packet.has_sidedata("new_extradata") or (has_units and changes_parameters(memoryview(packet), codec, extra)):
        raise NotIndexedError("it changes how it is coded")
    begins = None
    if packet.is_keyframe:
        begins = begins_anew(memoryview(packet), codec, extra) if has_units else "reset"
    flags = {"reset": _STARTS, "recovery": _STARTS | _RECOVERS, None: 0}[begins]
    return packet.pts, _NONE if packet.dts is None else packet.dts, flags | _DISCARDED * packet.is_discard


def sought_frames(container: Any, stream: Any, seek: Seek) -> Iterator[tuple[int, Any]]:
    """The wanted frames: (which of `seek.wanted`, frame).

    Raises:
        ValueError: the file is not what the index says, or its seeks lead elsewhere.
    """
    context, numbers = stream.codec_context, {stamp: number for number, stamp in enumerate(seek.wanted)}
    left = len(numbers)
    for at, packet in enumerate(_packets_from_key(container, stream, seek)):
        if at < len(seek.packets) and packet.pts != seek.packets[at]:
            raise ValueError(f"time stamp {packet.pts} in the place of {seek.packets[at]}")
        if context.name == "h264":  # Frames that nobody refers to need not be decoded to have the others.
            context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in numbers else "NONREF"
        try:
            frames = packet.decode()
        except Exception:  # PyAV has many of them.
            if at >= seek.num_ahead:
                raise
            continue
        for frame in frames:
            if frame.is_corrupt and frame.pts is not None and frame.pts >= seek.packets[seek.num_ahead]:
                raise ValueError(f"the frame with time stamp {frame.pts} is damaged")
            if frame.pts in numbers:
                yield numbers[frame.pts], frame
                left -= 1
        if not left:
            return
    raise ValueError(f"{left} of {len(numbers)} frames did not come")


def _packets_from_key(container: Any, stream: Any, seek: Seek) -> Iterator[Any]:
    """What follows a seek, from the key frame on."""
    key = seek.packets[0]
    # Some containers go by when frames are shown, others by when they are decoded, which is earlier.
    for target in dict.fromkeys((key, key if seek.dts is None else min(key, seek.dts))):
        container.seek(target, stream=stream)
        packets = container.demux(stream)
        for packet in packets:
            if packet.pts == key:
                yield packet
                yield from packets
                return
            if packet.pts is None or packet.pts > key:
                break
    raise ValueError(f"no packet with time stamp {key}")
