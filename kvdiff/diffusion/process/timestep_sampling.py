"""Which timesteps training draws: a table of probabilities, from which a uniform number picks a timestep."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_choice, check_count, check_kind, check_real
from kvdiff.diffusion.process.schedules import NoiseSchedule


@dataclasses.dataclass(frozen=True, eq=False)
class TimestepDistribution:
    """Probabilities of the training timesteps.

    Attributes:
        probabilities: float64 [num_timesteps], above 0, of sum 1.
    """

    probabilities: np.ndarray

    def __post_init__(self) -> None:
        p = check_array("probabilities", self.probabilities).astype(np.float64)
        object.__setattr__(self, "probabilities", p)
        if p.ndim != 1 or len(p) == 0 or not (np.isfinite(p) & (p > 0)).all() or abs(p.sum() - 1.0) > 1e-9:
            raise ValueError(f"`probabilities`: expected [num_timesteps] numbers above 0 that sum to 1. Received: {p}")

    @property
    def edges(self) -> np.ndarray:
        """float64 [num_timesteps - 1]: uniforms below edge t, and not below edge t - 1, draw timestep t."""
        return np.cumsum(self.probabilities)[:-1]

    @property
    def importance_weights(self) -> np.ndarray:
        """float64 [num_timesteps], 1 / (num_timesteps p): what keeps the loss' mean that of uniform timesteps."""
        return 1.0 / (len(self.probabilities) * self.probabilities)

    def draw(self, xp: Any, uniform: Any) -> Any:
        """Timesteps from uniform numbers in (0, 1), of their shape [batch, …], int32: a pure function.

        `xp` is `numpy` or `keras.ops`.
        """
        edges = xp.array(self.edges.astype(np.float32))
        index = xp.searchsorted(edges, xp.reshape(uniform, (-1,)), side="right")
        return xp.reshape(index, uniform.shape)


def uniform(num_timesteps: int) -> TimestepDistribution:
    """Every timestep alike (Ho et al. 2020, arXiv:2006.11239, Algorithm 1)."""
    check_count("num_timesteps", num_timesteps)
    return TimestepDistribution(np.full(num_timesteps, 1.0 / num_timesteps))


def lognormal(schedule: NoiseSchedule, mean: float = -1.2, std: float = 1.2) -> TimestepDistribution:
    """log(sigma/alpha) ~ N(mean, std²), cut at the schedule's ends (Karras et al. 2022, arXiv:2206.00364, table 1).

    On the flow path log(sigma/alpha) is logit(t), so this is also the logit-normal distribution of rectified flow
    (Esser et al. 2024, arXiv:2403.03206, eq. 19), by default with mean 0 and std 1 there.

    Args:
        schedule: the noise levels of training, each given the mass between the middles to its neighbours.
        mean, std: of the natural logarithm of sigma/alpha.
    """
    check_kind("schedule", schedule, NoiseSchedule)
    check_real("mean", mean)
    check_real("std", std, above=0.0)
    log_s = -0.5 * schedule.logsnr
    middles = 0.5 * (log_s[1:] + log_s[:-1])  # Infinite next to pure noise: that level takes no more than its tail.
    z = (np.concatenate([[_outer(log_s, 0)], middles, [_outer(log_s, -1)]]) - mean) / std
    mass = np.diff([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in z])
    if mass.sum() < 1e-3:
        raise ValueError(
            f"`mean`, `std`: expected a distribution over the schedule's log(sigma/alpha), {log_s[0]:.3g} to "
            f"{log_s[-1]:.3g}. "
            f"Received: mean {mean}, std {std}"
        )
    # Levels beyond the distribution's reach keep a small chance, so that no noise level is never seen.
    mass = np.maximum(mass, 1e-6 / len(mass))
    return TimestepDistribution(mass / mass.sum())


def _outer(log_s: np.ndarray, end: int) -> float:
    """The outer edge of an end level: as far out as the middle to its neighbour is in."""
    inner = {0: 1, -1: -2}[end]
    if len(log_s) == 1 or not np.isfinite(log_s[[end, inner]]).all():
        return math.inf if end == -1 else -math.inf
    return float(1.5 * log_s[end] - 0.5 * log_s[inner])


def by_loss(second_moments: np.ndarray, uniform_share: float = 0.001) -> TimestepDistribution:
    """p_t proportional to sqrt(E[L_t²]), the steadiest loss (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 18).

    Args:
        second_moments: float64 [num_timesteps], the mean of each timestep's latest squared losses (10 in the paper).
        uniform_share: of the draws, spread over all timesteps so that none is forgotten, in (0, 1].

    Train on the losses times `importance_weights`.
    """
    second_moments = check_array("second_moments", second_moments).astype(np.float64)
    if second_moments.ndim != 1 or not (np.isfinite(second_moments) & (second_moments >= 0)).all():
        raise ValueError(f"`second_moments`: expected [num_timesteps] finite numbers >= 0. Received: {second_moments}")
    if not check_real("uniform_share", uniform_share, above=0.0, below=1.0, closed=True):
        raise ValueError("`uniform_share`: expected a number in (0, 1]. Received: 0")
    root = np.sqrt(second_moments)
    if root.sum() == 0:
        return uniform(len(root))
    return TimestepDistribution((1.0 - uniform_share) * root / root.sum() + uniform_share / len(root))


def timestep_distribution(schedule: NoiseSchedule, name: str = "uniform", **options: Any) -> TimestepDistribution:
    """The named distribution over the timesteps of `schedule`: "uniform", or "lognormal" with its `mean` and `std`."""
    check_kind("schedule", schedule, NoiseSchedule)
    check_choice("name", name, ("lognormal", "uniform"))
    return lognormal(schedule, **options) if name == "lognormal" else uniform(schedule.num_timesteps, **options)
