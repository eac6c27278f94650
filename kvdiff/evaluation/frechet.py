"""The Fréchet distance between two sets of features, and how far it can be trusted at this number of clips.

Both sets are taken for samples of Gaussians (Dowson & Landau 1982, eq. 4):

    d² = |mean_a - mean_b|² + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2))

The estimate is biased upward at any finite number of clips, in proportion to one over it where that number is large
(Chong & Forsyth 2020, arXiv:1911.07023), so the figure comes with what two sets of real clips give (`floor`), with its
bootstrap error, and with a straight line through smaller subsets, continued to infinitely many clips.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_count

_NORMAL_95 = 1.959964  # Half the width of a normal distribution's central 95 %, in standard deviations.
_FRACTIONS = 1.0 / np.linspace(2.0, 1.0, 5)  # Of the clips, evenly spaced in one over their number.
_SUBSETS = 8  # Averaged for each fraction.


@dataclasses.dataclass(frozen=True)
class FrechetEstimate:
    """A Fréchet distance with its uncertainty.

    Attributes:
        distance: of all clips.
        num_clips: in the one set and the other.
        standard_error: by the bootstrap, both sets drawn anew.
        low, high: distance ± 1.96 standard errors, where another draw of clips would put the figure; the bias is in all
            three.
        extrapolated: the straight line's value for infinitely many clips; rough below a thousand, and it may fall below
            0.
        fractions, distances: what the line goes through: the share of the clips, and the mean distance of such subsets.
    """

    distance: float
    num_clips: tuple[int, int]
    standard_error: float
    low: float
    high: float
    extrapolated: float
    fractions: tuple[float, ...]
    distances: tuple[float, ...]

    @property
    def config(self) -> dict[str, Any]:
        """The attributes, JSON-able."""
        return dataclasses.asdict(self)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The squared Fréchet distance d² above, of features [num_a, size] and [num_b, size]; covariances are unbiased.

    The square root needs no matrix root: tr((C_a C_b)^(1/2)) is the sum of the singular values of A B^T, where A^T A =
    C_a, and the triangular factor of the centred features is such an A.
    """
    a, b = (_features(name, value) for name, value in (("a", a), ("b", b)))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"`a`, `b`: expected features of one size. Received: {a.shape[1]} and {b.shape[1]}")
    root_a, root_b = _root(a), _root(b)
    shared = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    means = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return max(float(means + np.square(root_a).sum() + np.square(root_b).sum() - 2.0 * shared), 0.0)


def estimate_frechet(a: np.ndarray, b: np.ndarray, *, bootstrap: int = 100, seed: int = 0) -> FrechetEstimate:
    """The distance with its bootstrap error and its extrapolation.

    Args:
        a, b: features [num_a, size] and [num_b, size], of at least 8 clips each.
        bootstrap: how many times both sets are drawn anew, with replacement.
        seed: of these draws and of the subsets.
    """
    a, b = (_features(name, value, at_least=8) for name, value in (("a", a), ("b", b)))
    check_count("bootstrap", bootstrap, at_least=2)
    check_count("seed", seed, at_least=0)
    rng = np.random.default_rng(seed)
    distance = frechet_distance(a, b)
    redrawn = [frechet_distance(_redrawn(rng, a), _redrawn(rng, b)) for _ in range(bootstrap)]
    error = float(np.std(redrawn, ddof=1))
    distances = [_mean_of_subsets(rng, a, b, fraction) for fraction in _FRACTIONS[:-1]] + [distance]
    extrapolated = np.polyfit(1.0 / _FRACTIONS, distances, 1)[1]
    return FrechetEstimate(
        distance=distance,
        num_clips=(len(a), len(b)),
        standard_error=error,
        low=max(distance - _NORMAL_95 * error, 0.0),
        high=distance + _NORMAL_95 * error,
        extrapolated=float(extrapolated),
        fractions=tuple(_FRACTIONS.tolist()),
        distances=tuple(distances),
    )


def _features(name: str, value: np.ndarray, at_least: int = 2) -> np.ndarray:
    value = check_array(name, value).astype(np.float64)
    if value.ndim != 2 or len(value) < at_least or not value.shape[1]:
        raise ValueError(f"`{name}`: expected features of [{at_least} clips or more, size]. Received: {value.shape}")
    if not np.isfinite(value).all():
        raise ValueError(f"`{name}`: expected finite features. Received: NaN or infinity")
    return value


def _root(features: np.ndarray) -> np.ndarray:
    """A with A^T A the covariance: at most [size, size]."""
    centred = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1.0)
    return np.asarray(np.linalg.qr(centred, mode="r"))


def _redrawn(rng: np.random.Generator, features: np.ndarray) -> np.ndarray:
    return features[rng.integers(0, len(features), len(features))]


def _mean_of_subsets(rng: np.random.Generator, a: np.ndarray, b: np.ndarray, fraction: float) -> float:
    def subset(features: np.ndarray) -> np.ndarray:
        return features[rng.permutation(len(features))[: round(fraction * len(features))]]

    return float(np.mean([frechet_distance(subset(a), subset(b)) for _ in range(_SUBSETS)]))
