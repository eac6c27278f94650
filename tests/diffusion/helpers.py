"""Data, schedules and predictions that the tests share. Small: 3 frames of 2 × 1 pixels, all six of them correlated."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from kvdiff.diffusion import (
    ClipSpec,
    DenoiserEngine,
    ModelSpec,
    NoiseLevels,
    NoiseSchedule,
    Prediction,
    Sampler,
    StepTable,
    oracle,
    schedules,
    step,
)
from kvdiff.diffusion.conditions import Condition
from kvdiff.diffusion.process.predictions import PREDICTIONS
from kvdiff.diffusion.sampling import engine
from kvdiff.diffusion.transforms.clamps import clamp_to

SHAPE = (3, 2, 1, 1)
SIZE = 6
FINITE_START = (
    "linear",
    "scaled_linear",
    "cosine",
    "sigmoid",
    "logsnr",
    "karras",
)  # All but flow, which has alpha_T = 0.

UNCLAMPED = clamp_to(None)


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


def two_modes(weight: float = 0.3, stds: tuple[float, float] = (0.1, 0.2)) -> oracle.MixtureClips:
    """One pixel near -0.6 (probability `weight`) or near 0.5."""
    modes = [
        oracle.GaussianClips(np.full((1, 1, 1, 1), mean), np.full((1, 1), std**2))
        for mean, std in zip((-0.6, 0.5), stds, strict=True)
    ]
    return oracle.MixtureClips([weight, 1.0 - weight], modes)


def schedule(name: str, num_timesteps: int = 1000) -> NoiseSchedule:
    return schedules.SCHEDULES[name](num_timesteps)


def predictions_for(of: NoiseSchedule) -> list[str]:
    """The predictions that work on this schedule: eps says nothing at alpha = 0."""
    return [name for name in PREDICTIONS if name != "eps" or of.alpha[-1] > 0]


def final(table: StepTable, data: oracle.GaussianClips, prediction: Prediction) -> oracle.GaussianClips:
    """The exact distribution of the clips that a table makes."""
    return oracle.push_through(table, oracle.exact_network(data, prediction), data.mean.shape)[-1]


def run_oracle(
    table: StepTable,
    data: oracle.ExactDenoiser,
    x: np.ndarray,
    noise: Sequence[np.ndarray] | None = None,
    clamp: Callable[[np.ndarray], np.ndarray] = UNCLAMPED,
) -> list[np.ndarray]:
    """The states of a table around an exact denoiser, from x [batch, frames, …]; row i draws noise[i]."""
    history = tuple(np.zeros_like(x) for _ in range(table.memory))
    states = [x]
    for i, row in enumerate(table.rows(np.float64)):
        predicted = data.denoise(x, table.alpha[i], table.sigma[i])
        raw = (predicted - row.c_skip * x) / row.c_out
        x, history = step(row, x, raw, history, 0.0 if noise is None else noise[i], clamp)
        states.append(x)
    return states


SMOOTH = two_modes(stds=(0.4, 0.3))  # Two modes that overlap: orders show at few steps.
START = np.linspace(-2.0, 2.0, 9).reshape(-1, 1, 1, 1, 1)
HALF_LOGSNR = (-2.5, 2.0)


@functools.cache
def exact_flow() -> np.ndarray:
    """Where the sampling equation dy/du = y - D(y, s), y = x/alpha, s = sigma/alpha, u = log s, takes START: by RK4."""
    num_steps = 600
    u = np.linspace(-HALF_LOGSNR[0], -HALF_LOGSNR[1], num_steps + 1)
    h = u[1] - u[0]

    def slope(y: np.ndarray, u: float) -> np.ndarray:
        return y - SMOOTH.denoise(y, 1.0, np.exp(u))

    y = START / schedule("cosine").levels_at([2 * HALF_LOGSNR[0]]).alpha[0]
    for now in u[:-1]:
        k1 = slope(y, now)
        k2 = slope(y + h / 2 * k1, now + h / 2)
        k3 = slope(y + h / 2 * k2, now + h / 2)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(y + h * k3, now + h))
    return y * schedule("cosine").levels_at([2 * HALF_LOGSNR[1]]).alpha[0]


def measured_orders(
    solver: Callable[[NoiseLevels, Prediction], StepTable], counts: Sequence[int], warm_up: int = 0
) -> np.ndarray:
    """The orders of convergence between doubled numbers of steps of alternating size, on two modes, in float64.

    The first `warm_up` steps are shorter by the number of steps: a multistep solver takes them with a lower order.
    """
    errors = []
    for n in counts:
        sizes = np.resize([1.0, 2.0], n)
        sizes[:warm_up] /= n
        fraction = np.cumsum(np.append(0.0, sizes)) / sizes.sum()
        levels = schedule("cosine").levels_at(2 * (HALF_LOGSNR[0] + (HALF_LOGSNR[1] - HALF_LOGSNR[0]) * fraction))
        errors.append(np.abs(run_oracle(solver(levels, Prediction("v")), SMOOTH, START)[-2] - exact_flow()).max())
    return np.log2(np.array(errors[:-1]) / errors[1:])


def irregular_levels(name: str = "cosine", num_steps: int = 6) -> NoiseLevels:
    """Levels of very uneven steps."""
    logsnr = -5.0 + np.cumsum([0.0, 1.3, 0.4, 2.9, 0.8, 1.7, 0.5, 2.2])[:num_steps]
    return schedule(name).levels_at(logsnr)


def denoiser(x: float, s: float) -> float:
    """Some bounded smooth function of the state and the noise: a network that is no Gaussian's."""
    return float(np.tanh(0.7 * x + 0.2) + 0.3 * np.sin(3.0 * x) / (1.0 + s))


