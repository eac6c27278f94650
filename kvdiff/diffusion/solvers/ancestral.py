"""DDPM and DDIM: each step redraws from the posterior q(x_s | x_t, x_0), with x_0 replaced by its prediction."""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_real
from kvdiff.diffusion.predictions import Prediction
from kvdiff.diffusion.schedules import NoiseLevels
from kvdiff.diffusion.steps import StepTable

__all__ = ["ddim", "ddpm"]


def _forward_variance(levels: NoiseLevels) -> tuple[np.ndarray, np.ndarray]:
    """(alpha_ts, sigma²_ts) of q(x_t | x_s) = N(alpha_ts x_s, sigma²_ts I) between neighbouring levels: equation (3)."""
    alpha_ts = levels.alpha[:-1] / levels.alpha[1:]
    return alpha_ts, levels.sigma[:-1] ** 2 - (alpha_ts * levels.sigma[1:]) ** 2


def ddpm(levels: NoiseLevels, prediction: Prediction, *, variance: str = "small", init_std: float = 1.0) -> StepTable:
    """Ancestral sampling (Ho et al. 2020, arXiv:2006.11239, Algorithm 2 with eq. 7), for any subset of the timesteps.

    Args:
        levels: the noise levels to visit.
        prediction: what the network predicts.
        variance: "small", beta-tilde, the posterior's own variance given x_0 (exact for one known clip); or "large", the
            forward step's beta (exact for unit-variance data). Neither adds noise in the last step.
        init_std: the standard deviation of the starting noise.
    """
    check_choice("variance", variance, ("small", "large"))
    alpha_t, alpha_s = levels.alpha[:-1], levels.alpha[1:]
    var_t, var_s = levels.sigma[:-1] ** 2, levels.sigma[1:] ** 2
    alpha_ts, var_ts = _forward_variance(levels)
    posterior = var_ts * var_s / var_t  # Equation (4); 0 in the last row, where sigma_s is 0.
    std = np.sqrt(posterior if variance == "small" else np.append(var_ts[:-1], 0.0))
    return StepTable.from_recurrence(
        levels,
        prediction,
        a=alpha_ts * var_s / var_t,
        b=(alpha_s * var_ts / var_t)[:, None],
        std=std,
        init_std=init_std,
        keeps_variance=variance == "small",
    )


def ddim(levels: NoiseLevels, prediction: Prediction, *, eta: float = 0.0, init_std: float = 1.0) -> StepTable:
    """Song et al. 2021, arXiv:2010.02502, eq. 12 and 16: eta = 0 is deterministic (first order), eta = 1 is `ddpm`.

    The direction that points to x_t is recomputed from the clamped x_0, so clamping keeps x on the noise level.

    Args:
        levels: the noise levels to visit.
        prediction: what the network predicts.
        eta: the share of the posterior's standard deviation that is redrawn each step, in [0, 1].
        init_std: the standard deviation of the starting noise.
    """
    check_real("eta", eta, above=0.0, below=1.0, closed=True)
    alpha_t, alpha_s = levels.alpha[:-1], levels.alpha[1:]
    var_t, var_s = levels.sigma[:-1] ** 2, levels.sigma[1:] ** 2
    _, var_ts = _forward_variance(levels)
    std = eta * np.sqrt(var_ts * var_s / var_t)
    a = np.sqrt((var_s - std**2) / var_t)
    return StepTable.from_recurrence(
        levels, prediction, a=a, b=(alpha_s - a * alpha_t)[:, None], std=std, init_std=init_std
    )
