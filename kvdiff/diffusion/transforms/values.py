"""What the numbers of a clip mean, and how the network sees them: pixels, or physical values with units.

Values are part of the model: they are serialised with it and run on every runtime, so what goes into a sampler and what
comes out of it are numbers as the user has them.
"""

from __future__ import annotations

import abc
import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import built_from, check_array, check_choice, check_kind, check_real, unit_range
from kvdiff.diffusion.limits import MAX_VALUE
from kvdiff.diffusion.transforms.clamps import Bounds
from kvdiff.diffusion.transforms.pixels import as_type, from_pixels

_SLACK = 1e-4  # Of the range: what rounding may add.


@dataclasses.dataclass(frozen=True)
class Values(abc.ABC):
    """A map between users' numbers and x_0, number by number; x_0 is about as large as noise of unit variance."""

    name: ClassVar[str]
    bounds: ClassVar[Bounds] = (-1.0, 1.0)
    """Those of x_0, to which predictions are clamped."""

    @abc.abstractmethod
    def encode(self, clip: Any, xp: Any = np) -> Any:
        """x_0, float32, from users' numbers. `xp` is `numpy` or `keras.ops`."""

    @abc.abstractmethod
    def decode(self, x_0: Any, xp: Any = np) -> Any:
        """Users' numbers from x_0."""

    @property
    @abc.abstractmethod
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest number that users may have; infinite where there is no limit."""

    def checked(self, argument: str, clip: Any, frame_shape: tuple[int, int, int]) -> np.ndarray:
        """A user's clips as float32 numbers, as samplers return them: [batch, frames, height, width, channels].

        Args:
            argument: what an error calls them.
            clip: users' numbers, of that shape.
            frame_shape: (height, width, channels).

        Raises:
            ValueError: wrong rank or frame shape, NaN, or numbers out of `limits`.
            TypeError: another kind of number than these values are.
        """
        clip = check_array(argument, clip)
        if clip.shape[2:] != tuple(frame_shape) or 0 in clip.shape:
            wanted = f"[batch, frames, {', '.join(map(str, frame_shape))}]"
            raise ValueError(f"`{argument}`: expected shape {wanted}. Received: {list(clip.shape)}")
        self.check_kind(argument, clip)
        low, high = self.limits
        slack = _SLACK * (high - low) / 2 if np.isfinite(high - low) else 0.0
        least, most = float(clip.min()), float(clip.max())
        if not (low - slack <= least and most <= high + slack and np.isfinite(most - least)):  # NaN fails them all.
            raise ValueError(
                f"`{argument}`: expected values in [{low:g}, {high:g}], no NaN. "
                f"Received: minimum {least}, maximum {most}"
            )
        return clip.astype(np.float32)

    def check_kind(self, argument: str, clip: np.ndarray) -> None:
        """Raise TypeError where `clip` is of another kind of number than these values are."""
        if not np.issubdtype(clip.dtype, np.number) or np.issubdtype(clip.dtype, np.complexfloating):
            raise TypeError(f"`{argument}`: expected real numbers. Received: dtype {clip.dtype}")

    @property
    def config(self) -> dict[str, Any]:
        """What `values_from_config` rebuilds these values from."""
        return {"values": self.name, **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class Pixels(Values):
    """Pixels: floats in [-1, 1], or uint8, of which 0 is -1 and 255 is 1. Samplers return floats."""

    name: ClassVar[str] = "pixels"

    @property
    def limits(self) -> tuple[float, float]:
        """[-1, 1]."""
        return -1.0, 1.0

    def checked(self, argument: str, clip: Any, frame_shape: tuple[int, int, int]) -> np.ndarray:
        """As in `Values`; uint8 pixels have no values out of range. Warns of floats that look like [0, 1]."""
        clip = check_array(argument, clip)
        checked = super().checked(argument, self.encode(clip) if clip.dtype == np.uint8 else clip, frame_shape)
        if self.bounds is not None and (note := unit_range(clip)):
            warnings.warn(f"`{argument}`: {note}", stacklevel=3)
        return checked

    def check_kind(self, argument: str, clip: np.ndarray) -> None:
        """As in `Values`."""
        if not np.issubdtype(clip.dtype, np.floating):
            raise TypeError(f"`{argument}`: expected floats in [-1, 1] or uint8 pixels. Received: dtype {clip.dtype}")

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """Scale uint8, leave floats as they are."""
        if "uint8" in str(clip.dtype):
            return from_pixels(clip, xp)
        return as_type(xp, clip, "float32")

    def decode(self, x_0: Any, xp: Any = np) -> Any:
        """Floats in [-1, 1], as they are."""
        return x_0


PIXELS = Pixels()


@dataclasses.dataclass(frozen=True)
class Linear(Values):
    """Numbers from `low` to `high`, e.g. counts from 0 to 65535 or mm/h, which x_0 maps to [-1, 1].

    Attributes:
        low, high: the ends of the range. Numbers outside are refused, generated ones clamped.
    """

    low: float
    high: float

    name: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        check_real("low", self.low, above=-MAX_VALUE, below=MAX_VALUE)
        check_real("high", self.high, above=self.low, below=MAX_VALUE)
        check_real("high - low", self.high - self.low, above=1.0 / MAX_VALUE)

    @property
    def limits(self) -> tuple[float, float]:
        """[low, high]."""
        return self.low, self.high

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """From [low, high] to [-1, 1]."""
        above = as_type(xp, clip, "float32") - np.float32(self.low)
        return above * np.float32(2.0 / (self.high - self.low)) - np.float32(1.0)

    def decode(self, x_0: Any, xp: Any = np) -> Any:
        """From [-1, 1] to [low, high]."""
        return (x_0 + np.float32(1.0)) * np.float32((self.high - self.low) / 2.0) + np.float32(self.low)


@dataclasses.dataclass(frozen=True)
class Unbounded(Pixels):
    """Floats without bounds that need no scaling, of zero mean and about unit variance; uint8 are pixels, as ever.

    Nothing is clamped.
    """

    name: ClassVar[str] = "unbounded"
    bounds: ClassVar[Bounds] = None

    @property
    def limits(self) -> tuple[float, float]:
        """All finite numbers."""
        return -np.inf, np.inf


VALUES: dict[str, type[Values]] = {kind.name: kind for kind in (Pixels, Linear, Unbounded)}
"""Kinds of values by name."""


def values_from_config(config: Mapping[str, Any] | Values) -> Values:
    """Values from their `config`."""
    if isinstance(config, Values):
        return config
    arguments = dict(check_kind("values", config, Mapping, "values, e.g. Pixels(), or their `config`"))
    kind = check_choice("values", arguments.pop("values", None), VALUES)
    return built_from("values", arguments, VALUES[kind])
