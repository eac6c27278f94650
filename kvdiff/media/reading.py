"""Read clips from files: videos, arrays, folders of frames. Files may be foreign, damaged or hostile."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import warnings
from typing import Any, NamedTuple

import numpy as np

from kvdiff.diffusion.checks import check_count, check_kind, check_path, check_real, optional
from kvdiff.media.arrays import array_shape, read_array
from kvdiff.media.clocks import num_ticks, rate_of, shown_at
from kvdiff.media.containers import VIDEO_SUFFIXES
from kvdiff.media.decoding import Clip, ClipFacts, decode_video, index_video
from kvdiff.media.errors import VideoError, printable
from kvdiff.media.limits import ReadLimits
from kvdiff.media.opening import ARRAYS, READABLE, check_links, open_regular, real_path
from kvdiff.media.pixels import with_channels
from kvdiff.media.scaling import FrameScaler, check_size
from kvdiff.media.seeking import FrameIndex, NotIndexedError, Seek
from kvdiff.media.stills import read_stills

_ALL = slice(None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipRequest:
    """What to read of one clip.

    Attributes:
        path: a file that ends in one of `READABLE`, or a folder of frames.
        root: folder that the file must lie in once links are followed; None: anywhere.
        links: where else it may lie: a folder, or "anywhere"; None: nowhere.
        member: which clip of an array of several.
        size: (height, width) of the result; None: as it is stored.
        crop: True scales until the frame covers `size` and cuts what stands over evenly, False stretches.
        channels: 1 or 3; None: 1 where every pixel is grey.
        wanted: indices of the frames to keep; None keeps all, an empty tuple none (to count them).
        max_frames: stop after so many frames.
        keep_bytes: where the frames to keep would take more, keep none and only count them; None: refuse what takes
            more than the limits allow.
        seek: how a video's wanted frames are reached without decoding all before them: `FrameIndex.seek`.
    """

    path: str
    root: str | None = None
    links: str | None = None
    member: int = 0
    size: tuple[int, int] | None = None
    crop: bool = True
    channels: int | None = 3
    wanted: tuple[int, ...] | None = None
    max_frames: int | None = None
    keep_bytes: int | None = None
    seek: Seek | None = None


def index_clip(request: ClipRequest, limits: ReadLimits) -> FrameIndex:
    """The index of a long video, in this process, without decoding more than its beginning.

    Raises:
        VideoError: there is no such file, or none that may be opened.
        NotIndexedError: no video, a short one, or one that can be decoded only from its beginning.
        ImportError: PyAV is not installed.
    """
    check_is_video(request)
    path, root = pathlib.Path(request.path), None if request.root is None else pathlib.Path(request.root)
    with open_regular(path, root, limits, request.links) as file:
        return index_video(path, file, limits)


def check_is_video(request: ClipRequest) -> None:
    """Raise NotIndexedError for what has no packets: arrays and folders of frames."""
    path = pathlib.Path(request.path)
    if path.suffix.lower() not in VIDEO_SUFFIXES or path.is_dir():
        raise NotIndexedError("it is no video", is_needed=False)


def decode_clip(request: ClipRequest, limits: ReadLimits) -> Clip:
    """Read what is asked for, in this process.

    Raises:
        VideoError: whatever is wrong with the file.
        ImportError: PyAV or Pillow is not installed.
    """
    path, root = pathlib.Path(request.path), None if request.root is None else pathlib.Path(request.root)
    scaler = FrameScaler(request.size, request.crop)
    part: Any = dict(wanted=request.wanted, max_frames=request.max_frames, keep_bytes=request.keep_bytes, limits=limits)
    if path.is_dir():
        real_path(path, root, request.links)
        clip = read_stills(path, scaler, root=root, links=request.links, **part)
    elif path.suffix.lower() not in READABLE:
        expected = f"a file ending in {', '.join(READABLE)}, or a folder of pictures"
        raise VideoError(path, f"expected {expected}. Received: {path.suffix!r}")
    else:
        with open_regular(path, root, limits, request.links) as file:
            if path.suffix.lower() in ARRAYS:
                values, notes = read_array(path, file, limits, request.member, 1)
                clip = _of_array(path, values[0][: request.max_frames], scaler, request, notes)
            else:
                clip = decode_video(path, file, scaler, seek=request.seek, **part)
    return clip._replace(frames=with_channels(clip.frames, request.channels) if len(clip.frames) else clip.frames)


def _of_array(
    path: pathlib.Path, values: np.ndarray, scaler: FrameScaler, request: ClipRequest, notes: tuple[str, ...]
) -> Clip:
    frames, height, width, _ = values.shape
    order = range(frames) if request.wanted is None else request.wanted
    if order and max(order) >= frames:
        raise VideoError(path, f"expected more than {max(order)} frames. Received: {frames}")
    out_height, out_width = request.size or (height, width)
    if request.keep_bytes is not None and len(order) * out_height * out_width * 3 > request.keep_bytes:
        order = ()
    kept = [scaler.picture(with_channels(values[index], 3)) for index in order]
    pixels = np.stack(kept) if kept else np.zeros((0, 1, 1, 3), np.uint8)
    facts = ClipFacts(path.suffix.lower()[1:], "raw", height, width, 0, notes=notes)
    return Clip(pixels, np.full(frames, np.nan), facts)


def num_clips(path: str | pathlib.Path, root: str | pathlib.Path | None = None, links: str | None = None) -> int:
    """How many clips a file holds: 1, but for arrays of several, whose header tells.

    Raises:
        VideoError: an array file that is not one.
    """
    path = check_path("path", path)
    if path.suffix.lower() not in ARRAYS or path.is_dir():
        return 1
    with open_regular(path, root, links=links) as file:
        return array_shape(path, file)[0]


def read_clip(
    path: str | pathlib.Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    max_frames: int | None = None,
    limits: ReadLimits | None = None,
    links: str | os.PathLike[str] | None = None,
) -> np.ndarray:
    """Read one clip: uint8 [frames, height, width, channels].

    Every frame of a GIF counts once, however long it is shown. Phone videos are turned upright. Decoding happens in
    this process; `ClipReader` does it in others, which can be killed.

    Args:
        path: a file that ends in one of `READABLE`, or a folder of pictures, one a frame. A .npy file, or the first
            array of a .npz file, holds [frames, height, width, 1 or 3], uint8 or floats in [-1, 1].
        size: (height, width) that every frame is resized to cover, what stands over cut off evenly; by default frames
            keep their size.
        channels: 1 (grey) or 3 (colour); by default 1 where every pixel is grey, else 3.
        max_frames: stop after so many frames.
        limits: caps on what the file may ask for.
        links: where links in a folder of pictures may lead besides that folder: into another one, or "anywhere". What
            `path` itself leads to is read.

    Raises:
        FileNotFoundError: no such file.
        VideoError: an unknown suffix, content of another kind, damage, or more than the caps allow.
        ImportError: PyAV, which decodes videos, is not installed.
    """
    clips = _clips(path, size, channels, max_frames, limits, check_links(links)).frames
    if len(clips) != 1:
        raise ValueError(f"{path}: expected one clip. Received: {len(clips)} clips; `read_clips` reads them all")
    return clips[0]


def read_clips(
    path: str | pathlib.Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    max_frames: int | None = None,
    limits: ReadLimits | None = None,
    links: str | os.PathLike[str] | None = None,
) -> np.ndarray:
    """Read every clip of a file: uint8 [clips, frames, height, width, channels].

    A video holds one clip; an array file may hold [clips, frames, height, width, channels]. Arguments as in
    `read_clip`.
    """
    return _clips(path, size, channels, max_frames, limits, check_links(links)).frames


class TimedClips(NamedTuple):
    """The clips of a file, and their clock."""

    frames: np.ndarray
    """uint8 [clips, frames, height, width, channels]."""
    fps: float | None
    """Frames a second of `frames`; None where the file has no clock."""
    source_fps: float | None
    """Frames a second of the file."""
    source_size: tuple[int, int]
    """(height, width) of its upright frames."""


def read_timed_clips(
    path: str | pathlib.Path,
    *,
    target_fps: float | None = None,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    links: str | os.PathLike[str] | None = None,
    first: int | None = None,
    last: int | None = None,
) -> TimedClips:
    """As `read_clips`, with the file's clock, and the frames shown at every multiple of 1 / target_fps seconds.

    A file without a clock (an array, a folder of pictures) keeps its frames as they are. With `first` or `last`, no
    more than so many frames of the result are kept, of its beginning or its end; a long video is then not decoded from
    its beginning, where its file allows that.
    """
    optional(check_real, "target_fps", target_fps, above=0.0)
    for name, count in (("first", first), ("last", last)):
        optional(check_count, name, count)
    if first is not None and last is not None:
        raise ValueError(f"`first`, `last`: expected at most one of them. Received: {first} and {last}")
    part = slice(None if last is None else -last, first)
    return _clips(path, size, channels, None, None, check_links(links), target_fps, part)


def _clips(
    path: str | pathlib.Path,
    size: tuple[int, int] | None,
    channels: int | None,
    max_frames: int | None,
    limits: ReadLimits | None,
    links: str | None,
    target_fps: float | None = None,
    part: slice = _ALL,
) -> TimedClips:
    optional(check_count, "max_frames", max_frames)
    limits = ReadLimits() if limits is None else check_kind("limits", limits, ReadLimits)
    if not check_path("path", path).exists():
        raise FileNotFoundError(f"{path}: no such file")
    request = ClipRequest(
        path=str(path),
        root=str(path) if pathlib.Path(path).is_dir() else None,
        links=links,
        size=None if size is None else check_size("size", size),
        channels=3,
        max_frames=max_frames,
    )
    found = None if part == _ALL else _part(request, limits, target_fps, part)
    if found is not None:
        clips, times = [found[0]], found[1]
        frames = clips[0].frames[None]
    else:
        members = [dataclasses.replace(request, member=member) for member in range(num_clips(path))]
        clips = [decode_clip(member, limits) for member in members]
        times = clips[0].times  # Only arrays hold several clips.
        frames = np.stack([clip.frames[_ticks(times, target_fps)[part]] for clip in clips])
    for note in dict.fromkeys(note for clip in clips for note in clip.facts.notes):
        warnings.warn(f"{printable(path)}: {note}", stacklevel=3)
    source = rate_of(times)
    return TimedClips(
        with_channels(frames, channels),
        (source and target_fps) or source,
        source,
        (clips[0].facts.height, clips[0].facts.width),
    )


def _ticks(times: np.ndarray, target_fps: float | None) -> np.ndarray:
    """The frames of a file that are shown at the ticks of a clock, or all of them: int64."""
    if target_fps is None or rate_of(times) is None:
        return np.arange(len(times))
    return shown_at(times, np.arange(num_ticks(times, target_fps)), target_fps)


def _part(
    request: ClipRequest, limits: ReadLimits, target_fps: float | None, part: slice
) -> tuple[Clip, np.ndarray] | None:
    """Only the frames of a part, and the times of all; None where the file must be decoded to know the times."""
    try:
        index = index_clip(request, limits)
    except NotIndexedError:
        return None
    wanted = tuple(_ticks(index.times, target_fps)[part].tolist())
    clip = decode_clip(dataclasses.replace(request, wanted=wanted, seek=index.seek(wanted)), limits)
    return clip._replace(facts=clip.facts._replace(notes=(*index.notes, *clip.facts.notes))), index.times
