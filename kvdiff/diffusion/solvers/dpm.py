"""DPM-Solver++: the sampling equation solved exactly but for D, which a polynomial in lambda extrapolates.

With lambda = log(alpha/sigma) as time and h the step, equation (12) leaves one integral, of D along the step. These
solvers expand D in a Taylor series whose derivatives are differences of the latest predictions.
"""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion.checks import check_real
from kvdiff.diffusion.process.levels import NoiseLevels
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.solvers.history import Steps
from kvdiff.diffusion.solvers.step_table import StepTable


def dpmpp_2m(levels: NoiseLevels, prediction: Prediction) -> StepTable:
    """DPM-Solver++(2M), second order (Lu et al. 2022, arXiv:2211.01095, Algorithm 2). With order 1 it would be DDIM."""
    return _second_order(levels, prediction, eta=0.0)


def dpmpp_2m_sde(levels: NoiseLevels, prediction: Prediction, *, eta: float = 1.0) -> StepTable:
    """SDE-DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, section 5, eq. 17), midpoint form.

    Args:
        levels: the noise levels to visit.
        prediction: what the network predicts.
        eta: how much noise is redrawn: 0 is `dpmpp_2m`, 1 the paper's equation.
    """
    return _second_order(levels, prediction, eta=eta)


def _second_order(levels: NoiseLevels, prediction: Prediction, eta: float) -> StepTable:
    steps, std = Steps(levels), _fresh_std(levels, eta)
    differences = np.zeros((levels.num_steps, 1))
    for i in range(levels.num_steps):
        if steps.usable(i, 2) == 2:
            differences[i, 0] = 0.5 * _newest(levels, std, i) * steps.h[i] / steps.h[i - 1]
    return StepTable.from_differences(levels, prediction, differences, std=std)


def dpmpp_3m(levels: NoiseLevels, prediction: Prediction) -> StepTable:
    """DPM-Solver++(3M) as its authors released it (Lu et al. 2022, arXiv:2211.01095; the paper gives 2M alone).

    Their second difference is half the second derivative, where the Taylor series wants the whole, so it measures as
    second order, with a smaller constant than 2M. `deis` with order 3 is of third order.
    """
    return _third_order(levels, prediction, eta=0.0)


def dpmpp_3m_sde(levels: NoiseLevels, prediction: Prediction, *, eta: float = 1.0) -> StepTable:
    """`dpmpp_3m` with fresh noise, as in k-diffusion; eta as in `dpmpp_2m_sde`."""
    return _third_order(levels, prediction, eta=eta)


def _third_order(levels: NoiseLevels, prediction: Prediction, eta: float) -> StepTable:
    steps, std = Steps(levels), _fresh_std(levels, eta)
    differences = np.zeros((levels.num_steps, 2))
    for i in range(levels.num_steps):
        order = steps.usable(i, 3)
        if order == 1:
            continue
        h = steps.h[i] * (1.0 + eta)
        phi_2 = 1.0 + np.expm1(-h) / h
        r_0 = steps.h[i - 1] / steps.h[i]
        if order == 2:
            differences[i, 0] = levels.alpha[i + 1] * phi_2 / r_0
            continue
        phi_3 = phi_2 / h - 0.5
        r_1 = steps.h[i - 2] / steps.h[i]
        # D1 = d_0 + (d_0 - d_1) r_0 / (r_0 + r_1), D2 = (d_0 - d_1) / (r_0 + r_1), in d_0 and d_1:
        on_0 = phi_2 * (1.0 + r_0 / (r_0 + r_1)) - phi_3 / (r_0 + r_1)
        on_1 = (phi_3 - phi_2 * r_0) / (r_0 + r_1)
        # d_0 = (D_i - D_{i-1}) / r_0 and d_1 = (D_{i-1} - D_{i-2}) / r_1, in differences from D_i:
        differences[i] = levels.alpha[i + 1] * np.array([on_0 / r_0 - on_1 / r_1, on_1 / r_1])
    return StepTable.from_differences(levels, prediction, differences, std=std)


def _fresh_std(levels: NoiseLevels, eta: float) -> np.ndarray:
    """sigma_s sqrt(1 - exp(-2 eta h)), [num_steps]; 0 in the last row."""
    check_real("eta", eta, above=0.0, closed=True)
    if eta == 0.0:
        return np.zeros(levels.num_steps)
    return levels.sigma[1:] * np.sqrt(-np.expm1(-2.0 * eta * np.diff(levels.half_logsnr)))


def _newest(levels: NoiseLevels, std: np.ndarray, i: int) -> float:
    """The weight of D_i in row i at first order: alpha_s - a alpha_t."""
    sigma_s = levels.sigma[i + 1]
    a = np.sqrt((sigma_s - std[i]) * (sigma_s + std[i])) / levels.sigma[i]
    return float(levels.alpha[i + 1] - a * levels.alpha[i])
