"""Values from data: what a stream of numbers is like, and the kind of values that fits it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_choice, check_count, received
from kvdiff.diffusion.transforms.curves import DBZ, Asinh, Linear, Log1p, SquareRoot, Standardised
from kvdiff.diffusion.transforms.quantile import Quantile
from kvdiff.diffusion.transforms.values import PerChannel, Values

_SAMPLE = 2**16


@dataclasses.dataclass
class Summary:
    """What numbers are like, of any amount of them, chunk by chunk. NaN are missing.

    Attributes:
        count, missing: numbers that are there, and that are not.
        low, high, mean, std: of those that are there.
        whole: the limits of their type where all came as integers, else None.
    """

    count: int = 0
    missing: int = 0
    low: float = np.inf
    high: float = -np.inf
    mean: float = 0.0
    whole: tuple[int, int] | None = None
    _squares: float = 0.0
    _stride: int = 1
    _sample: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))

    @property
    def std(self) -> float:
        """The standard deviation."""
        return float(np.sqrt(self._squares / self.count)) if self.count else 0.0

    @property
    def sample(self) -> np.ndarray:
        """Some of the numbers, evenly from the whole stream, sorted: float64, at most 2^17."""
        return np.sort(self._sample)

    def add(self, numbers: np.ndarray) -> None:
        """Take in a chunk, of any shape.

        Raises:
            ValueError: an infinite number.
        """
        if numbers.dtype.kind in "iu":
            limits = np.iinfo(numbers.dtype)
            self.whole = (int(limits.min), int(limits.max)) if not self.count or self.whole is not None else None
        elif self.count or numbers.size:
            self.whole = None
        flat = numbers.ravel().astype(np.float64)
        there = flat[~np.isnan(flat)]
        self.missing += flat.size - there.size
        if not there.size:
            return
        if not np.isfinite(there).all():
            raise ValueError("expected finite numbers, or NaN for those that are missing. Received: infinity")
        self.low, self.high = min(self.low, float(there.min())), max(self.high, float(there.max()))
        total, mean = self.count + there.size, float(there.mean())
        gap = mean - self.mean
        self._squares += float(((there - mean) ** 2).sum()) + gap**2 * self.count * there.size / total
        self.mean += gap * there.size / total
        self.count = total
        self._sample = np.concatenate([self._sample, there[:: self._stride]])
        while len(self._sample) > 2 * _SAMPLE:
            self._sample, self._stride = self._sample[::2], 2 * self._stride


def fitted(kind: str | Sequence[str], numbers: Any, **options: Any) -> Values:
    """Values of a kind for numbers like these, with a tenth of their range to spare.

    ```python
    values = kvdiff.diffusion.fitted("log1p", clips)         # one field
    values = kvdiff.diffusion.fitted(["log1p", "standardised"], clips)       # one kind a channel
    ```

    Args:
        kind: a name in `FITTED`; or one a channel.
        numbers: the training split's: an array [..., channels], an iterable of such arrays, which may be more than
            memory holds; or a `Summary` for each channel. NaN are missing.
        **options: of the kind, e.g. `scale=0.1`, `outside="clamp"`; or `high=…` in place of what the data says.

    Returns:
        The values, those of several channels as `PerChannel`.

    Raises:
        ValueError: no numbers, all the same, or such as the kind does not have.
    """
    summaries = _summaries(numbers)
    kinds = [kind] * len(summaries) if isinstance(kind, str) else list(kind)
    if len(kinds) != len(summaries):
        wanted = f"one kind, or one for each of {len(summaries)} channels"
        raise ValueError(f"`values`: expected {wanted}. Received: {kinds}")
    made = []
    for index, (name, summary) in enumerate(zip(kinds, summaries, strict=True)):
        fit = FITTED[check_choice("values", name, FITTED)]
        if not summary.low < summary.high:
            held = f"all {summary.low:g}" if summary.count else "none that is not missing"
            raise ValueError(f"`numbers`: expected different ones in channel {index}. Received: {held}")
        made.append(fit(summary, options))
    return made[0] if len(made) == 1 else PerChannel(tuple(made))


def _summaries(numbers: Any) -> list[Summary]:
    if isinstance(numbers, (list, tuple)) and numbers and all(isinstance(one, Summary) for one in numbers):
        return list(numbers)
    if isinstance(numbers, Summary):
        return [numbers]
    chunks: Iterable[Any] = [numbers] if hasattr(numbers, "dtype") else numbers
    if isinstance(chunks, (str, bytes)) or not isinstance(chunks, Iterable):
        raise TypeError(f"`numbers`: expected an array [..., channels], or several. Received: {received(numbers)}")
    summaries: list[Summary] = []
    for chunk in chunks:
        array = check_array("numbers", chunk)
        if array.ndim < 2 or (summaries and array.shape[-1] != len(summaries)):
            raise ValueError(
                f"`numbers`: expected arrays [..., {len(summaries) or 'channels'}]. Received: {list(array.shape)}"
            )
        summaries = summaries or [Summary() for _ in range(array.shape[-1])]
        for channel, summary in enumerate(summaries):
            summary.add(array[..., channel])
    if not summaries:
        raise ValueError("`numbers`: expected at least one array. Received: none")
    return summaries


_TO_SPARE = 0.1  # Of the range, for what comes after training.


def _ends(summary: Summary, options: dict[str, Any]) -> dict[str, Any]:
    """low and high: the data's, with some to spare, but not across 0 or out of the integers' type."""
    spare = _TO_SPARE * (summary.high - summary.low)
    low, high = summary.low - spare, summary.high + spare
    if summary.low >= 0.0:
        low = max(low, 0.0)
    if summary.high <= 0.0:
        high = min(high, 0.0)
    if summary.whole is not None:
        low, high = max(low, float(summary.whole[0])), min(high, float(summary.whole[1]))
    return {"low": float(low), "high": float(high), **options}


def _through(kind: type[Linear | Log1p | Asinh | SquareRoot]) -> Any:
    """A fit of low and high whose tenth to spare is one of the curve's range: where it is logarithmic, a factor."""

    def fit(summary: Summary, options: dict[str, Any]) -> Values:
        if kind is Asinh:
            options = {"scale": summary.std, **options}
        plain = kind(**_ends(summary, options))
        if "high" in options or kind is Linear:
            return plain
        reached = plain.curve(np.array([plain.low, summary.high], np.float64))
        high = float(plain.inverse(reached[1:] + _TO_SPARE * (reached[1:] - reached[:1]))[0])
        return dataclasses.replace(plain, high=min(high, plain.high if summary.whole else np.inf))

    return fit


