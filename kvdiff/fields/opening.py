"""From paths, datasets and arrays to fields."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_kind, check_path
from kvdiff.fields.field import Field, field_of
from kvdiff.fields.of_arrays import array_sources, sources_of_array, stills_source
from kvdiff.fields.of_dicom import dicom_source
from kvdiff.fields.of_tiff import tiff_source
from kvdiff.fields.of_xarray import ENGINES, open_dataset, sources_of
from kvdiff.fields.recipe import FieldRecipe
from kvdiff.fields.source import FieldError
from kvdiff.media.opening import STILLS, is_litter

_TIFFS = (".tif", ".tiff")
FIELD_SUFFIXES = (*ENGINES, *_TIFFS, ".dcm", ".npy")
"""The suffixes of the files that hold fields; a Zarr is a folder."""


def is_field(path: str | os.PathLike[str]) -> bool:
    """Whether a path holds what only fields can: anything of `FIELD_SUFFIXES` but arrays, which may be pixels."""
    path = pathlib.Path(path)
    return _is_zarr(path) or (
        path.suffix.lower() in FIELD_SUFFIXES and path.suffix.lower() != ".npy" and not path.is_dir()
    )


def open_fields(source: Any, recipe: FieldRecipe | None = None) -> list[Field]:
    """The fields of files, of an `xarray` object or of an array; nothing but what describes them is read.

    Files whose clocks follow each other, as an archive of one file an hour, are one field.

    Args:
        source: a path, or several; an `xarray.Dataset` or `DataArray`; an array [frames, height, width], […, channels]
            or [clips, …, channels]. A folder is a Zarr, pictures of one series, or holds files.
        recipe: which numbers are clips; by default all of the only variable.

    Raises:
        FileNotFoundError: no such file.
        FieldError: a file that does not hold what the recipe says.
        ImportError: what reads such files is not installed.
    """
    recipe = FieldRecipe() if recipe is None else check_kind("recipe", recipe, FieldRecipe)
    if isinstance(source, np.ndarray):
        return [field_of("array", [one], recipe) for one in sources_of_array("array", source)]
    if type(source).__module__.partition(".")[0] == "xarray":
        return [field_of("dataset", sources_of(source, recipe), recipe, source)]
    paths = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    files = [file for path in paths for file in _files(check_path("source", path))]
    return joined([field for file in files for field in _opened(file, recipe)])


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_dir() or _is_zarr(path):
        return [path]
    inside = sorted(entry for entry in path.iterdir() if not is_litter(entry.name))
    able = [entry for entry in inside if _is_zarr(entry) or entry.suffix.lower() in FIELD_SUFFIXES]
    stills = [entry for entry in inside if entry.suffix.lower() in STILLS]
    if stills and len(stills) == len(able) + len(set(stills) - set(able)) and not (set(able) - set(stills)):
        return [path]
    if not able:
        raise FieldError(
            path, "", f"expected files ending in {', '.join(FIELD_SUFFIXES)}. Received: a folder with none"
        )
    return able


def _is_zarr(path: pathlib.Path) -> bool:
    markers = ("zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata")
    return path.is_dir() and (path.suffix.lower() == ".zarr" or any((path / name).exists() for name in markers))


def _opened(path: pathlib.Path, recipe: FieldRecipe) -> list[Field]:
    suffix = path.suffix.lower()
    if _is_zarr(path) or suffix in ENGINES:
        dataset = open_dataset(path, recipe)
        return [field_of(path, sources_of(dataset, recipe), recipe, dataset)]
    if path.is_dir():
        return [field_of(path, [stills_source(path)], recipe)]
    if suffix in _TIFFS:
        return [field_of(path, [tiff_source(path)], recipe)]
    if suffix == ".dcm":
        return [field_of(path, [dicom_source(path)], recipe)]
    if suffix == ".npy":
        return [field_of(path, [source], recipe) for source in array_sources(path)]
    raise FieldError(path, "", f"expected a file ending in {', '.join(FIELD_SUFFIXES)}. Received: {suffix!r}")


def joined(fields: Sequence[Field]) -> list[Field]:
    """Fields whose dates follow each other as one; others as they are."""
    dated = all(field.times is not None and field.times.dtype.kind == "M" for field in fields)
    alike = len({(field.shape[1:], field.names, field.units) for field in fields}) == 1
    if len(fields) < 2 or not dated or not alike:
        return list(fields)
    begins = [np.asarray(field.times)[0] for field in fields]
    ordered = [fields[index] for index in np.argsort(begins, kind="stable")]
    times = np.concatenate([np.asarray(field.times) for field in ordered])
    if not (np.diff(times) > np.timedelta64(0)).all():
        return list(fields)
    first = ordered[0]
    shape = (len(times), *first.shape[1:])
    return [dataclasses.replace(first, parts=(_Joined(tuple(ordered)),), shape=shape, times=times)]


@dataclasses.dataclass(frozen=True, eq=False)
class _Joined:
    """All channels of fields that follow each other."""

    fields: tuple[Field, ...]

    @property
    def dtype(self) -> np.dtype:
        return self.fields[0].dtype

    def between(self, kept: slice) -> _Joined:
        ends = np.cumsum([0, *(field.shape[0] for field in self.fields)])
        parts = [
            field.between(max(kept.start - begin, 0), min(kept.stop, end) - begin)
            for field, begin, end in zip(self.fields, ends[:-1], ends[1:], strict=True)
            if kept.start < end and begin < kept.stop
        ]
        return _Joined(tuple(parts))

    def numbers(self, field: Field, frames: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        ends = np.cumsum([field.shape[0] for field in self.fields])
        which = np.searchsorted(ends, frames, side="right")
        begins = np.concatenate([[0], ends[:-1]])
        chunks = [
            self.fields[index].read(frames[which == index] - begins[index], rows, columns) for index in np.unique(which)
        ]
        return np.concatenate(chunks)
