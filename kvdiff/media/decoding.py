"""Decode videos with PyAV. The bytes may be foreign, damaged or hostile: nothing but `VideoError` comes out."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from kvdiff.media.clocks import frame_times, jump_notes
from kvdiff.media.containers import VIDEO_SUFFIXES, Container, container_of
from kvdiff.media.errors import VideoError
from kvdiff.media.gifs import with_delays
from kvdiff.media.libraries import import_av
from kvdiff.media.limits import ReadLimits
from kvdiff.media.orientation import Orientation, orientation_of
from kvdiff.media.packets import PacketCount
from kvdiff.media.scaling import FrameScaler
from kvdiff.media.seeking import FrameIndex, NotIndexedError, Seek, index_of, sought_frames
from kvdiff.media.wholeness import check_whole

_HDR = {16: "PQ", 18: "HLG"}
"""By FFmpeg's AVCOL_TRC numbers."""


class ClipFacts(NamedTuple):
    """What is known of a file besides its pixels."""

    container: str
    codec: str
    height: int
    """Of a frame as it is stored, turned upright."""
    width: int
    rotation: int
    """Degrees counter-clockwise by which stored frames are turned, after `is_mirrored`."""
    is_mirrored: bool = False
    """Whether left and right of stored frames are exchanged."""
    notes: tuple[str, ...] = ()
    """What a user should know of how the file was read: parts of sentences about "its" this and that."""


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
    keep_bytes: int | None = None,
    limits: ReadLimits,
    seek: Seek | None = None,
) -> Clip:
    """The frames of an open video, upright, with 3 channels, in the order in which they are shown.

    Args:
        path: names the file in errors; its suffix says which container it is where its first bytes do not.
        file: the open file. Nothing else is opened.
        scaler: gives frames their size.
        wanted: indices of the frames to keep, in any order, repeats allowed; decoding stops after the last. An empty
            list keeps none and decodes all, to count them. None keeps all.
        max_frames: stop after so many.
        keep_bytes: once the frames to keep take more, keep none and go on counting; None: refuse what takes more than
            the limits allow.
        limits: caps.
        seek: how to reach the wanted frames without decoding all before them, from an index of the file. Where that
            fails, decoding begins at the beginning, and a note says so.

    Raises:
        VideoError: content of another kind, damage, fewer frames than declared, or more than the caps allow.
    """
    notes: list[str] = []
    try:
        kind = container_of(path.suffix.lower(), file)
        clip = None
        if seek is not None and wanted:
            try:
                clip = _sought(
                    kind, file, _Keeper(scaler, wanted, None, None, limits), limits, seek, sorted(set(wanted))
                )
            except Exception as error:  # Whatever it is, decoding from the beginning decides.
                notes.append(f"seeking in it fails, so it is decoded from its beginning ({_reason(error)})")
        if clip is None:
            check_whole(kind.demuxer, file)
            clip = _decode(kind, file, _Keeper(scaler, wanted, max_frames, keep_bytes, limits), limits)
    except ImportError:
        raise
    except Exception as error:  # Hostile bytes make the decoder raise almost anything.
        raise VideoError(path, f"expected a readable {path.suffix} video. Received: {_reason(error)}") from error
    if kind != VIDEO_SUFFIXES[path.suffix.lower()]:
        notes.append(f"its suffix says {path.suffix}, its content is {kind.name}")
    return clip._replace(facts=clip.facts._replace(notes=(*notes, *clip.facts.notes)))


def index_video(path: pathlib.Path, file: BinaryIO, limits: ReadLimits) -> FrameIndex:
    """The index of an open video, for `FrameIndex.seek`, without decoding more than its beginning.

    Raises:
        NotIndexedError: whatever the reason, and be it damage, which decoding finds again.
        ImportError: PyAV is not installed.
    """
    try:
        kind = container_of(path.suffix.lower(), file)
        check_whole(kind.demuxer, file)
        with _opened(kind, file, limits) as (container, stream):
            return index_of(container, stream, file, limits.frames)
    except (NotIndexedError, ImportError):
        raise
    except Exception as error:
        raise NotIndexedError(_reason(error)) from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


@contextlib.contextmanager
def _opened(kind: Container, file: BinaryIO, limits: ReadLimits) -> Iterator[tuple[Any, Any]]:
    """PyAV's container and its film, about to be decoded."""
    # Only the container that was found, and no protocol at all: the bytes come from `file`, and a playlist in disguise
    # reaches nothing else.
    options = {"format_whitelist": kind.demuxer, "protocol_whitelist": "none"}
    file.seek(0)
    content = with_delays(file) if kind.demuxer == "gif" else file
    with import_av().open(content, options=options, metadata_errors="ignore") as container:
        stream = _track(container)
        stream.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode", "max_pixels": str(limits.frame_pixels)}
        yield container, stream


def _decode(kind: Container, file: BinaryIO, keeper: _Keeper, limits: ReadLimits) -> Clip:
    with _opened(kind, file, limits) as (container, stream):
        count = PacketCount(container.format.name, stream)
        for frame in _shown_frames(container, stream, count):
            if keeper.take(frame):
                break
        rate = None if stream.average_rate is None else float(stream.average_rate)
        times, num_jumps = frame_times(keeper.stamps, rate, are_stored=kind.demuxer == "avi")
        notes = [*count.notes, *jump_notes(num_jumps), *_squareness(stream)]
        facts = keeper.facts(container.format.name, stream.codec_context.name, notes)
        return Clip(keeper.frames(), times, facts)


