"""DDPM and DDIM: each step redraws from the posterior q(x_s | x_t, x_0), with x_0 replaced by its prediction.

`consistency` redraws from q(x_s | x_0).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_real
from kvdiff.diffusion.process.levels import NoiseLevels
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.solvers.step_table import LearnedVarianceTable, StepTable


def _forward_variance(levels: NoiseLevels) -> tuple[np.ndarray, np.ndarray]:
    """(alpha_ts, sigma²_ts) of q(x_t | x_s) = N(alpha_ts x_s, sigma²_ts I) between neighbours: equation (3)."""
    alpha_ts = levels.alpha[:-1] / levels.alpha[1:]
    carried = alpha_ts * levels.sigma[1:]
    return alpha_ts, (levels.sigma[:-1] - carried) * (
        levels.sigma[:-1] + carried
    )  # A difference of squares cancels less.


def posterior_std(levels: NoiseLevels) -> np.ndarray:
    """The standard deviation of q(x_s | x_t, x_0) between neighbouring levels, [num_steps]: equation (4)."""
    _, var_ts = _forward_variance(levels)
    return np.sqrt(var_ts) * levels.sigma[1:] / levels.sigma[:-1]  # 0 in the last row, where sigma_s is 0.


def ddpm(levels: NoiseLevels, prediction: Prediction, *, variance: str = "small") -> StepTable:
    """Ancestral sampling (Ho et al. 2020, arXiv:2006.11239, Algorithm 2 with eq. 7), for any subset of the timesteps.

    Args:
        levels: the noise levels to visit.
        prediction: what the network predicts.
        variance: "small", beta-tilde, the posterior's own variance given x_0 (exact for one known clip); "large", the
            forward step's beta (exact for unit-variance data); or "learned", between the two as the network's extra
            channels say (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15). None adds noise in the last step.
    """
    check_choice("variance", variance, ("small", "large", "learned"))
    alpha_ts, var_ts = _forward_variance(levels)
    ratio = (levels.sigma[1:] / levels.sigma[:-1]) ** 2
    rows = dict(a=alpha_ts * ratio, b=(levels.alpha[1:] * var_ts / levels.sigma[:-1] ** 2)[:, None])
    small, large = posterior_std(levels), np.sqrt(np.append(var_ts[:-1], 0.0))
    if variance == "learned":
        drawn = np.append(np.ones(levels.num_steps - 1), 0.0)
        log_var = _learned_range(small**2, var_ts)
        return LearnedVarianceTable.from_recurrence(
            levels, prediction, std=drawn, keeps_variance=False, **rows, **log_var
        )
    std = small if variance == "small" else large
    return StepTable.from_recurrence(levels, prediction, std=std, keeps_variance=variance == "small", **rows)


def _learned_range(small: np.ndarray, large: np.ndarray) -> dict[str, Any]:
    """The logarithms of both variances; the last row's smaller one, 0, gives way to the one before, as published.

    No noise is drawn there; the variational bound codes the clip with it.
    """
    last = small[-2] if len(small) > 1 else large[-1]
    return {"log_var_min": np.log(np.append(small[:-1], last)), "log_var_max": np.log(large)}


def ddim(levels: NoiseLevels, prediction: Prediction, *, eta: float = 0.0) -> StepTable:
    """Song et al. 2021, arXiv:2010.02502, eq. 12 and 16: eta = 0 is deterministic (first order), eta = 1 is `ddpm`.

    The direction that points to x_t is recomputed from the clamped x_0, so clamping keeps x on the noise level.

    Args:
        levels: the noise levels to visit.
        prediction: what the network predicts.
        eta: the share of the posterior's standard deviation that is redrawn each step, in [0, 1].
    """
    check_real("eta", eta, above=0.0, below=1.0, closed=True)
    return StepTable.from_differences(levels, prediction, std=eta * posterior_std(levels))


def euler(levels: NoiseLevels, prediction: Prediction) -> StepTable:
    """Euler's method for the probability flow (Karras et al. 2022, arXiv:2206.00364, eq. 4; flow matching too).

    Every step that is exact for a constant D is the same step, whatever variable the equation is written in: this *is*
    DDIM with eta = 0, under the name by which other samplers offer it.
    """
    return ddim(levels, prediction, eta=0.0)


def euler_ancestral(levels: NoiseLevels, prediction: Prediction) -> StepTable:
    """Euler down to less than the next level, then fresh noise up to it: DDIM with eta = 1, by the name others use."""
    return ddim(levels, prediction, eta=1.0)


def consistency(levels: NoiseLevels, prediction: Prediction) -> StepTable:
    """The prediction, with fresh noise up to the next level: nothing of x_t is kept (arXiv:2303.01469, Algorithm 1).

    For a network that predicts where the probability flow ends, as `ConsistencyTuning` trains it: then any number of
    steps is exact. The mean of x_0, which other networks predict, gets blurred in every step.
    """
    return StepTable.from_differences(levels, prediction, std=levels.sigma[1:])
