"""NetCDF, Zarr, HDF5 and GRIB through xarray, chunk by chunk."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np

from kvdiff.fields.recipe import FieldRecipe
from kvdiff.fields.source import FieldError, Source, import_for

ENGINES = {
    **dict.fromkeys((".nc", ".nc4", ".cdf", ".h5", ".hdf5"), "h5netcdf"),
    ".zarr": "zarr",
    **dict.fromkeys((".grib", ".grib2", ".grb", ".grb2"), "cfgrib"),
}
"""The package that reads files of a suffix, as xarray's engine."""

_AXES = {"T": "time", "Y": "height", "X": "width"}
_STANDARD = {
    "time": "time",
    **dict.fromkeys(("latitude", "grid_latitude", "projection_y_coordinate"), "height"),
    **dict.fromkeys(("longitude", "grid_longitude", "projection_x_coordinate"), "width"),
}
_SPLITTER = "/"  # Between a group of HDF5 or Zarr and a variable in it.


def open_dataset(path: str | os.PathLike[str], recipe: FieldRecipe) -> Any:
    """The `xarray.Dataset` of a file, unread; of the group that the recipe's variables name.

    Raises:
        FieldError: content of another kind, or variables of several groups.
        ImportError: xarray, or the package that reads such files, is not installed.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower() if path.suffix.lower() in ENGINES else ".zarr"
    engine: str | None = ENGINES[suffix]
    xarray = import_for(suffix, "xarray", str(engine))
    groups = {name.rpartition(_SPLITTER)[0] for name in recipe.variable}
    if len(groups) > 1:
        raise FieldError(path, "", f"expected variables of one group. Received: those of {sorted(groups)}")
    options: dict[str, Any] = {"phony_dims": "sort"} if engine == "h5netcdf" else {}
    if engine == "h5netcdf" and _starts_with(path, b"CDF"):  # NetCDF 3, which is no HDF5.
        engine, options = None, {}
    if group := next(iter(groups), ""):
        if engine == "cfgrib":
            raise FieldError(path, group, "expected a variable without a group, for GRIB has none. Received: one")
        options["group"] = group
    if suffix == ".zarr":
        options["consolidated"] = False if (path / "zarr.json").exists() else None  # Format 3 has no such metadata.
    try:
        return xarray.open_dataset(path, engine=engine, chunks=None, cache=False, decode_timedelta=False, **options)
    except ImportError:
        raise
    except Exception as error:  # Foreign bytes make the libraries raise almost anything.
        text = " ".join(str(error).split())[:200]
        raise FieldError(
            path, "", f"expected a {suffix} file that {engine or 'xarray'} reads. Received: {text}"
        ) from error


def _starts_with(path: pathlib.Path, magic: bytes) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def sources_of(dataset: Any, recipe: FieldRecipe | None = None) -> list[Source]:
    """The variables of an `xarray.Dataset`, or of an `xarray.DataArray`, named as the recipe names them."""
    if not hasattr(dataset, "data_vars"):
        dataset = dataset.to_dataset(name=dataset.name or "field")
    group = "" if recipe is None else next((n.rpartition(_SPLITTER)[0] for n in recipe.variable), "")
    prefix = f"{group}{_SPLITTER}" if group else ""
    return [_source(dataset, name, f"{prefix}{name}") for name in dataset.data_vars]


def _source(dataset: Any, name: str, called: str) -> Source:
    variable = dataset[name].variable
    coords = {dim: _coordinate(dataset, dim) for dim in variable.dims if dim in dataset.coords}
    roles = {dim: role for dim in coords if (role := _role(dataset[dim], coords[dim])) is not None}
    chunks = variable.encoding.get("preferred_chunks") or {}
    named = [values for values in coords.values() if values.dtype.kind in "UO"]
    return Source(
        name=called,
        dims=tuple(map(str, variable.dims)),
        shape=tuple(variable.shape),
        dtype=np.dtype(variable.dtype),
        get=lambda index: variable[index].values,
        coords={dim: values for dim, values in coords.items() if values.dtype.kind in "Miuf"},
        roles=roles,
        units=str(variable.attrs.get("units", "")),
        labels=tuple(map(str, named[0])) if named else (),
        chunks=tuple(chunks[dim] for dim in variable.dims) if all(dim in chunks for dim in variable.dims) else None,
    )


def _coordinate(dataset: Any, dim: str) -> np.ndarray:
    values = dataset[dim].values
    if values.dtype.kind == "O" and len(values) and hasattr(values[0], "calendar"):  # Dates that NumPy has not.
        return np.array([(value - values[0]).total_seconds() for value in values])
    return values


def _role(coordinate: Any, values: np.ndarray) -> str | None:
    attributes = coordinate.attrs
    role = _AXES.get(str(attributes.get("axis", "")).upper()) or _STANDARD.get(str(attributes.get("standard_name", "")))
    return role or ("time" if values.dtype.kind == "M" else "channel" if values.dtype.kind in "UO" else None)
