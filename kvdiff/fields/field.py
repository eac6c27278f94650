"""A field: a series of frames with a clock and units, of which clips are read when they are needed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kvdiff.fields.part import Part
from kvdiff.fields.recipe import FieldRecipe
from kvdiff.fields.roles import as_index, found_roles
from kvdiff.fields.source import FieldError, Source


@dataclasses.dataclass(frozen=True, eq=False)
class Field:
    """Frames of one shape in the order of time, read piece by piece.

    Attributes:
        path: of the file, or what stands for it in messages.
        recipe: by which it was made.
        parts: what reads one or several channels each.
        shape: (frames, height, width, channels).
        names, units: of each channel.
        times: when each frame was taken, datetime64 [frames], or float64 seconds [frames]; None where the file has no
            clock.
        coords: of height and width, where the file has some.
        dims: what the file calls time, height and width.
        origin: what the reader made the sources from: an `xarray.Dataset`, or None.
    """

    path: str
    recipe: FieldRecipe
    parts: tuple[Any, ...]
    shape: tuple[int, int, int, int]
    names: tuple[str, ...]
    units: tuple[str, ...]
    times: np.ndarray | None
    coords: dict[str, np.ndarray]
    dims: tuple[str, str, str]
    origin: Any = None

    @property
    def seconds(self) -> np.ndarray | None:
        """The times, in seconds after the first: float64 [frames]."""
        if self.times is None:
            return None
        if self.times.dtype.kind == "M":
            return (self.times - self.times[0]) / np.timedelta64(1, "ns") * 1e-9
        return self.times - self.times[0]

    @property
    def time_step(self) -> float | None:
        """Seconds from one frame of a clip to the next: the recipe's, else the most frequent of the data."""
        seconds = self.seconds
        if self.recipe.time_step is not None or seconds is None or len(seconds) < 2:
            return self.recipe.time_step
        steps, counts = np.unique(np.round(np.diff(seconds), 3), return_counts=True)
        return float(steps[np.argmax(counts)])

    @property
    def dtype(self) -> np.dtype:
        """Of the stored numbers."""
        return np.result_type(*(part.dtype for part in self.parts))

    def clips(self, num_frames: int) -> np.ndarray:
        """The frames of every clip of `num_frames` frames: int64 [clips, num_frames]; -1 is a frame that is absent.

        A clip begins at every frame from which the following ones lie where the time step says, but for `tolerance`
        and for gaps of `max_gap`.
        """
        frames, seconds, step = self.shape[0], self.seconds, self.time_step
        if seconds is None or step is None:
            starts = np.arange(max(frames - num_frames + 1, 0))
            return starts[:, None] + np.arange(num_frames)
        wanted = seconds[:, None] + step * np.arange(num_frames)
        after = (
            np.clip(np.searchsorted(seconds, wanted), 1, max(frames - 1, 1))
            if frames > 1
            else np.zeros_like(wanted, int)
        )
        before = np.maximum(after - 1, 0)
        nearest = np.where(wanted - seconds[before] < seconds[after] - wanted, before, after)
        off = np.abs(seconds[nearest] - wanted) > self.recipe.tolerance * step
        rows = np.where(off, -1, nearest)
        gap, longest = np.zeros(len(rows), int), np.zeros(len(rows), int)
        for column in rows.T:
            gap = np.where(column < 0, gap + 1, 0)
            longest = np.maximum(longest, gap)
        return rows[(longest <= self.recipe.max_gap) & (rows[:, 0] >= 0) & (rows[:, -1] >= 0)]

    def gaps(self) -> list[tuple[str, float]]:
        """Where more than a time step lies between two frames: the earlier one's time, and how many steps it is."""
        seconds, step = self.seconds, self.time_step
        if seconds is None or step is None or self.times is None:
            return []
        between = np.diff(seconds) / step
        wide = np.flatnonzero(between > 1.0 + self.recipe.tolerance)
        return [(str(self.times[index]), float(between[index])) for index in wide]

    def read(
        self, frames: np.ndarray | Sequence[int], rows: slice = slice(None), columns: slice = slice(None)
    ) -> np.ndarray:
        """Numbers of some frames, float32 [frames, height, width, channels]; NaN are missing.

        Args:
            frames: their indices, in any order; -1 is a frame of which all is missing.
            rows, columns: the part of each frame to read.

        Raises:
            FieldError: the file cannot be read there, or holds whole numbers that float32 has not.
        """
        frames = np.asarray(frames, np.int64)
        there = np.unique(frames[frames >= 0])
        shape = [len(range(*part.indices(size))) for part, size in zip((rows, columns), self.shape[1:3], strict=True)]
        out = np.full((len(frames), *shape, self.shape[3]), np.nan, np.float32)
        if len(there):
            read = np.concatenate([part.numbers(self, there, rows, columns) for part in self.parts], axis=-1)
            out[frames >= 0] = read[np.searchsorted(there, frames[frames >= 0])]
        return out

    def between(self, start: int, stop: int) -> Field:
        """The same field, of which only the frames start … stop - 1 are there."""
        kept = slice(*slice(start, stop).indices(self.shape[0]))
        parts = tuple(part.between(kept) for part in self.parts)
        times = None if self.times is None else self.times[kept]
        shape = (kept.stop - kept.start, *self.shape[1:])
        return dataclasses.replace(self, parts=parts, times=times, shape=shape)