def _dbz(summary: Summary, options: dict[str, Any]) -> Values:
    if summary.low < 0.0:
        raise ValueError(f"`values`: expected rates from 0 for 'dbz'. Received: minimum {summary.low:g}")
    return DBZ(**{"high": 1.5 * summary.high, **options})


def _standardised(summary: Summary, options: dict[str, Any]) -> Values:
    return Standardised(**{"mean": summary.mean, "std": summary.std, **options})


def _quantile(summary: Summary, options: dict[str, Any]) -> Values:
    """Knots at even ranks; numbers that fill several ranks, such as a 0 of dry weather, are one knot amid them."""
    options = dict(options)
    knots = check_count("knots", options.pop("knots", 32), at_least=2, at_most=200)
    ends = _ends(summary, {})
    numbers = np.quantile(summary.sample, np.linspace(0.0, 1.0, knots))
    numbers = np.unique(np.concatenate([[ends["low"], summary.low], numbers, [summary.high, ends["high"]]]))
    # Mid-ranks: half of what equals a number lies below it.
    sample = summary.sample
    ranks = 0.5 * (np.searchsorted(sample, numbers, "left") + np.searchsorted(sample, numbers, "right")) / len(sample)
    margin = 0.02  # Of the heights, at each end, for the numbers to spare.
    heights = -1.0 + margin + 2.0 * (1.0 - margin) * ranks
    heights[0], heights[-1] = -1.0, 1.0
    rising = np.concatenate([[True], np.diff(heights) > 1e-6])
    rising[-1] = True
    return Quantile(tuple(numbers[rising].tolist()), tuple(heights[rising].tolist()), **options)


FITTED: dict[str, Any] = {
    "asinh": _through(Asinh),
    "dbz": _dbz,
    "linear": _through(Linear),
    "log1p": _through(Log1p),
    "quantile": _quantile,
    "square_root": _through(SquareRoot),
    "standardised": _standardised,
}
"""What fits a kind of values to a summary, by the kind's name."""
