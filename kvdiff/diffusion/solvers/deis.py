"""Exponential Adams-Bashforth: the polynomial through the latest predictions, integrated exactly."""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.process.levels import NoiseLevels
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.solvers.history import Steps
from kvdiff.diffusion.solvers.step_table import StepTable

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)


def deis(levels: NoiseLevels, prediction: Prediction, *, order: int = 3) -> StepTable:
    """DEIS (Zhang & Chen 2023, arXiv:2204.13902, eq. 14), for the predicted x_0 and a polynomial in lambda.

    The paper extrapolates eps; extrapolating D instead makes clamping harmless (Lu et al. 2022, arXiv:2211.01095,
    section 4), and is SA-Solver's predictor without noise (Xue et al. 2023, arXiv:2309.05019, eq. 14). Its order is
    `order`.

    Args:
        levels: the noise levels to visit.
        prediction: what the network predicts.
        order: 1 (DDIM) … 4, how many predictions the polynomial goes through; the first steps use those there are, and
            the step to the clean clip one.
    """
    check_count("order", order, at_most=4)
    steps = Steps(levels)
    differences = np.zeros((levels.num_steps, order - 1))
    for i in range(levels.num_steps):
        count = steps.usable(i, order)
        if count > 1:
            weights = levels.alpha[i + 1] * lagrange_integrals(steps.nodes(i, count), steps.h[i])
            differences[i, : count - 1] = -weights[1:]
    return StepTable.from_differences(levels, prediction, differences)


def lagrange_integrals(nodes: np.ndarray, h: float) -> np.ndarray:
    """The integral of exp(tau - h) l_k(tau) over [0, h] for each Lagrange polynomial l_k on `nodes`, [count].

    By Gauss-Legendre quadrature of 40 points, exact to rounding; the closed forms cancel where h is small.
    """
    tau = 0.5 * h * (_NODES + 1.0)
    kernel = 0.5 * h * _WEIGHTS * np.exp(tau - h)
    integrals = []
    for k, node in enumerate(nodes):
        others = np.delete(nodes, k)
        polynomial = np.prod((tau[:, None] - others) / (node - others), axis=1)
        integrals.append(kernel @ polynomial)
    return np.array(integrals)
