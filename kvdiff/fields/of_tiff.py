"""TIFF stacks and ImageJ hyperstacks through tifffile, page by page."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any

import numpy as np

from kvdiff.fields.source import FieldError, Source, import_for

_ROLES = {"T": "time", "Y": "height", "X": "width", "C": "channel", "S": "channel"}


def tiff_source(path: str | os.PathLike[str]) -> Source:
    """The first series of a TIFF; its dimensions are called by tifffile's letters, such as T, Z, C, Y and X.

    Raises:
        FieldError: another kind of file, or one whose numbers are not what they stand for: white is 0, or a palette.
        ImportError: tifffile, or for compressed stacks zarr, is not installed.
    """
    tifffile = import_for(".tif", "tifffile")
    try:
        file = tifffile.TiffFile(path)
        series = file.series[0]
    except Exception as error:  # Foreign bytes make the library raise almost anything.
        raise FieldError(path, "", f"expected a TIFF. Received: {' '.join(str(error).split())[:200]}") from error
    meaning = series.keyframe.photometric.name
    if meaning in ("MINISWHITE", "PALETTE", "YCBCR"):
        raise FieldError(path, "", f"expected numbers that grow with brightness, or RGB. Received: {meaning}")
    axes = tuple(series.axes)
    roles = {letter: _ROLES[letter] for letter in axes if letter in _ROLES}
    if len(series.shape) == 3 and "T" not in axes and axes[-1] == "S":
        raise FieldError(path, "", f"expected several pages. Received: one, of shape {list(series.shape)}")
    array = _lazily(tifffile, path, series)
    coords = {}
    if "T" in axes and (interval := _interval(file)):
        coords["T"] = interval * np.arange(series.shape[axes.index("T")])
    return Source("", axes, tuple(series.shape), np.dtype(series.dtype), lambda index: array[index], coords, roles)


def _lazily(tifffile: Any, path: Any, series: Any) -> Any:
    """Mapped where the numbers stand in one piece, else page by page."""
    with contextlib.suppress(ValueError):
        return tifffile.memmap(path, series=0, mode="r")
    zarr = import_for("compressed .tif", "zarr")
    return zarr.open_array(series.aszarr(level=0), mode="r")


def _interval(file: Any) -> float | None:
    """Seconds between frames, as ImageJ or OME says."""
    seconds = (file.imagej_metadata or {}).get("finterval")
    if not seconds and file.ome_metadata and (found := re.search(r'TimeIncrement="([0-9.eE+-]+)"', file.ome_metadata)):
        seconds = float(found[1])
    return float(seconds) if seconds else None
