"""Physical values: numbers with units, which a curve takes to x_0.

Each kind has limits, a curve f that rises from one to the other, and its inverse; [f(low), f(high)] then becomes
[-1, 1]. What the curve bends is what the network looks at closely: a logarithm makes light rain as visible as a storm.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_real
from kvdiff.diffusion.limits import MAX_VALUE
from kvdiff.diffusion.transforms.clamps import Bounds
from kvdiff.diffusion.transforms.value_kinds import Values, as_float32

OUTSIDE = ("refuse", "clamp")
"""What becomes of numbers out of limits."""


@dataclasses.dataclass(frozen=True)
class Curve(Values):
    """Numbers from `low` to `high`, through a curve.

    Attributes:
        low, high: the ends of the range; generated numbers are clamped to it.
        outside: what becomes of numbers outside: "refuse" them, or "clamp" them to the nearest end and say how many.
    """

    low: float
    high: float
    outside: str = "refuse"

    def __post_init__(self) -> None:
        check_real("low", self.low, above=-MAX_VALUE, below=MAX_VALUE)
        check_real("high", self.high, above=self.low, below=MAX_VALUE)
        check_real("high - low", self.high - self.low, above=1.0 / MAX_VALUE)
        check_choice("outside", self.outside, OUTSIDE)

    @property
    def limits(self) -> tuple[float, float]:
        """[low, high]."""
        return self.low, self.high

    @property
    def clamps(self) -> bool:
        """Whether `outside` says so."""
        return self.outside == "clamp"

    @abc.abstractmethod
    def curve(self, numbers: Any, xp: Any = np) -> Any:
        """f of numbers within the limits, rising."""

    @abc.abstractmethod
    def inverse(self, heights: Any, xp: Any = np) -> Any:
        """The numbers of f's values."""

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """From [low, high], by the curve, to [-1, 1]; what rounding or a server let through is clamped."""
        bottom, top = self._ends
        numbers = xp.clip(as_float32(xp, clip), np.float32(self.low), np.float32(self.high))
        return (self.curve(numbers, xp) - np.float32(bottom)) * np.float32(2.0 / (top - bottom)) - np.float32(1.0)

    def decode(self, x_0: Any, xp: Any = np) -> Any:
        """From [-1, 1] to [low, high]."""
        bottom, top = self._ends
        height = (xp.clip(x_0, -1.0, 1.0) + np.float32(1.0)) * np.float32((top - bottom) / 2.0) + np.float32(bottom)
        return xp.clip(self.inverse(height, xp), np.float32(self.low), np.float32(self.high))

    @property
    def _ends(self) -> tuple[float, float]:
        """f(low) and f(high)."""
        bottom, top = self.curve(np.array([self.low, self.high], np.float64))
        return float(bottom), float(top)

    @property
    def config(self) -> dict[str, Any]:
        """As in `Values`, without `outside` where it is "refuse"."""
        config = super().config
        return {name: value for name, value in config.items() if (name, value) != ("outside", "refuse")}


@dataclasses.dataclass(frozen=True)
class Linear(Curve):
    """Numbers from `low` to `high`, e.g. counts from 0 to 65535, temperatures, or reflectivities in dBZ, as they are.

    Attributes:
        low, high, outside: as in `Curve`.
    """

    name: ClassVar[str] = "linear"

    def curve(self, numbers: Any, xp: Any = np) -> Any:
        """The number."""
        return numbers

    def inverse(self, heights: Any, xp: Any = np) -> Any:
        """The number."""
        return heights

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """From [low, high] to [-1, 1]."""
        numbers = as_float32(xp, clip)
        numbers = xp.clip(numbers, np.float32(self.low), np.float32(self.high)) if self.clamps else numbers
        return (numbers - np.float32(self.low)) * np.float32(2.0 / (self.high - self.low)) - np.float32(1.0)

    def decode(self, x_0: Any, xp: Any = np) -> Any:
        """From [-1, 1] to [low, high]."""
        return (x_0 + np.float32(1.0)) * np.float32((self.high - self.low) / 2.0) + np.float32(self.low)


@dataclasses.dataclass(frozen=True)
class Log1p(Curve):
    """Numbers from 0 or above whose large values are rare, such as rain rates: f(n) = log(1 + n / scale).

    Attributes:
        low, high, outside: as in `Curve`; low is at least 0.
        scale: below it the curve is about linear, far above it logarithmic; in the numbers' unit.
    """

    scale: float = 1.0

    name: ClassVar[str] = "log1p"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("low", self.low, above=0.0, below=self.high, closed=True)
        check_real("scale", self.scale, above=1.0 / MAX_VALUE, below=MAX_VALUE)

    def curve(self, numbers: Any, xp: Any = np) -> Any:
        """log(1 + n / scale)."""
        return xp.log1p(numbers / _as(numbers, self.scale))

    def inverse(self, heights: Any, xp: Any = np) -> Any:
        """scale (exp(f) - 1)."""
        return _as(heights, self.scale) * xp.expm1(heights)


@dataclasses.dataclass(frozen=True)
class SquareRoot(Curve):
    """Counts from 0 or above with Poisson noise, whose standard deviation the root makes the same everywhere.

    Attributes:
        low, high, outside: as in `Curve`; low is at least 0.
    """

    name: ClassVar[str] = "square_root"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("low", self.low, above=0.0, below=self.high, closed=True)

    def curve(self, numbers: Any, xp: Any = np) -> Any:
        """The root."""
        return xp.sqrt(numbers)

    def inverse(self, heights: Any, xp: Any = np) -> Any:
        """The square."""
        return heights * heights


