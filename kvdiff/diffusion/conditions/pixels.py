"""Conditions that are pictures at the clip's own size: which numbers were observed, and fields that do not change."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import check_array, check_count, check_kind, check_real
from kvdiff.diffusion.conditions.condition import Condition, FrameShape, extremes
from kvdiff.diffusion.limits import MAX_FEATURES, MAX_VALUE
from kvdiff.diffusion.transforms.padding import Padding
from kvdiff.diffusion.transforms.values import Values


@dataclasses.dataclass(frozen=True)
class Observed(Condition):
    """Which numbers of the clip are there: 1, or 0 where one is missing; [batch, frames, height, width, channels].

    A model with this condition takes clips in which NaN stands for what is missing. The network sees a neutral number
    in its place, and by this mask that it is none; the loss leaves it out. Filled in by training and by samplers.
    """

    name: ClassVar[str] = "observed"
    per_frame: ClassVar[bool] = True
    is_always_present: ClassVar[bool] = True
    comes_from_clips: ClassVar[bool] = True
    tells_missing: ClassVar[bool] = True
    pixel_scale: ClassVar[int] = 1
    num_features: ClassVar[int] = 0

    def shape(self, frames: Any, frame_shape: FrameShape) -> tuple[Any, ...]:
        """The clip's."""
        return (frames, *frame_shape)

    def default(self, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """Nothing is missing."""
        return np.ones(self.shape(frames, frame_shape), self.dtype)

    def example(self, rng: np.random.Generator, batch: int, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """A tenth is missing."""
        return (rng.random((batch, *self.shape(frames, frame_shape))) >= 0.1).astype(self.dtype)

    def check(self, name: str, value: Any, batch: int, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """As in `Condition`; booleans are as good as 0 and 1."""
        array = check_array(name, value)
        return super().check(
            name, array.astype(self.dtype) if array.dtype == np.bool_ else array, batch, frames, frame_shape
        )

    def _check_values(self, name: str, value: np.ndarray) -> None:
        if not np.isin(value, (0, 1)).all():
            raise ValueError(f"`{name}`: expected 1 for numbers that are there, else 0. Received: {extremes(value)}")

    def training_value(self, xp: Any, value: Any, x_0: Any, values: Values) -> Any:
        """The data's mask; without one nothing is missing, but what is NaN in the clips."""
        return xp.ones_like(x_0) if value is None else xp.cast(value, self.dtype)

    def in_range(self, xp: Any, value: Any) -> Any:
        """Between 0 and 1."""
        return xp.clip(value, 0.0, 1.0)

    def padded(self, xp: Any, value: Any, padding: Padding) -> Any:
        """What is added is missing."""
        return padding.blank(value, xp)


@dataclasses.dataclass(frozen=True)
class StaticFields(Condition):
    """Fields that stay the same in all frames, such as a land mask and topography: float [batch, height, width, n].

    Attributes:
        ranges: (low, high) of each field in its own unit, which the network sees as -1 and 1, e.g. ((0, 1), (0, 4500)).
    """

    ranges: Sequence[Sequence[float]]

    name: ClassVar[str] = "static_fields"
    is_still: ClassVar[bool] = True
    pixel_scale: ClassVar[int] = 1
    num_features: ClassVar[int] = 0

    def __post_init__(self) -> None:
        ranges = check_kind("ranges", self.ranges, (list, tuple), "(low, high) of each field")
        check_count("number of fields", len(ranges), at_most=MAX_FEATURES)
        checked = []
        for ends in ranges:
            low, high = check_kind("ranges", ends, (list, tuple), "(low, high) of each field")
            low = check_real("low", low, above=-MAX_VALUE, below=MAX_VALUE)
            checked.append((low, check_real("high", high, above=low, below=MAX_VALUE)))
        object.__setattr__(self, "ranges", tuple(checked))

    def shape(self, frames: Any, frame_shape: FrameShape) -> tuple[Any, ...]:
        """A picture of n channels."""
        return (*frame_shape[:2], len(self.ranges))

    def example(self, rng: np.random.Generator, batch: int, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """Numbers in the ranges."""
        low, high = np.array(self.ranges).T
        return rng.uniform(low, high, (batch, *self.shape(frames, frame_shape)))

    def seen(self, xp: Any, pixels: Any) -> Any:
        """Each field from its range to [-1, 1]."""
        low, high = np.array(self.ranges, np.float32).T
        return (pixels - low) * (np.float32(2.0) / (high - low)) - np.float32(1.0)

    def padded(self, xp: Any, value: Any, padding: Padding) -> Any:
        """Edges are repeated, as those of clips are."""
        return padding.encode(value[:, None], xp)[:, 0]
