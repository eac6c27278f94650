"""Solvers of two network calls a step: Heun's method, EDM's stochastic sampler and DPM-Solver-2.

Each step is two rows, the last step one of Euler's. The state at a step's start is not kept: it is a combination of the
present state and D_{i-1}, so the second row is a linear recurrence like any other. In y = x/alpha and s = sigma/alpha
the sampling equation is dy/ds = (y - D)/s.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from kvdiff.diffusion.checks import check_real
from kvdiff.diffusion.process.levels import NoiseLevels, on_path, path_of
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.solvers.step_table import StepTable


class CoarseStepsError(ValueError):
    """Steps that are too large for the solver: more of them, or another spacing, would do."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Visited:
    """The level before each row and after the last: two to a step; they may repeat, and rise."""

    alpha: np.ndarray
    sigma: np.ndarray

    @classmethod
    def interleaved(cls, path: str, first: np.ndarray, second: np.ndarray) -> _Visited:
        """The levels of sigma/alpha first_0, second_0, first_1, …, first_{N-1}, 0 on `path`."""
        s = np.zeros(2 * len(first))
        s[0::2], s[1:-1:2] = first, second
        return cls(*on_path(path, np.ones_like(s), s))


def heun(levels: NoiseLevels, prediction: Prediction) -> StepTable:
    """Heun's method, second order: 2 N - 1 calls for N steps (Karras et al. 2022, arXiv:2206.00364, Algorithm 1).

    Needs steps that shrink large noise gradually: its own spacings are "karras" and "uniform_logsnr".
    """
    return edm(levels, prediction)


def edm(
    levels: NoiseLevels,
    prediction: Prediction,
    *,
    churn: float = 0.0,
    churn_min: float = 0.0,
    churn_max: float = float("inf"),
    noise_scale: float = 1.0,
) -> StepTable:
    """EDM's stochastic sampler (Karras et al. 2022, arXiv:2206.00364, Algorithm 2): noise up, then a Heun step.

    The fresh noise of a step is drawn at the end of the row before it, that of the first step with the starting noise.

    Args:
        levels: the noise levels to visit; as for `heun`.
        prediction: what the network predicts.
        churn: S_churn, how much noise is redrawn in all steps together; 0 is Heun's method.
        churn_min, churn_max: S_min and S_max, the sigma/alpha between which it is redrawn.
        noise_scale: S_noise, the standard deviation of what is drawn; above 1 makes up for a network that removes too
            much.
    """
    check_real("churn", churn, above=0.0, below=1e6, closed=True)
    check_real("noise_scale", noise_scale, above=0.0)
    if not 0.0 <= churn_min <= churn_max:
        raise ValueError(
            f"`churn_min`, `churn_max`: expected 0 <= churn_min <= churn_max. Received: {churn_min} and {churn_max}"
        )
    s = _noise_to_signal(levels)
    inside = (s >= churn_min) & (s <= churn_max)
    raised = s * np.where(inside, 1.0 + min(churn / levels.num_steps, np.sqrt(2.0) - 1.0), 1.0)
    visited = _Visited.interleaved(path_of(levels.alpha, levels.sigma), raised, s[1:])
    std, differences = np.zeros(len(visited.alpha) - 1), np.zeros((len(visited.alpha) - 1, 1))
    # Second rows: half the change of slope, (D - D') / s' over the step, then the rise to the next step's noise.
    differences[1::2, 0] = visited.alpha[2:-1:2] * (raised[:-1] - s[1:]) / (2.0 * s[1:])
    std[1::2] = visited.alpha[2:-1:2] * np.sqrt((raised[1:] - s[1:]) * (raised[1:] + s[1:]))
    table = StepTable.from_differences(visited, prediction, differences, std=std)
    if noise_scale == 1.0:
        return table
    first_rise = visited.alpha[0] ** 2 * (raised[0] - s[0]) * (raised[0] + s[0])
    init_std = np.sqrt(table.init_std**2 + (noise_scale**2 - 1.0) * first_rise)
    return dataclasses.replace(table, std=noise_scale * table.std, init_std=float(init_std), keeps_variance=False)


def dpm_2(levels: NoiseLevels, prediction: Prediction) -> StepTable:
    """DPM-Solver-2, second order: the slope halfway in lambda (Lu et al. 2022, arXiv:2206.00927, Algorithm 1).

    2 N - 1 calls for N steps; needs steps as `heun` does.
    """
    s = _noise_to_signal(levels)
    middle = np.sqrt(s[:-1] * s[1:])
    visited = _Visited.interleaved(path_of(levels.alpha, levels.sigma), s, middle)
    differences = np.zeros((len(visited.alpha) - 1, 1))
    # Second rows: from the middle back to the step's start by D_{i-1}, then the whole step with the slope of D_i.
    differences[1::2, 0] = visited.alpha[2:-1:2] * (s[:-1] / middle - 1.0)
    return StepTable.from_differences(visited, prediction, differences)


def _noise_to_signal(levels: NoiseLevels) -> np.ndarray:
    """sigma/alpha before each step, [num_steps]; no step may be so large that the slope's change swamps the clip."""
    if levels.alpha[0] == 0:
        raise ValueError(
            "two-call solvers: expected alpha > 0 at every level. Received: alpha = 0 (pure noise), where sigma/alpha "
            "is infinite. Use solver 'ddim', 'dpmpp_2m', 'deis' or 'unipc'."
        )
    s = levels.sigma[:-1] / levels.alpha[:-1]
    if ((s[:-1] > 10.0) & (s[:-1] > 20.0 * s[1:])).any():
        raise CoarseStepsError(
            f"two-call solvers: expected sigma/alpha above 10 to fall at most 20-fold in a step. Received: {s}. "
            "Use spacing 'karras' or 'uniform_logsnr', or more steps."
        )
    return s


for _solver in (heun, edm, dpm_2):
    _solver.spacings = ("karras", "uniform_logsnr")  # type: ignore[attr-defined]
