"""What values are, and the two kinds that need no scaling: pixels, and numbers without bounds.

Values are part of the model: they are serialised with it and run on every runtime, so what goes into a sampler and what
comes out of it are numbers as the user has them.
"""

from __future__ import annotations

import abc
import dataclasses
import warnings
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import check_array, unit_range
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

    @property
    def clamps(self) -> bool:
        """Whether numbers out of `limits` are moved to the nearest limit, and not refused."""
        return False

    def by_channel(self, channels: int) -> list[Values]:
        """The values of each channel."""
        return [self] * channels

    def checked(
        self, argument: str, clip: Any, frame_shape: tuple[int, int, int], *, missing: bool = False
    ) -> np.ndarray:
        """A user's clips as float32 numbers, as samplers return them: [batch, frames, height, width, channels].

        Args:
            argument: what an error calls them.
            clip: users' numbers, of that shape.
            frame_shape: (height, width, channels).
            missing: whether NaN is a number that is missing, and not an error.

        Raises:
            ValueError: wrong rank or frame shape, NaN, or numbers out of `limits`.
            TypeError: another kind of number than these values are.
        """
        clip = check_array(argument, clip)
        if clip.shape[2:] != tuple(frame_shape) or 0 in clip.shape:
            wanted = f"[batch, frames, {', '.join(map(str, frame_shape))}]"
            raise ValueError(f"`{argument}`: expected shape {wanted}. Received: {list(clip.shape)}")
        self.check_kind(argument, clip)
        return self._in_limits(argument, clip, missing)

    def _in_limits(self, argument: str, clip: np.ndarray, missing: bool) -> np.ndarray:
        """float32 numbers, none out of `limits`."""
        low, high = self.limits
        slack = _SLACK * (high - low) / 2 if np.isfinite(high - low) else 0.0
        known = clip[~np.isnan(clip)] if missing and clip.dtype.kind == "f" else clip
        if not known.size:
            return clip.astype(np.float32)
        least, most = float(known.min()), float(known.max())
        finite = np.isfinite(most - least)  # NaN fails it.
        if finite and low - slack <= least and most <= high + slack:
            return clip.astype(np.float32)
        if finite and self.clamps:
            outside = int(((known < low - slack) | (known > high + slack)).sum())
            warnings.warn(
                f"`{argument}`: {outside} of {clip.size} numbers lie outside of [{low:g}, {high:g}] and are clamped; "
                f"minimum {least:g}, maximum {most:g}",
                stacklevel=4,
            )
            return np.clip(clip, low, high).astype(np.float32)
        raise ValueError(
            f"`{argument}`: expected values in [{low:g}, {high:g}], no {'infinity' if missing else 'NaN'}. "
            f"Received: minimum {least}, maximum {most}"
        )

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

    def checked(
        self, argument: str, clip: Any, frame_shape: tuple[int, int, int], *, missing: bool = False
    ) -> np.ndarray:
        """As in `Values`; uint8 pixels have no values out of range. Warns of floats that look like [0, 1]."""
        clip = check_array(argument, clip)
        numbers = self.encode(clip) if clip.dtype == np.uint8 else clip
        checked = super().checked(argument, numbers, frame_shape, missing=missing)
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
        return as_float32(xp, clip)

    def decode(self, x_0: Any, xp: Any = np) -> Any:
        """Floats in [-1, 1], as they are."""
        return x_0


PIXELS = Pixels()


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


def as_float32(xp: Any, array: Any) -> Any:
    """`array` as float32, by the means of `xp`."""
    return as_type(xp, array, "float32")
