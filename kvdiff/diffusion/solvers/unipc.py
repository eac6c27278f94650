"""UniPC: every network call serves twice, to correct the step that led to it and to predict the next one."""

from __future__ import annotations

import math

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_count
from kvdiff.diffusion.process.levels import NoiseLevels
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.solvers.history import Steps
from kvdiff.diffusion.solvers.step_table import StepTable


def unipc(levels: NoiseLevels, prediction: Prediction, *, order: int = 2, variant: str = "bh2") -> StepTable:
    """UniPC for the predicted x_0 (Zhao et al. 2023, arXiv:2302.04867, Algorithms 5 to 8); order `order` + 1 at best.

    The state between rows is the predictor's. A row first corrects it with the new D_i, then predicts on: both are
    linear, so one row does both. The last row, to the clean clip, is of first order.

    Args:
        levels: the noise levels to visit.
        prediction: what the network predicts.
        order: of the predictor, 1 … 3; the first steps use the predictions there are.
        variant: "bh1" (B(h) = h) or "bh2" (B(h) = e^h - 1), the paper's two step functions.
    """
    check_count("order", order, at_most=3)
    check_choice("variant", variant, ("bh1", "bh2"))
    steps = Steps(levels)
    differences = np.zeros((levels.num_steps, order))
    for i in range(levels.num_steps):
        predictor, _ = _weights(steps, i, steps.usable(i, order), variant)
        differences[i, : len(predictor)] -= levels.alpha[i + 1] * predictor
        if i > 0:
            before = steps.usable(i - 1, order)
            predictor, corrector = _weights(steps, i - 1, before, variant)
            # x_i gains this times D_i - D_{i-1} and D_{i-1-k} - D_{i-1}; row i carries x_i on with the factor a.
            gained = corrector - np.append(predictor, 0.0)
            carried = levels.sigma[i + 1] / levels.sigma[i] * levels.alpha[i] * gained
            # In differences from D_i: newest gains `last` (D_i - D_{i-1}), the others D_{i-1-k} - D_{i-1}.
            differences[i, 0] += carried.sum()
            differences[i, 1:before] -= carried[:-1]
    return StepTable.from_differences(levels, prediction, differences)


def _weights(steps: Steps, i: int, order: int, variant: str) -> tuple[np.ndarray, np.ndarray]:
    """Step i's weights, to be multiplied by alpha_s: the predictor's [order - 1] and the corrector's [order].

    Of D_{i-k} - D_i for k = 1 … order - 1; the corrector's last is of D_{i+1} - D_i.
    """
    h = steps.h[i]
    if not np.isfinite(h):
        return np.zeros(order - 1), np.zeros(order)
    ratios = np.append(steps.nodes(i, order)[1:] / h, 1.0)
    powers = ratios ** np.arange(order)[:, None]
    scale = -h if variant == "bh1" else np.expm1(-h)
    right = np.array([math.factorial(k) * _phi(k + 1, -h) for k in range(1, order + 1)]) * -h / scale
    corrector = np.array([0.5]) if order == 1 else np.linalg.solve(powers, right)
    predictor = np.array([0.5]) if order == 2 else np.linalg.solve(powers[:-1, :-1], right[:-1])
    return -scale * predictor / ratios[:-1], -scale * corrector / ratios


def _phi(k: int, z: float) -> float:
    """phi_k(z) = (phi_{k-1}(z) - 1/(k-1)!) / z with phi_0 = exp, by its series where the recursion would cancel."""
    if abs(z) < 1.0:
        return sum(z**j / math.factorial(j + k) for j in range(20))
    value = math.exp(z)
    for j in range(k):
        value = (value - 1.0 / math.factorial(j)) / z
    return value
