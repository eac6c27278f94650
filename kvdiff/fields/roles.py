"""Which dimension is time, height, width or channel, and what a region takes of each."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvdiff.fields.recipe import FieldRecipe
from kvdiff.fields.source import FieldError, Source

_NAMES = {
    "time": ("time", "t", "times", "valid_time", "step", "frame", "frames", "date", "xtime"),
    "height": ("y", "lat", "latitude", "row", "rows", "height", "south_north", "northing", "nlat", "rlat"),
    "width": ("x", "lon", "longitude", "column", "columns", "width", "west_east", "easting", "nlon", "rlon"),
    "channel": ("channel", "channels", "band", "bands", "c", "s", "wavelength"),
}
_ROLES = ("time", "height", "width", "channel")


def found_roles(path: Any, source: Source, recipe: FieldRecipe) -> list[str]:
    """The names of the dimensions that are time, height, width and, where there is one, channel.

    Raises:
        FieldError: dimensions that are none of these, or not there.
    """
    single = {name for name, ends in recipe.region.items() if not isinstance(ends, tuple)}
    left = [name for name in source.dims if name not in single]
    if recipe.dims:
        if absent := [name for name in recipe.dims if name not in left]:
            raise FieldError(
                path, source.name, f"expected dimensions {list(recipe.dims)}. Received: no {absent[0]!r} among {left}"
            )
        return _none_left(path, source, list(recipe.dims), left)
    roles: dict[str, str] = {}
    for told in (source.roles.get, _by_name):  # What the file says comes before what a name suggests.
        for name in left:
            role = told(name)
            if role is not None and role not in roles and name not in roles.values():
                roles[role] = name
    for role in ("time", "height", "width"):  # What has no telling name stands in the usual order.
        others = [name for name in left if name not in roles.values() and source.shape[source.dims.index(name)] > 1]
        if role not in roles:
            if not others:
                there = dict(zip(source.dims, source.shape, strict=True))
                raise FieldError(
                    path,
                    source.name,
                    f"expected dimensions for time, height and width; `dims` says which. Received: {there}",
                )
            roles[role] = others[0]
    return _none_left(path, source, [roles[role] for role in _ROLES if role in roles], left)


def _by_name(name: str) -> str | None:
    return next((role for role, names in _NAMES.items() if name.lower() in names), None)


def _none_left(path: Any, source: Source, roles: list[str], left: list[str]) -> list[str]:
    others = {name: source.shape[source.dims.index(name)] for name in left if name not in roles}
    if too_many := {name: size for name, size in others.items() if size != 1}:
        name, size = next(iter(too_many.items()))
        wanted = f"clips of time, height and width, and of dimension {name!r} one of {size}, as `region` takes it"
        raise FieldError(path, source.name, f"expected {wanted}. Received: all")
    return roles


def as_index(path: Any, source: Source, recipe: FieldRecipe) -> tuple[Any, ...]:
    """For each dimension a slice with whole ends, or an integer where one is taken.

    Raises:
        FieldError: a region of a dimension that is not there, or that takes nothing.
    """
    if unknown := [name for name in recipe.region if name not in source.dims]:
        raise FieldError(
            path, source.name, f"expected a region of dimensions {list(source.dims)}. Received: {unknown[0]!r}"
        )
    roles = found_roles(path, source, recipe)
    index: list[Any] = []
    for name, size in zip(source.dims, source.shape, strict=True):
        if name not in recipe.region:
            index.append(slice(0, size) if name in roles else 0)
            continue
        ends = recipe.region[name]
        found = _taken(source.coords.get(name), size, ends)
        if found is None:
            axis = source.coords.get(name)
            there = f"0 to {size - 1}" if axis is None else f"{axis.min()} to {axis.max()}"
            raise FieldError(path, source.name, f"expected a region of {name!r} within {there}. Received: {ends}")
        index.append(found)
    return tuple(index)


def _taken(axis: np.ndarray | None, size: int, ends: Any) -> Any:
    """The index of a region of an axis; None where it takes nothing."""
    if axis is None:
        if not isinstance(ends, tuple):
            return ends if isinstance(ends, int) and 0 <= ends < size else None
        first, last = ends
        inside = isinstance(first, int) and isinstance(last, int) and 0 <= first < last <= size
        return slice(first, last) if inside else None
    is_time = axis.dtype.kind == "M"
    kind = "datetime64[ns]" if is_time else "float64"
    try:
        bounds = np.array(ends, kind)
        if is_time and bounds.ndim:  # The last day, or hour, is meant whole.
            bounds[1] = (np.datetime64(ends[1]) + 1).astype(kind) - np.timedelta64(1, "ns")
    except (ValueError, TypeError):
        return None
    axis = axis.astype(kind)
    if bounds.ndim == 0:
        same = np.equal(axis, bounds) if is_time else np.isclose(axis, bounds, rtol=1e-6, atol=0.0)
        places = np.flatnonzero(same)
        return int(places[0]) if len(places) else None
    found = np.flatnonzero((axis >= bounds.min()) & (axis <= bounds.max()))
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else None
