"""Noise levels: pairs (alpha, sigma) of x_t = alpha x_0 + sigma eps, and the curves they lie on.

What a level *is* depends on sigma / alpha alone; a *path* fixes the scale. Three are in use:

    vp      alpha² + sigma² = 1     variance preserving: DDPM, cosine
    flow    alpha + sigma = 1       rectified flow
    ve      alpha = 1               variance exploding: EDM, Karras sigmas

A network is trained on one path, so a level between the trained ones must be put on that path: `on_path`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

PATHS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "vp": np.hypot,
    "flow": np.add,
    "ve": lambda alpha, sigma: alpha + 0.0 * sigma,
}
"""By name, what equals 1 along the path, as a function of (alpha, sigma) that is homogeneous of degree 1."""

_TOLERANCE = 1e-9


def path_of(alpha: np.ndarray, sigma: np.ndarray) -> str:
    """The name of the path on which all the levels (alpha, sigma) lie."""
    for name, scale in PATHS.items():
        if np.abs(scale(alpha, sigma) - 1.0).max() <= _TOLERANCE:
            return name
    raise ValueError(
        f"levels: expected alpha² + sigma² = 1, alpha + sigma = 1 or alpha = 1 at every level, to go between them. "
        f"Received: alpha from {np.min(alpha)} to {np.max(alpha)}, sigma from {np.min(sigma)} to {np.max(sigma)}"
    )


def on_path(path: str, alpha: Any, sigma: Any) -> tuple[np.ndarray, np.ndarray]:
    """The levels of `path` with the ratios sigma / alpha; only their direction is read, so either may be 0."""
    alpha, sigma = np.asarray(alpha, np.float64), np.asarray(sigma, np.float64)
    scale = PATHS[path](alpha, sigma)
    if (scale == 0).any():
        raise ValueError("levels: path 've' (alpha = 1) has no level of pure noise. Received: alpha = 0")
    return alpha / scale, sigma / scale


def from_logsnr(path: str, logsnr: Any) -> tuple[np.ndarray, np.ndarray]:
    """The levels of `path` at `logsnr` = log(alpha² / sigma²), any shape."""
    logsnr = np.asarray(logsnr, np.float64)
    # Each factor is at most 1, so neither end overflows.
    return on_path(path, np.exp(np.minimum(logsnr, 0.0) / 2), np.exp(-np.maximum(logsnr, 0.0) / 2))


def noise_label(alpha: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """What the network knows of the noise: the angle of (alpha, sigma) in quarter turns; 0 is clean, 1 pure noise.

    The angle depends on the level alone, not on a timestep index, so a network trained with T levels can be sampled at
    any level; and unlike log-SNR it is finite at both ends, so a known (clean) frame and a zero-SNR start have labels
    too.
    """
    return np.arctan2(sigma, alpha) * (2.0 / np.pi)


def from_label(path: str, label: Any) -> tuple[np.ndarray, np.ndarray]:
    """The levels of `path` that have this `noise_label`, any shape."""
    angle = np.asarray(label, np.float64) * (np.pi / 2)
    return on_path(path, np.cos(angle), np.sin(angle))


def half_logsnr(alpha: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """lambda = log(alpha / sigma), the time in which the sampling equation is solved; -inf is pure noise, inf clean."""
    with np.errstate(divide="ignore"):
        return np.log(alpha) - np.log(sigma)


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseLevels:
    """The noise levels that a sampler visits, noisiest first, ending on the clean clip.

    Attributes:
        alpha: float64 [num_steps + 1], the signal's factor; the last is 1.
        sigma: float64 [num_steps + 1], the noise's standard deviation; the last is 0.
    """

    alpha: np.ndarray
    sigma: np.ndarray

    def __post_init__(self) -> None:
        for name in ("alpha", "sigma"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        if self.alpha.ndim != 1 or self.alpha.shape != self.sigma.shape or len(self.alpha) < 2:
            raise ValueError(
                "NoiseLevels: expected `alpha` and `sigma` of one shape [num_steps + 1] with num_steps >= 1. "
                f"Received: {self.alpha.shape} and {self.sigma.shape}"
            )
        if not (np.isfinite(self.alpha).all() and np.isfinite(self.sigma).all() and self.alpha.min() >= 0):
            raise ValueError(
                f"NoiseLevels: expected finite levels, alpha >= 0. Received: alpha={self.alpha}, sigma={self.sigma}"
            )
        if self.alpha[-1] != 1.0 or self.sigma[-1] != 0.0:
            raise ValueError(
                "NoiseLevels: expected the last level to be clean (alpha=1, sigma=0). "
                f"Received: alpha={self.alpha[-1]}, sigma={self.sigma[-1]}"
            )
        # sigma/alpha must fall; written as a cross product because alpha may be 0 (pure noise).
        falls = self.sigma[:-1] * self.alpha[1:] > self.sigma[1:] * self.alpha[:-1]
        if not falls.all():
            raise ValueError(
                "NoiseLevels: expected every level to be less noisy than the one before it. "
                f"Received: step {int(np.argmin(falls))} is not. Use fewer steps or another spacing."
            )

    @property
    def num_steps(self) -> int:
        """The number of denoising steps, one less than the number of levels."""
        return len(self.alpha) - 1

    @property
    def half_logsnr(self) -> np.ndarray:
        """lambda = log(alpha / sigma), float64 [num_steps + 1], rising to inf; -inf at first where alpha is 0."""
        return half_logsnr(self.alpha, self.sigma)
