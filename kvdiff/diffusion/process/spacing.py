"""Which noise levels a sampler of N steps visits: some of the T training timesteps, or levels between them.

The network knows the level itself, not a timestep's index, so it can be sampled at levels it was not trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kvdiff.diffusion.checks import check_array, check_choice, check_count, check_kind, received
from kvdiff.diffusion.process.levels import NoiseLevels
from kvdiff.diffusion.process.schedules import NoiseSchedule

__all__ = [
    "SPACINGS",
    "TIMESTEP_SPACINGS",
    "karras",
    "leading",
    "linspace",
    "sampling_levels",
    "timesteps",
    "trailing",
    "uniform_logsnr",
]


def leading(num_timesteps: int, num_steps: int) -> np.ndarray:
    """0, k, 2k, …, falling, with k = T // N (Song et al. 2021, arXiv:2010.02502): ends on the least noise."""
    return (np.arange(num_steps) * (num_timesteps // num_steps))[::-1]


def trailing(num_timesteps: int, num_steps: int) -> np.ndarray:
    """T-1, T-1-T/N, …: starts on the most noise, where sampling starts (Lin et al. 2024, arXiv:2305.08891, table 2)."""
    return np.round(np.arange(num_steps, 0, -1) * (num_timesteps / num_steps)).astype(np.int64) - 1


def linspace(num_timesteps: int, num_steps: int) -> np.ndarray:
    """N evenly spaced timesteps from T-1 to 0, both ends included (improved-diffusion); a single step is T-1."""
    return np.round(np.linspace(num_timesteps - 1, 0, num_steps)).astype(np.int64)


def uniform_logsnr(schedule: NoiseSchedule, num_steps: int) -> NoiseLevels:
    """Evenly spaced log-SNR between the schedule's ends (Lu et al. 2022, arXiv:2206.00927, section 3.4)."""
    logsnr = _finite_logsnr(schedule, "uniform_logsnr")
    return schedule.levels_at(np.linspace(logsnr[-1], logsnr[0], num_steps))


def karras(schedule: NoiseSchedule, num_steps: int, rho: float = 7.0) -> NoiseLevels:
    """(sigma/alpha)^(1/rho) evenly spaced between the schedule's ends (Karras et al. 2022, arXiv:2206.00364, eq. 5)."""
    logsnr = _finite_logsnr(schedule, "karras")
    first, last = np.exp(-0.5 * logsnr[[-1, 0]] / rho)
    root = np.linspace(first, last, num_steps)
    return schedule.levels_at(-2.0 * rho * np.log(root))


def _finite_logsnr(schedule: NoiseSchedule, name: str) -> np.ndarray:
    if schedule.alpha[-1] == 0:
        raise ValueError(
            f"spacing {name!r}: expected a schedule with alpha > 0 at the last timestep. Received: alpha = 0 (pure "
            f"noise), "
            "infinitely far away in log-SNR. Use spacing 'trailing'."
        )
    return schedule.logsnr


TIMESTEP_SPACINGS: dict[str, Callable[[int, int], np.ndarray]] = {
    "leading": leading,
    "trailing": trailing,
    "linspace": linspace,
}
_LEVEL_SPACINGS: dict[str, Callable[[NoiseSchedule, int], NoiseLevels]] = {
    "uniform_logsnr": uniform_logsnr,
    "karras": karras,
}
SPACINGS: tuple[str, ...] = (*TIMESTEP_SPACINGS, *_LEVEL_SPACINGS)
"""The names that `sampling_levels` knows."""


def timesteps(num_timesteps: int, num_steps: int, spacing: str = "trailing") -> np.ndarray:
    """The timesteps of the named spacing, int [num_steps], falling strictly inside 0 … num_timesteps - 1."""
    check_count("num_steps", num_steps, at_most=check_count("num_timesteps", num_timesteps))
    return TIMESTEP_SPACINGS[check_choice("spacing", spacing, TIMESTEP_SPACINGS)](num_timesteps, num_steps)


def sampling_levels(
    schedule: NoiseSchedule, num_steps: int, spacing: str | Sequence[int] | np.ndarray = "trailing"
) -> NoiseLevels:
    """The levels that a sampler visits: `num_steps` of them, then the clean clip.

    Args:
        schedule: the levels of training.
        num_steps: 1 … num_timesteps, whatever the spacing.
        spacing: a name in `SPACINGS`, or your own timesteps, `num_steps` integers falling strictly.
    """
    check_kind("schedule", schedule, NoiseSchedule)
    check_count("num_steps", num_steps, at_most=schedule.num_timesteps)
    if not isinstance(spacing, str):
        spacing = check_array("spacing", spacing, "a name, or timesteps")
        if spacing.dtype.kind not in "iu" or spacing.shape != (num_steps,):
            raise ValueError(
                f"`spacing`: expected `num_steps` = {num_steps} timesteps, integers. Received: {received(spacing)}"
            )
        return schedule.levels(spacing)
    if check_choice("spacing", spacing, SPACINGS) in _LEVEL_SPACINGS:
        return _LEVEL_SPACINGS[spacing](schedule, num_steps)
    return schedule.levels(timesteps(schedule.num_timesteps, num_steps, spacing))