def field_of(path: str | os.PathLike[str], sources: Sequence[Source], recipe: FieldRecipe, origin: Any = None) -> Field:
    """The field that a recipe makes of the variables of a file.

    Raises:
        FieldError: a variable, dimension, region, unit or clock that is not there, or not as the recipe says.
    """
    chosen = _chosen(path, sources, recipe)
    parts, layouts = [], []
    for source in chosen:
        roles = found_roles(path, source, recipe)
        index = as_index(path, source, recipe)
        axes = tuple(source.dims.index(name) for name in roles)
        parts.append(Part(source, index, axes))
        layouts.append([_length(index[axis]) for axis in axes])
    sizes, first = layouts[0][:3], chosen[0]
    for source, layout in zip(chosen, layouts, strict=True):
        if layout[:3] != sizes:
            wanted = f"{sizes} frames, rows and columns, as {first.name!r} has"
            raise FieldError(path, source.name, f"expected {wanted}. Received: {layout[:3]}")
        if 0 in layout:
            raise FieldError(path, source.name, f"expected numbers. Received: none, of shape {layout}")
    names = [name for part in parts for name in _names(part)]
    units = [part.source.units for part in parts for _ in _names(part)]
    _check_units(path, recipe, names, units)
    roles = found_roles(path, first, recipe)
    coords = {
        name: first.coords[name][part]
        for name, part in zip(first.dims, parts[0].index, strict=True)
        if name in first.coords and isinstance(part, slice)
    }
    times = _checked_times(path, first, recipe, coords.get(roles[0]))
    return Field(
        path=os.fspath(path),
        recipe=recipe,
        parts=tuple(parts),
        shape=(sizes[0], sizes[1], sizes[2], len(names)),
        names=tuple(names),
        units=tuple(recipe.units) or tuple(units),
        times=times,
        coords={name: coords[name] for name in roles[1:3] if name in coords},
        dims=(roles[0], roles[1], roles[2]),
        origin=origin,
    )


def _names(part: Part) -> list[str]:
    """What the channels of a variable are called."""
    source = part.source
    if len(part.axes) < 4 or (count := _length(part.index[part.axes[3]])) == 1:
        return [source.name or "channel"]
    if source.labels:
        return list(source.labels[part.index[part.axes[3]]])
    return [f"{source.name or 'channel'}{number}" for number in range(count)]


def _length(part: Any) -> int:
    return part.stop - part.start if isinstance(part, slice) else 1


def _chosen(path: Any, sources: Sequence[Source], recipe: FieldRecipe) -> list[Source]:
    """The sources of the recipe's variables; without any, the only one that could be clips."""
    by_name = {source.name: source for source in sources}
    if recipe.variable:
        if len(sources) == 1 and not sources[0].name:
            raise FieldError(
                path, "", f"expected no `variable`, for such a file has none. Received: {recipe.variable[0]!r}"
            )
        for name in recipe.variable:
            if name not in by_name:
                raise FieldError(path, name, f"expected one of {sorted(by_name)}. Received: no such variable")
        return [by_name[name] for name in recipe.variable]
    able = [source for source in sources if len(source.shape) >= 3 and source.dtype.kind in "iuf"]
    if len(able) != 1:
        there = sorted(source.name for source in able) or f"none of three dimensions, but {sorted(by_name)}"
        raise FieldError(path, "", f"expected `variable` to say which of several. Received: none; there are {there}")
    return able


def _check_units(path: Any, recipe: FieldRecipe, names: Sequence[str], units: Sequence[str]) -> None:
    if not recipe.units:
        return
    if len(recipe.units) != len(names):
        raise FieldError(path, "", f"expected units for {list(names)}. Received: {list(recipe.units)}")
    for name, wanted, unit in zip(names, recipe.units, units, strict=True):
        if not same_units(unit, wanted):
            raise FieldError(path, name, f"expected units {wanted!r}. Received: {unit!r}")


def same_units(unit: str, other: str) -> bool:
    """Whether units are one and the same, or one of them is not said."""
    return not unit or not other or _plain(unit) == _plain(other)


def _plain(unit: str) -> str:
    """Units whose spellings differ: "mm/h", "mm h-1", "mm h^-1" and "mm hr-1" are one."""
    plain = unit.lower().replace("**", "").replace("^", "").replace("hr", "h").replace("hour", "h").replace("µ", "u")
    first, *others = plain.split("/")
    divided = [f"{word}-1" for word in others]
    return " ".join(" ".join([first, *divided]).replace("·", " ").replace(".", " ").split())


def _checked_times(path: Any, source: Source, recipe: FieldRecipe, times: np.ndarray | None) -> np.ndarray | None:
    """The clock: datetime64, or seconds."""
    if times is None:
        if recipe.time_step is not None:
            reason = "expected times, for `time_step` to go by. Received: a file without a clock"
            raise FieldError(path, source.name, reason)
        return None
    if times.dtype.kind not in "Miuf":
        raise FieldError(path, source.name, f"expected times. Received: dtype {times.dtype}")
    times = times.astype("datetime64[ns]") if times.dtype.kind == "M" else times.astype(np.float64)
    late = np.flatnonzero(~(np.diff(times) > np.zeros(1, np.diff(times).dtype)))
    if len(late):
        where = f"{times[late[0]]} before {times[late[0] + 1]}, frames {late[0]} and {late[0] + 1}"
        raise FieldError(path, source.name, f"expected times that rise. Received: {where}")
    return times