def _sought(
    kind: Container, file: BinaryIO, keeper: _Keeper, limits: ReadLimits, seek: Seek, indices: Sequence[int]
) -> Clip:
    """The wanted frames, whose indices are given in their order, from the last key frame before them."""
    if file.seek(0, os.SEEK_END) != seek.file_bytes:
        raise ValueError("the file has changed")
    with _opened(kind, file, limits) as (container, stream):
        for number, frame in sought_frames(container, stream, seek):
            keeper.take(frame, indices[number])
        facts = keeper.facts(container.format.name, stream.codec_context.name, _squareness(stream))
        return Clip(keeper.frames(), np.array(keeper.stamps, np.float64), facts)


def _squareness(stream: Any) -> list[str]:
    if stream.sample_aspect_ratio in (None, 0, 1):
        return []
    return [f"its pixels are not square ({stream.sample_aspect_ratio}), and are taken as they are"]


def _track(container: Any) -> Any:
    """The video that players show: neither a cover nor a preview."""
    is_cover = import_av().stream.Disposition.attached_pic
    films = [stream for stream in container.streams.video if not stream.disposition & is_cover]
    if not films:
        raise ValueError("no video stream" + (" but a cover picture" if container.streams.video else ""))
    best = container.streams.best("video")
    return best if best in films else films[0]


class _Keeper:
    """Keeps the wanted frames, and the times of all."""

    def __init__(
        self,
        scaler: FrameScaler,
        wanted: Sequence[int] | None,
        max_frames: int | None,
        keep_bytes: int | None,
        limits: ReadLimits,
    ) -> None:
        self.stamps: list[float | None] = []
        self._scaler, self._wanted, self._limits = scaler, wanted, limits
        self._needed: Collection[int] | None = None if wanted is None else frozenset(wanted)
        self._last = max(wanted) if wanted else None if max_frames is None else max_frames - 1
        self._keep_bytes, self._kept = keep_bytes, dict[int, np.ndarray]()
        self._shape = (0, 0)
        self._orientation = Orientation()
        self._notes: dict[str, None] = {}

    def take(self, frame: Any, index: int | None = None) -> bool:
        """See the next frame, or the one of an index; whether it was the last one needed."""
        index = len(self.stamps) if index is None else index
        self._check(index, frame)
        self.stamps.append(frame.time)
        if self._needed is None or index in self._needed:
            picture = self._scaler.frame(frame)
            self._kept[index] = picture
            kept_bytes = len(self._kept) * picture.nbytes
            if self._keep_bytes is not None and kept_bytes > self._keep_bytes:
                self._kept.clear()
                self._wanted = self._needed = ()
            elif kept_bytes > self._limits.clip_bytes:
                limit = f"{self._limits.clip_bytes} bytes of pixels"
                raise ValueError(f"more than {limit} (`clip_bytes` of `ReadLimits`; smaller or fewer frames help)")
        return index == self._last

    def _check(self, index: int, frame: Any) -> None:
        if index >= self._limits.frames:
            raise ValueError(f"more than {self._limits.frames} frames (`frames` of `ReadLimits`)")
        if frame.height * frame.width > self._limits.frame_pixels:
            raise ValueError(f"a frame of {frame.height}×{frame.width} pixels, more than {self._limits.frame_pixels}")
        if not self.stamps:
            self._shape, self._orientation = (frame.height, frame.width), orientation_of(frame)
        if frame.interlaced_frame:
            self._notes["its frames are interlaced, so what moves has combs"] = None
        if frame.color_trc in _HDR:
            self._notes[f"its colours are of high dynamic range ({_HDR[frame.color_trc]}), and come out pale"] = None
        if frame.is_corrupt:
            raise ValueError(f"frame {index} is damaged")

    def frames(self) -> np.ndarray:
        """uint8 [frames kept, height, width, 3]."""
        if not self.stamps:
            raise ValueError("no frame")
        order = range(len(self.stamps)) if self._wanted is None else self._wanted
        if missing := set(order) - set(self._kept):
            raise ValueError(f"{len(self.stamps)} frames, none with index {min(missing)}")
        shapes = {frame.shape[:2] for frame in self._kept.values()}
        if len(shapes) > 1:
            raise ValueError(f"frames of several sizes: {sorted(shapes)}")
        return np.stack([self._kept[index] for index in order]) if order else np.zeros((0, 1, 1, 3), np.uint8)

    def facts(self, container: str, codec: str, notes: Sequence[str]) -> ClipFacts:
        is_mirrored, quarters = self._orientation
        height, width = self._shape[::-1] if quarters % 2 else self._shape
        return ClipFacts(container, codec, height, width, 90 * quarters, is_mirrored, (*notes, *self._notes))


def _shown_frames(container: Any, stream: Any, count: PacketCount) -> Iterator[Any]:
    """Every frame, then an error where fewer came out than went in: of damage the decoders say little."""
    for packet in container.demux(stream):
        count.add(packet)
        try:
            frames = packet.decode()
        except Exception:  # PyAV has many of them.
            if count.may_fail:
                continue
            raise
        for frame in frames:
            count.show(frame)
            yield frame
    count.check()
