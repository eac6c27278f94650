"""The decoded videos of a data set: read when first needed, then remembered as far as asked for."""

from __future__ import annotations

import collections
import hashlib
import io
import math
import os
import pathlib
import threading
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from kvdiff.data.listing import Video
from kvdiff.diffusion.checks import check_path
from kvdiff.media import (
    MANY,
    Clip,
    ClipReader,
    ClipRequest,
    FrameIndex,
    NotIndexedError,
    VideoError,
    check_folder_writable,
    list_stills,
    printable,
    write_bytes,
)

_Measure = TypeVar("_Measure")
_SPARE = 256 * 2**20  # Bytes of frames that are kept for a moment to spare a second decoding.
_LAYOUT = "2"  # Of the cache: a change of pixels or files makes it another.


class VideoStore:
    """Frames of videos, brought to one size.

    Args:
        reader: decodes.
        image_size: (height, width).
        crop: as in `ClipRequest`.
        channels: 1 or 3.
        cache: None: videos are decoded every time. "memory": kept. A folder: kept there, uint8 .npy files that further
            data sets of the same size, crop and channels use too; a file that has changed since is decoded again.
        index: a folder for the indices of long videos, which data sets of any size use again, or None: in memory. They
            are needed where frames are not kept: clips are then decoded from the key frame before them.
        default_fps: frames a second of arrays and folders of frames, which have no clock.
    """

    dtype: Any = np.uint8

    def __init__(
        self,
        reader: ClipReader,
        *,
        image_size: tuple[int, int],
        crop: bool,
        channels: int,
        cache: str | os.PathLike[str] | None = None,
        index: str | os.PathLike[str] | None = None,
        default_fps: float | None = None,
    ) -> None:
        self.reader = reader
        self.options: dict[str, Any] = dict(size=image_size, crop=crop, channels=channels)
        self._folder = None if cache in (None, "memory") else check_path("cache", cache)
        self._in_memory = cache == "memory"
        self._caches = cache is not None
        self._index_folder = self._folder if index is None else check_path("index", index)
        self._default_fps = default_fps
        self._kept: dict[Video, np.ndarray] = {}
        self._times: dict[Video, np.ndarray] = {}
        self._indices: dict[Video, FrameIndex | NotIndexedError] = {}
        self._bad: dict[Video, VideoError] = {}
        self._locks: collections.defaultdict[Video, threading.Lock] = collections.defaultdict(threading.Lock)
        self._said: set[str] = set()
        self._is_tried: set[pathlib.Path] = set()
        self.frames_decoded = 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every frame."""
        return (*self.options["size"], self.options["channels"])

    def measured(self, video: Video, measure: Callable[[np.ndarray], _Measure]) -> _Measure:
        """What `measure` makes of the times at which a video's frames are shown; decodes it to know them.

        Raises:
            VideoError: whatever is wrong with the file, the same again without another look at it; or the ValueError of
                `measure` in its place.
        """
        with self._locks[video]:
            self._find(video, keep=self._caches)
            times = self._times[video]
        try:
            return measure(times)
        except ValueError as error:
            raise VideoError(video.path, str(error)) from error

    def frames(self, video: Video, choose: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Frames of a video, uint8 [frames, height, width, channels]; `choose` gives their indices from the times.

        Raises:
            VideoError: as `measured` does.
        """
        with self._locks[video]:
            pixels = self._find(video, keep=True)
            times = self._times[video]
        try:
            wanted = choose(times)
        except ValueError as error:
            raise VideoError(video.path, str(error)) from error
        if pixels is not None:
            return np.ascontiguousarray(pixels[wanted])
        return self._read(video, wanted=tuple(map(int, wanted))).frames

    def _find(self, video: Video, keep: bool) -> np.ndarray | None:
        """All frames where they are at hand, having seen to it that the times are known."""
        if video in self._bad:
            raise self._bad[video]
        if video in self._kept:
            return self._kept[video]
        stem = None if self._folder is None else self._stem(self._folder, video)
        found = None if stem is None else self._cached(stem)
        if found is None:
            if video in self._times and stem is None:
                return None
            if not self._caches and (index := self._index(video)) is not None:
                self._times[video] = self._clocked(index.times)
                return None
            if self._folder is not None:
                self._check_writable(self._folder)
            found = self._decoded(video, keep)
            self._say_slow(video, found[1])
            if stem is not None:
                _write(stem, *found)
        if self._in_memory:
            self._kept[video] = found[0]
        self._times[video] = self._clocked(found[1])
        return found[0] if keep and len(found[0]) else None

    def _decoded(self, video: Video, keep: bool) -> tuple[np.ndarray, np.ndarray]:
        """Frames and times; all frames where there is a cache, else those of a short video or none."""
        most = self.reader.limits.clip_bytes
        if not keep:
            clip = self._read(video, wanted=())
        else:
            clip = self._read(video, wanted=None, keep_bytes=most if self._caches else min(most, _SPARE))
        count = len(clip.times)
        if len(clip.frames) or not self._caches:
            return clip.frames, clip.times
        # More than one answer may hold: part by part.
        part = max(most // math.prod(self.image_shape[:2]) // 3, 1)
        self._index(video)
        parts = [
            self._read(video, wanted=tuple(range(first, min(first + part, count)))) for first in range(0, count, part)
        ]
        return np.concatenate([clip.frames for clip in parts]), clip.times

    def _read(self, video: Video, wanted: tuple[int, ...] | None, keep_bytes: int | None = None) -> Clip:
        index = self._indices.get(video)
        seek = index.seek(wanted) if isinstance(index, FrameIndex) and wanted is not None else None
        try:
            clip = self.reader.read(self._request(video, wanted=wanted, keep_bytes=keep_bytes, seek=seek))
        except VideoError as error:
            # Of a video with an index only the part that was read is known to be bad: whether a clip of it can be had
            # must not depend on which others were asked for before.
            if self._caches or not isinstance(index, FrameIndex):
                self._bad[video] = error
            raise
        self.frames_decoded += len(clip.times)
        self._say(video, clip.facts.notes)
        return clip

    def _request(self, video: Video, **part: Any) -> ClipRequest:
        path, root = str(video.path), str(video.root)
        return ClipRequest(path=path, root=root, links=video.links, member=video.member, **part, **self.options)

    # The index.

    def _index(self, video: Video) -> FrameIndex | None:
        """The index of a long video; None of a short one, and where decoding can begin only at the beginning."""
        if video not in self._indices:
            folder = self._index_folder
            try:
                index = self._made_index(video) if folder is None else self._kept_index(video, folder)
            except NotIndexedError as error:
                self._indices[video] = error
            except VideoError as error:
                self._bad[video] = error
                raise
            else:
                self._indices[video] = index
                self._say(video, index.notes)
        found = self._indices[video]
        return found if isinstance(found, FrameIndex) else None

    def _made_index(self, video: Video) -> FrameIndex:
        return self.reader.index(self._request(video))

    def _kept_index(self, video: Video, folder: pathlib.Path) -> FrameIndex:
        """From the folder, else made and put there."""
        path = f"{self._stem(folder, video, 'index')}.index"
        try:
            return FrameIndex.from_bytes(pathlib.Path(path).read_bytes())
        except (OSError, ValueError):  # Not there, or damaged: made again.
            index = self._made_index(video)
            self._check_writable(folder)
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, index.to_bytes())
            return index

    def _say_slow(self, video: Video, times: np.ndarray) -> None:
        """Warn of a long video that is decoded from its beginning for every clip."""
        error = self._indices.get(video)
        if isinstance(error, NotIndexedError) and error.is_needed and len(times) > MANY and not self._caches:
            self._say(video, (f"each of its clips is decoded from its beginning; a `cache` spares that ({error})",))

    def _check_writable(self, folder: pathlib.Path) -> None:
        """Refuse a folder that files cannot be put into; one that holds everything may be read-only."""
        if folder not in self._is_tried:
            check_folder_writable(folder)
            self._is_tried.add(folder)

    def _say(self, video: Video, notes: tuple[str, ...]) -> None:
        """Warn of what is to be known of a file, of each kind once."""
        for note in notes:
            kind = note.split("(")[0]
            if kind not in self._said:
                self._said.add(kind)
                warnings.warn(f"{printable(video.path)}: {note} (said of the first such file alone)", stacklevel=2)

    def _clocked(self, times: np.ndarray) -> np.ndarray:
        if self._default_fps is None or not np.isnan(times).any():
            return times
        return np.arange(len(times)) / self._default_fps

    # The cache.

    def _cached(self, stem: str) -> tuple[np.ndarray, np.ndarray] | None:
        try:
            times = np.load(f"{stem}.times.npy", allow_pickle=False)
            frames = np.load(f"{stem}.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):  # Not there, or cut off: decoded again.
            return None
        shape = (len(times), *self.image_shape)
        return (frames, times) if frames.shape == shape and frames.dtype == np.uint8 else None

    def _stem(self, folder: pathlib.Path, video: Video, what: str | None = None) -> str:
        """The cached files' path, from the file as it is now and from what is computed of it, by default frames."""
        try:
            entries = list_stills(video.path) if video.path.is_dir() else [video.path]
            stamps = [(str(entry.resolve()), entry.stat().st_mtime_ns, entry.stat().st_size) for entry in entries]
        except OSError as error:
            raise VideoError(video.path, f"no such file ({error.strerror})") from error
        key = repr((_LAYOUT, stamps, video.member, what or sorted(self.options.items())))
        digest = hashlib.sha256(key.encode()).hexdigest()
        return str(folder / digest[:2] / digest[2:34])


def _write(stem: str, frames: np.ndarray, times: np.ndarray) -> None:
    pathlib.Path(stem).parent.mkdir(parents=True, exist_ok=True)
    write_bytes(f"{stem}.times.npy", npy(times))
    write_bytes(f"{stem}.npy", npy(frames))


def npy(array: np.ndarray) -> bytes:
    """An array as the content of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
