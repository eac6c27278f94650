"""Clips in .npy and .npz files: the header is judged before the values are read."""

from __future__ import annotations

import contextlib
import math
import pathlib
import zipfile
from collections.abc import Iterator
from typing import IO, BinaryIO

import numpy as np

from kvdiff.media.errors import VideoError
from kvdiff.media.limits import ReadLimits
from kvdiff.media.pixels import check_single_clip, to_pixels

__all__ = ["array_shape", "read_array"]


def array_shape(path: pathlib.Path, file: BinaryIO) -> tuple[int, int, int, int, int]:
    """(clips, frames, height, width, channels) of an array file, from its header alone.

    Raises:
        VideoError: no such array: neither [frames, height, width, 1 or 3] nor [clips, frames, height, width, 1 or 3].
    """
    with _stream(path, file) as stream:
        return _header(path, stream)[0]


def read_array(
    path: pathlib.Path, file: BinaryIO, limits: ReadLimits, first: int = 0, count: int | None = None
) -> np.ndarray:
    """Clips `first` to `first + count` (default: all) of an array file, uint8 [clips, frames, height, width, 1 or 3].

    Raises:
        VideoError: no such array, cut off, floats outside [-1, 1], or more values than `limits.clip_bytes`.
    """
    with _stream(path, file) as stream:
        shape, dtype, is_fortran = _header(path, stream)
        count = shape[0] - first if count is None else count
        size = (shape[0] if is_fortran else count) * math.prod(shape[1:])
        if size > limits.clip_bytes:
            raise VideoError(path, f"expected at most {limits.clip_bytes} values. Received: {size}")
        if is_fortran:  # Its clips are not one behind the other.
            values = _values(path, stream, (0, shape[-1]), shape[::-1], dtype).transpose()[first : first + count]
        else:
            values = _values(path, stream, (first, count), shape, dtype)
    try:
        return np.stack([to_pixels(check_single_clip("array", clip)) for clip in values])
    except (TypeError, ValueError) as error:
        raise VideoError(path, str(error)) from error


def _values(
    path: pathlib.Path, stream: IO[bytes], part: tuple[int, int], shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    first, count = part
    clip_bytes = math.prod(shape[1:]) * dtype.itemsize
    try:
        stream.seek(first * clip_bytes, 1)
        content = stream.read(count * clip_bytes)
    except Exception as error:  # zlib.error and its like have no common parent.
        raise VideoError(path, f"expected a readable array. Received: {error}") from error
    if len(content) != count * clip_bytes:
        raise VideoError(path, f"expected {count * clip_bytes} bytes of values. Received: {len(content)} (cut off?)")
    return np.frombuffer(content, dtype).reshape(count, *shape[1:])


def _header(path: pathlib.Path, stream: IO[bytes]) -> tuple[tuple[int, int, int, int, int], np.dtype, bool]:
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(stream)
    except Exception as error:  # A damaged header makes NumPy raise almost anything.
        raise VideoError(path, f"expected a .npy array. Received: {error}") from error
    if dtype.hasobject:
        raise VideoError(path, f"expected a .npy array of numbers. Received: dtype {dtype}")
    if len(shape) not in (4, 5) or 0 in shape or shape[-1] not in (1, 3):
        raise VideoError(path, f"expected an array [frames, height, width, 1 or 3]. Received: {list(shape)}")
    clips, frames, height, width, channels = shape if len(shape) == 5 else (1, *shape)
    return (clips, frames, height, width, channels), dtype, is_fortran


@contextlib.contextmanager
def _stream(path: pathlib.Path, file: BinaryIO) -> Iterator[IO[bytes]]:
    """The bytes of the .npy file: `file` itself, or the first array of the archive that it is."""
    if path.suffix.lower() == ".npy":
        yield file
        return
    try:
        archive = zipfile.ZipFile(file)
        member = next((name for name in archive.namelist() if name.endswith(".npy")), None)
    except Exception as error:  # A damaged directory makes zipfile raise almost anything.
        raise VideoError(path, f"expected a .npz archive. Received: {error}") from error
    if member is None:
        raise VideoError(path, "expected a .npz archive with an array. Received: none in it")
    with archive, archive.open(member) as stream:
        yield stream
