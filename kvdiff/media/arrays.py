"""Clips in .npy and .npz files: the header is judged before the values are read."""

from __future__ import annotations

import io
import math
import os
import pathlib
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import numpy as np

from kvdiff.diffusion.checks import unit_range
from kvdiff.media.archives import first_array
from kvdiff.media.errors import VideoError
from kvdiff.media.limits import ReadLimits
from kvdiff.media.pixels import check_single_clip, to_pixels

_LONGEST_HEADER = 2**17
_MOST_CLIPS = 10**7  # A listing remembers eight bytes of each.


def array_shape(path: pathlib.Path, file: BinaryIO) -> tuple[int, int, int, int, int]:
    """(clips, frames, height, width, channels) of an array file, from its header and its size alone.

    Raises:
        VideoError: no such array: neither [frames, height, width, 1 or 3] nor [clips, frames, height, width, 1 or 3];
            or a file too small to hold it.
    """
    return _array(path, file).shape


def read_array(
    path: pathlib.Path, file: BinaryIO, limits: ReadLimits, first: int = 0, count: int | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Clips `first` to `first + count` (default: all) of an array file.

    Returns:
        uint8 [clips, frames, height, width, 1 or 3], and what is to be said of them, as in `ClipFacts`.

    Raises:
        VideoError: no such array, cut off, floats outside [-1, 1], or more values than `limits.clip_bytes`.
    """
    array = _array(path, file)
    count = array.shape[0] - first if count is None else count
    size = (array.shape[0] if array.is_fortran else count) * math.prod(array.shape[1:])
    if size > limits.clip_bytes:
        raise VideoError(
            path, f"expected at most {limits.clip_bytes} values (`clip_bytes` of `ReadLimits`). Received: {size}"
        )
    try:
        values = array.values(first, count)
        clips = [check_single_clip("array", clip) for clip in values]
    except Exception as error:  # zlib.error and its like have no common parent.
        raise VideoError(path, f"expected a readable array. Received: {error}") from error
    note = next(filter(None, map(unit_range, clips)), None)
    return np.stack([to_pixels(clip) for clip in clips]), () if note is None else (note,)


class _Array(NamedTuple):
    shape: tuple[int, int, int, int, int]
    dtype: np.dtype
    is_fortran: bool
    read: Callable[[int, int], bytes]
    """`read(start, count)`: bytes of the values."""

    def values(self, first: int, count: int) -> np.ndarray:
        """Clips of the array as they are stored."""
        if self.is_fortran:  # Its clips are not one behind the other.
            return self._part((0, self.shape[-1]), self.shape[::-1]).transpose()[first : first + count]
        return self._part((first, count), self.shape)

    def _part(self, part: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
        first, count = part
        row = math.prod(shape[1:]) * self.dtype.itemsize
        return np.frombuffer(self.read(first * row, count * row), self.dtype).reshape(count, *shape[1:])


def _array(path: pathlib.Path, file: BinaryIO) -> _Array:
    try:
        read, size = _content(file)
        head = io.BytesIO(read(0, _LONGEST_HEADER))
        version = np.lib.format.read_magic(head)
        parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = parse(head)
    except VideoError:
        raise
    except Exception as error:  # A damaged header or directory makes NumPy and zipfile raise almost anything.
        raise VideoError(path, f"expected a {path.suffix} array. Received: {error}") from error
    if dtype.hasobject:
        raise VideoError(path, f"expected a .npy array of numbers. Received: dtype {dtype}")
    if len(shape) not in (4, 5) or min(shape) < 1 or shape[-1] not in (1, 3):
        raise VideoError(path, f"expected an array [frames, height, width, 1 or 3]. Received: {list(shape)}")
    begin, claimed = head.tell(), math.prod(shape) * dtype.itemsize
    if begin + claimed > size:
        raise VideoError(path, f"expected {claimed} bytes of values. Received: {size - begin} (cut off?)")
    clips, frames, height, width, channels = shape if len(shape) == 5 else (1, *shape)
    if clips > _MOST_CLIPS:
        raise VideoError(path, f"expected at most {_MOST_CLIPS} clips in a file. Received: {clips}")
    return _Array(
        (clips, frames, height, width, channels), dtype, is_fortran, lambda at, count: read(begin + at, count)
    )


def _content(file: BinaryIO) -> tuple[Callable[[int, int], bytes], int]:
    """The bytes of the .npy file, as `read(start, count)`, and their number: the file, or the first array inside."""
    beginning = file.read(2)
    if beginning != b"PK":

        def read(start: int, count: int) -> bytes:
            file.seek(start)
            return file.read(count)

        return read, os.fstat(file.fileno()).st_size
    status = os.fstat(file.fileno())
    member = first_array(file, (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
    if member is None:
        raise ValueError("an archive with no array in it")
    return lambda start, count: member.read(file, start, count), member.size
