"""How much each training timestep counts in the loss: a table [num_timesteps] that training gathers from.

The loss is w_t |F - F*|², on the raw network. Papers weigh the error of D instead, or of eps; equation (5) converts:
|D - x_0|² = c_out² |F - F*|². So each weight here is the paper's weight of |D - x_0|² times c_out².
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_kind, check_real
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import NoiseSchedule


def simple(schedule: NoiseSchedule, prediction: Prediction) -> np.ndarray:
    """1 at every timestep, whatever is predicted (Ho et al. 2020, arXiv:2006.11239, eq. 14)."""
    return np.ones(schedule.num_timesteps)


def snr(schedule: NoiseSchedule, prediction: Prediction) -> np.ndarray:
    """The mean square of eps' error, whatever is predicted: SNR |D - x_0|² (Salimans & Ho 2022, arXiv:2202.00512)."""
    return schedule.snr * _c_out2(schedule, prediction)


def min_snr(schedule: NoiseSchedule, prediction: Prediction, *, gamma: float = 5.0) -> np.ndarray:
    """min(SNR, gamma) |D - x_0|² (Hang et al. 2023, arXiv:2303.09556, eq. 6): no timestep outweighs the rest.

    Args:
        schedule: the noise levels of training.
        prediction: what the network predicts.
        gamma: the largest weight; 5 in the paper.
    """
    check_real("gamma", gamma, above=0.0)
    return np.minimum(schedule.snr, gamma) * _c_out2(schedule, prediction)


def edm(schedule: NoiseSchedule, prediction: Prediction) -> np.ndarray:
    """(s² + sigma_data²) / (s sigma_data)² |D - x_0|², s = sigma/alpha (Karras et al. 2022, arXiv:2206.00364, table 1).

    It is SNR + 1/sigma_data², and 1 for prediction "edm", whose target has unit variance.
    """
    return (schedule.snr + prediction.sigma_data**-2.0) * _c_out2(schedule, prediction)


def variational(schedule: NoiseSchedule, prediction: Prediction) -> np.ndarray:
    """The variational bound's: (SNR_{t-1} - SNR_t) / 2 |D - x_0|² (Kingma et al. 2021, arXiv:2107.00630, eq. 14).

    In nats; times num_timesteps, and averaged over uniform timesteps, it is the bound without its constants. The first
    timestep has no t - 1 of finite SNR; its decoder N(D, sigma²/alpha²) weighs |D - x_0|² by SNR / 2.
    """
    before = np.append(2.0 * schedule.snr[0], schedule.snr[:-1])
    return 0.5 * (before - schedule.snr) * _c_out2(schedule, prediction)


def _c_out2(schedule: NoiseSchedule, prediction: Prediction) -> np.ndarray:
    return prediction.preconditioning(schedule.alpha, schedule.sigma).c_out ** 2


WEIGHTS: dict[str, Callable[..., np.ndarray]] = {
    "simple": simple,
    "snr": snr,
    "min_snr": min_snr,
    "edm": edm,
    "variational": variational,
}


def loss_weights(schedule: NoiseSchedule, prediction: Prediction, name: str = "simple", **options: Any) -> np.ndarray:
    """The named weight of |F - F*|² at every timestep, float64 [num_timesteps]."""
    check_kind("schedule", schedule, NoiseSchedule)
    check_kind("prediction", prediction, Prediction)
    return WEIGHTS[check_choice("name", name, WEIGHTS)](schedule, prediction, **options)
