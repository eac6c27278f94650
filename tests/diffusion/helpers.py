"""Data, schedules and predictions that the tests share. Small: 3 frames of 2 × 1 pixels, all six of them correlated."""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion import NoiseSchedule, Prediction, StepTable, oracle, schedules
from kvdiff.diffusion.predictions import PREDICTIONS

SHAPE = (3, 2, 1, 1)
SIZE = 6
FINITE_START = ("linear", "scaled_linear", "cosine", "sigmoid", "logsnr", "karras")  # All but flow, which has alpha_T = 0.


def gaussian(seed: int = 0) -> oracle.GaussianClips:
    """Clips with a mean of their own and correlated frames and pixels, standard deviations near 0.5."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(SIZE, SIZE))
    return oracle.GaussianClips(0.3 * rng.normal(size=SHAPE), factor @ factor.T / (4 * SIZE))


def point(value: float = 0.4, shape: tuple[int, ...] = (1, 1, 1, 1)) -> oracle.GaussianClips:
    """Clips that are all the same."""
    size = int(np.prod(shape))
    return oracle.GaussianClips(np.full(shape, value), np.zeros((size, size)))


def unit() -> oracle.GaussianClips:
    """One pixel, N(0, 1)."""
    return oracle.GaussianClips(np.zeros((1, 1, 1, 1)), np.eye(1))


def two_modes(weight: float = 0.3) -> oracle.MixtureClips:
    """One pixel near -0.6 (probability `weight`) or near 0.5."""
    modes = [oracle.GaussianClips(np.full((1, 1, 1, 1), m), np.full((1, 1), s**2)) for m, s in ((-0.6, 0.1), (0.5, 0.2))]
    return oracle.MixtureClips([weight, 1.0 - weight], modes)


def schedule(name: str, num_timesteps: int = 1000) -> NoiseSchedule:
    return schedules.SCHEDULES[name](num_timesteps)


def predictions_for(of: NoiseSchedule) -> list[str]:
    """The predictions that work on this schedule: eps says nothing at alpha = 0."""
    return [name for name in PREDICTIONS if name != "eps" or of.alpha[-1] > 0]


def final(table: StepTable, data: oracle.GaussianClips, prediction: Prediction) -> oracle.GaussianClips:
    """The exact distribution of the clips that a table makes."""
    return oracle.push_through(table, oracle.exact_network(data, prediction), data.mean.shape)[-1]


def run_mixture(table: StepTable, data: oracle.ExactDenoiser, x: np.ndarray) -> list[np.ndarray]:
    """The states of a table around an exact denoiser, from x [batch, 1, 1, 1, 1], without noise or clamp."""
    from kvdiff.diffusion import step

    history = tuple(np.zeros_like(x) for _ in range(table.memory))
    states = [x]
    for row, alpha, sigma in zip(table.rows(np.float64), table.alpha, table.sigma, strict=False):
        predicted = data.denoise(x, alpha, sigma)
        raw = (predicted - row.c_skip * x) / row.c_out
        x, history = step(row, x, raw, history, 0.0, lambda d: d)
        states.append(x)
    return states
