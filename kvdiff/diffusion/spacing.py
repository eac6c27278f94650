"""Which of the T training timesteps a sampler of N steps visits. Each function returns int [num_steps], falling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_count

__all__ = ["SPACINGS", "leading", "linspace", "timesteps", "trailing"]


def leading(num_timesteps: int, num_steps: int) -> np.ndarray:
    """0, k, 2k, …, falling, with k = T // N (Song et al. 2021, arXiv:2010.02502): ends on the least noise."""
    return (np.arange(num_steps) * (num_timesteps // num_steps))[::-1]


def trailing(num_timesteps: int, num_steps: int) -> np.ndarray:
    """T-1, T-1-T/N, …: starts on the most noise, where sampling starts (Lin et al. 2024, arXiv:2305.08891, table 2)."""
    return np.round(np.arange(num_steps, 0, -1) * (num_timesteps / num_steps)).astype(np.int64) - 1


def linspace(num_timesteps: int, num_steps: int) -> np.ndarray:
    """N evenly spaced timesteps from T-1 to 0, both ends included (improved-diffusion); a single step is T-1."""
    return np.round(np.linspace(num_timesteps - 1, 0, num_steps)).astype(np.int64)


SPACINGS: dict[str, Callable[[int, int], np.ndarray]] = {"leading": leading, "trailing": trailing, "linspace": linspace}


def timesteps(num_timesteps: int, num_steps: int, spacing: str = "trailing") -> np.ndarray:
    """The timesteps of the named spacing, int [num_steps], falling strictly inside 0 … num_timesteps - 1."""
    check_count("num_steps", num_steps, at_most=num_timesteps)
    return SPACINGS[check_choice("spacing", spacing, SPACINGS)](num_timesteps, num_steps)
