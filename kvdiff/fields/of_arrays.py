"""Arrays in .npy files, mapped into memory, and folders of pictures with more than 8 bits."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np

from kvdiff.fields.source import FieldError, Source, import_for
from kvdiff.media.libraries import import_pillow
from kvdiff.media.stills import list_stills

_ROLES = {"0": "time", "1": "height", "2": "width", "3": "channel"}


def array_sources(path: str | os.PathLike[str]) -> list[Source]:
    """A source for each clip of a .npy file [frames, height, width], […, channels] or [clips, …, channels].

    Raises:
        FieldError: no such array.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FieldError(path, "", f"expected a .npy file. Received: {error}") from error
    return sources_of_array(path, array)


def sources_of_array(path: str | os.PathLike[str], array: np.ndarray) -> list[Source]:
    """As `array_sources`, of an array at hand."""
    if not isinstance(array, np.ndarray) or array.ndim not in (3, 4, 5) or array.dtype.kind not in "iufb":
        shape = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else "several arrays"
        wanted = "numbers [frames, height, width], […, channels] or [clips, …, channels]"
        raise FieldError(path, "", f"expected {wanted}. Received: {shape}")
    return [_of(clip) for clip in (array if array.ndim == 5 else [array])]


def _of(clip: np.ndarray) -> Source:
    dims = tuple(map(str, range(clip.ndim)))
    return Source("", dims, clip.shape, clip.dtype, lambda index: np.asarray(clip[index]), roles=_ROLES)


def stills_source(folder: str | os.PathLike[str]) -> Source:
    """The pictures of a folder as frames, with all their bits.

    Raises:
        FieldError: no pictures, such as differ in form, or whose bits would be lost.
    """
    paths = list_stills(pathlib.Path(folder))
    if not paths:
        raise FieldError(folder, "", "expected a folder of pictures. Received: one with none")
    first = _picture(paths[0])

    def get(index: tuple[Any, ...]) -> np.ndarray:
        chosen = paths[index[0]] if isinstance(index[0], slice) else [paths[index[0]]]
        pictures = [_picture(path) for path in chosen]
        for path, picture in zip(chosen, pictures, strict=True):
            if picture.shape != first.shape or picture.dtype != first.dtype:
                wanted, found = (f"{one.dtype} {list(one.shape)}" for one in (first, picture))
                raise FieldError(path, "", f"expected pictures like the first, {wanted}. Received: {found}")
        stacked = np.stack([picture[index[1:]] for picture in pictures])
        return stacked if isinstance(index[0], slice) else stacked[0]

    shape = (len(paths), *first.shape)
    return Source("", tuple(map(str, range(len(shape)))), shape, first.dtype, get, roles=_ROLES)


def _picture(path: pathlib.Path) -> np.ndarray:
    """One picture [height, width] or [height, width, channels], in the type in which it is stored."""
    if path.suffix.lower() in (".tif", ".tiff"):
        tifffile = import_for(".tif", "tifffile")
        array = tifffile.imread(path)
    else:
        pillow = import_pillow()
        with pillow.Image.open(path) as picture:
            stored = str([tile[3] for tile in picture.tile])
            if ";16" in stored and picture.mode[0] != "I":
                wanted = "grey pictures of 16 bits, or colour as TIFF"
                raise FieldError(path, "", f"expected {wanted}, for Pillow cuts colours to 8. Received: {stored}")
            array = np.asarray(picture)
    if array.ndim not in (2, 3) or array.dtype.kind not in "iuf":
        raise FieldError(path, "", f"expected one picture. Received: {array.dtype} {list(array.shape)}")
    return array
