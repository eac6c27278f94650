"""What reads the channels of one variable: an index of its dimensions, and the order of its axes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from kvdiff.fields.source import FieldError, Source

_EXACT = 2**24  # The whole numbers that float32 has.


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A channel, or several that one variable holds.

    Attributes:
        source: the variable.
        index: what the recipe takes of each of its dimensions: a slice with whole ends, or an integer.
        axes: the positions of time, height, width and perhaps channel among its dimensions.
    """

    source: Source
    index: tuple[Any, ...]
    axes: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """Of the stored numbers."""
        return self.source.dtype

    def between(self, kept: slice) -> Part:
        """The same, of which only some frames are there."""
        whole = self.index[self.axes[0]]
        index = list(self.index)
        index[self.axes[0]] = slice(whole.start + kept.start, whole.start + kept.stop)
        return dataclasses.replace(self, index=tuple(index))

    def numbers(self, field: Any, frames: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
        """float32 [frames, height, width, channels] of rising `frames`: one read where they are evenly spaced."""
        steps = np.unique(np.diff(frames))
        if len(steps) <= 1:
            step = int(steps[0]) if len(steps) else 1
            return self._read(field, slice(int(frames[0]), int(frames[-1]) + 1, step), rows, columns)
        runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
        return np.concatenate([self._read(field, slice(run[0], run[-1] + 1), rows, columns) for run in runs])

    def _read(self, field: Any, frames: slice, rows: slice, columns: slice) -> np.ndarray:
        index = list(self.index)
        for axis, asked in zip(self.axes, (frames, rows, columns), strict=False):
            index[axis] = _within(index[axis], asked)
        try:
            numbers = np.asarray(self.source.get(tuple(index)))
        except (OSError, RuntimeError, KeyError, IndexError, EOFError) as error:
            raise FieldError(field.path, self.source.name, f"expected readable numbers. Received: {error}") from error
        left = [axis for axis, part in enumerate(index) if isinstance(part, slice)]
        numbers = numbers.transpose([left.index(axis) for axis in self.axes])
        numbers = numbers if len(self.axes) == 4 else numbers[..., None]
        return _as_float32(field, self.source.name, numbers)


def _within(whole: slice, asked: slice) -> slice:
    """The part `asked` of the numbers that `whole` takes."""
    start, stop, step = asked.indices(whole.stop - whole.start)
    return slice(whole.start + start, whole.start + stop, step)


def _as_float32(field: Any, variable: str, numbers: np.ndarray) -> np.ndarray:
    if numbers.dtype.kind not in "iufb":
        raise FieldError(field.path, variable, f"expected real numbers. Received: dtype {numbers.dtype}")
    if numbers.dtype.kind in "iu" and numbers.dtype.itemsize > 2 and numbers.size:
        most = max(abs(int(numbers.min())), abs(int(numbers.max())))
        if most > _EXACT and most not in field.recipe.missing:
            wanted = f"whole numbers up to {_EXACT}, which float32 has; scale them"
            raise FieldError(field.path, variable, f"expected {wanted}. Received: {most}")
    out = numbers.astype(np.float32)
    for number in field.recipe.missing:
        out[numbers == number] = np.nan
    return out