@dataclasses.dataclass(frozen=True)
class Asinh(Curve):
    """Numbers of either sign with long tails, such as vorticity or fluxes: f(n) = arsinh(n / scale).

    Attributes:
        low, high, outside: as in `Curve`.
        scale: below it the curve is about linear, far above it logarithmic; in the numbers' unit.
    """

    scale: float = 1.0

    name: ClassVar[str] = "asinh"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_real("scale", self.scale, above=1.0 / MAX_VALUE, below=MAX_VALUE)

    def curve(self, numbers: Any, xp: Any = np) -> Any:
        """arsinh(n / scale)."""
        return xp.arcsinh(numbers / _as(numbers, self.scale))

    def inverse(self, heights: Any, xp: Any = np) -> Any:
        """scale sinh(f)."""
        return _as(heights, self.scale) * xp.sinh(heights)


@dataclasses.dataclass(frozen=True)
class DBZ(Values):
    """Rain rates from 0 to `high`, which the network sees as radar reflectivity: dBZ = 10 log10(a rate^b).

    Rates below `threshold` are dry: they lie `dry_gap` below it, as in pysteps, so that wet and dry differ clearly;
    generated numbers in the lower half of the gap become 0, those in the upper half `threshold`. Reflectivities that
    the data holds itself are `Linear`.

    Attributes:
        high: the highest rate, in mm/h; generated ones are clamped to it.
        threshold: the lowest rate that counts as rain.
        a, b: the relation of Marshall and Palmer (1948), 200 and 1.6.
        dry_gap: in dBZ.
        outside: as in `Curve`.
    """

    high: float
    threshold: float = 0.1
    a: float = 200.0
    b: float = 1.6
    dry_gap: float = 5.0
    outside: str = "refuse"

    name: ClassVar[str] = "dbz"

    def __post_init__(self) -> None:
        check_real("threshold", self.threshold, above=1e-12, below=MAX_VALUE)
        check_real("high", self.high, above=self.threshold, below=MAX_VALUE)
        for name in ("a", "b", "dry_gap"):
            check_real(name, getattr(self, name), above=0.0, below=MAX_VALUE)
        check_choice("outside", self.outside, OUTSIDE)

    @property
    def limits(self) -> tuple[float, float]:
        """[0, high]."""
        return 0.0, self.high

    @property
    def clamps(self) -> bool:
        """Whether `outside` says so."""
        return self.outside == "clamp"

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """From mm/h over dBZ to [-1, 1]; -1 is dry."""
        rate = as_float32(xp, clip)
        wet = xp.clip(rate, np.float32(self.threshold), np.float32(self.high))
        dbz = np.float32(10.0 * self.b / math.log(10.0)) * xp.log(wet) + np.float32(10.0 * math.log10(self.a))
        low, high = self._ends
        dbz = xp.where(rate < np.float32(self.threshold), np.float32(low), dbz)
        return (dbz - np.float32(low)) * np.float32(2.0 / (high - low)) - np.float32(1.0)

    def decode(self, x_0: Any, xp: Any = np) -> Any:
        """From [-1, 1] to mm/h."""
        low, high = self._ends
        dbz = (xp.clip(x_0, -1.0, 1.0) + np.float32(1.0)) * np.float32((high - low) / 2.0) + np.float32(low)
        rate = xp.exp((dbz - np.float32(10.0 * math.log10(self.a))) * np.float32(math.log(10.0) / (10.0 * self.b)))
        rate = xp.clip(rate, np.float32(self.threshold), np.float32(self.high))
        return xp.where(dbz < np.float32(low + self.dry_gap / 2.0), xp.zeros_like(rate), rate)

    @property
    def _ends(self) -> tuple[float, float]:
        """What is dry, and the highest, in dBZ."""
        least, most = (10.0 * math.log10(self.a * rate**self.b) for rate in (self.threshold, self.high))
        return least - self.dry_gap, most

    @property
    def config(self) -> dict[str, Any]:
        """As in `Values`, without `outside` where it is "refuse"."""
        config = super().config
        return {name: value for name, value in config.items() if (name, value) != ("outside", "refuse")}


@dataclasses.dataclass(frozen=True)
class Standardised(Values):
    """Numbers without limits, such as temperature anomalies: x_0 = (n - mean) / std. Nothing is clamped.

    Attributes:
        mean, std: of the numbers.
    """

    mean: float
    std: float

    name: ClassVar[str] = "standardised"
    bounds: ClassVar[Bounds] = None

    def __post_init__(self) -> None:
        check_real("mean", self.mean, above=-MAX_VALUE, below=MAX_VALUE)
        check_real("std", self.std, above=1.0 / MAX_VALUE, below=MAX_VALUE)

    @property
    def limits(self) -> tuple[float, float]:
        """All finite numbers."""
        return -np.inf, np.inf

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """(n - mean) / std."""
        return (as_float32(xp, clip) - np.float32(self.mean)) * np.float32(1.0 / self.std)

    def decode(self, x_0: Any, xp: Any = np) -> Any:
        """std x_0 + mean."""
        return x_0 * np.float32(self.std) + np.float32(self.mean)


def _as(array: Any, number: float) -> Any:
    """`number` in the precision of a NumPy array of float64, else float32."""
    return np.float64(number) if getattr(array, "dtype", None) == np.float64 else np.float32(number)
