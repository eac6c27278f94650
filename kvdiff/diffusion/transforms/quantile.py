"""Values by rank: whatever their distribution, the network sees an even one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import check_array, check_choice
from kvdiff.diffusion.limits import MAX_VALUE
from kvdiff.diffusion.transforms.curves import OUTSIDE
from kvdiff.diffusion.transforms.value_kinds import Values, as_float32

_MAX_KNOTS = 256


@dataclasses.dataclass(frozen=True)
class Quantile(Values):
    """Numbers of any distribution, by a piecewise linear curve through some of its quantiles.

    Attributes:
        numbers: the knots, rising, in the numbers' unit; the first and the last are the limits.
        heights: x_0 at the knots, rising from -1 to 1.
        outside: what becomes of numbers outside: "refuse" them, or "clamp" them to the nearest end and say how many.
    """

    numbers: Sequence[float]
    heights: Sequence[float]
    outside: str = "refuse"

    name: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        for name in ("numbers", "heights"):
            array = check_array(name, getattr(self, name), "a list of numbers").astype(np.float64)
            wanted = f"2 to {_MAX_KNOTS} numbers, each larger than the one before"
            if array.ndim != 1 or not 2 <= len(array) <= _MAX_KNOTS or not (np.diff(array) > 0).all():
                raise ValueError(f"`{name}`: expected {wanted}. Received: {array.tolist()[:8]}")
            if not np.abs(array).max() < MAX_VALUE:
                raise ValueError(f"`{name}`: expected numbers of at most {MAX_VALUE:g}. Received: {array.tolist()[:8]}")
            object.__setattr__(self, name, tuple(array.tolist()))
        if len(self.numbers) != len(self.heights) or (self.heights[0], self.heights[-1]) != (-1.0, 1.0):
            raise ValueError(
                f"`heights`: expected {len(self.numbers)} from -1 to 1, one for each of `numbers`. "
                f"Received: {len(self.heights)} from {self.heights[0]} to {self.heights[-1]}"
            )
        check_choice("outside", self.outside, OUTSIDE)

    @property
    def limits(self) -> tuple[float, float]:
        """The outermost knots."""
        return self.numbers[0], self.numbers[-1]

    @property
    def clamps(self) -> bool:
        """Whether `outside` says so."""
        return self.outside == "clamp"

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """The curve, from the limits to [-1, 1]."""
        return _through(xp, as_float32(xp, clip), self.numbers, self.heights)

    def decode(self, x_0: Any, xp: Any = np) -> Any:
        """Its inverse."""
        return _through(xp, x_0, self.heights, self.numbers)

    @property
    def config(self) -> dict[str, Any]:
        """As in `Values`, of lists."""
        config: dict[str, Any] = {"values": self.name, "numbers": list(self.numbers), "heights": list(self.heights)}
        return config if self.outside == "refuse" else {**config, "outside": self.outside}


def _through(xp: Any, array: Any, xs: Sequence[float], ys: Sequence[float]) -> Any:
    """The piecewise linear function through (xs, ys), constant outside, in operations that every runtime has."""
    height = np.float32(ys[0])
    for (left, right), (lower, upper) in zip(pairwise(xs), pairwise(ys), strict=True):
        part = xp.clip((array - np.float32(left)) * np.float32(1.0 / (right - left)), 0.0, 1.0)
        height = height + part * np.float32(upper - lower)
    return height