def run_denoiser(table: StepTable, x: float, noise: Sequence[float] | None = None) -> list[float]:
    """The states of a table around `denoiser`, for comparison with a paper's algorithm step by step."""
    history, states = (0.0,) * table.memory, [x]
    for i in range(table.num_steps):
        alpha, sigma = table.alpha[i, 0], table.sigma[i, 0]
        history = (denoiser(x, sigma / alpha), *history[:-1])
        x = table.a[i, 0] * x + sum(b * d for b, d in zip(table.b[i, :, 0], history, strict=True))
        x += table.std[i, 0] * (0.0 if noise is None else noise[i])
        states.append(x)
    return states


def network_sampler(
    denoise: Callable[..., np.ndarray],
    clip: ClipSpec,
    schedule: NoiseSchedule,
    prediction: str = "v",
    conditions: Mapping[str, Condition] | None = None,
    clamp: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Sampler:
    """A sampler around a network that is a NumPy function."""
    spec = ModelSpec(clip, schedule, Prediction(prediction), conditions=conditions or {})
    return Sampler(spec, DenoiserEngine(denoise, clamp=clamp))


def wrapped(sampler: Sampler, denoise: Callable[..., np.ndarray]) -> Sampler:
    """The sampler with another network: denoise(inner, noisy_clip, noise_label, inputs) may ask the inner one."""
    engine = DenoiserEngine(functools.partial(denoise, sampler.engine.denoise))
    return Sampler(sampler.spec, engine, sampler.dtype)


def moments(monkeypatch: pytest.MonkeyPatch, run: Callable[[int], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(mean, covariance) of what `run(num_clips)` makes: row 0 has no noise, each further row one unit of it."""
    draws: dict[tuple[int, int], np.ndarray] = {}

    def unit_noise(seed, step, sample, clip_shape, stream=engine.SAMPLING) -> np.ndarray:
        size = int(np.prod(clip_shape))
        first = draws.setdefault((step, stream), sum(v.size for v in draws.values()) + np.arange(size))
        noise = (np.asarray(sample)[:, None] == 1 + first).astype(np.float64)
        return noise.reshape(len(noise), *clip_shape)

    monkeypatch.setattr(engine, "video_noise", unit_noise)
    run(1)  # Finds out how many draws there are.
    made = run(1 + sum(v.size for v in draws.values()))
    flat = made.reshape(len(made), -1)
    return flat[0], (flat[1:] - flat[0]).T @ (flat[1:] - flat[0])
