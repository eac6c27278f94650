"""UniPC against the authors' algorithm: predictor and corrector as two steps that keep the earlier state."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from kvdiff.diffusion import NoiseLevels, Prediction
from kvdiff.diffusion.solvers import unipc
from kvdiff.diffusion.solvers.unipc import _phi
from tests.diffusion.helpers import denoiser, irregular_levels, measured_orders, run_denoiser

V = Prediction("v")


def update(x, levels, i, past, newest, order, variant):
    """multistep_uni_pc_bh_update with x_0 prediction, from level i to i + 1; `newest` is D_{i+1} or None."""
    lam = levels.half_logsnr
    h = lam[i + 1] - lam[i]
    rks = [(lam[i - k] - lam[i]) / h for k in range(1, order)]
    d1s = [(past[k] - past[0]) / rk for k, rk in enumerate(rks, 1)]
    rks = np.array([*rks, 1.0])
    hh = -h
    h_phi_1, b_h = np.expm1(hh), hh if variant == "bh1" else np.expm1(hh)
    h_phi_k, factorial, rows, right = h_phi_1 / hh - 1, 1, [], []
    for k in range(1, order + 1):
        rows.append(rks ** (k - 1))
        right.append(h_phi_k * factorial / b_h)
        factorial *= k + 1
        h_phi_k = h_phi_k / hh - 1 / factorial
    rows, right = np.array(rows), np.array(right)
    base = levels.sigma[i + 1] / levels.sigma[i] * x - levels.alpha[i + 1] * h_phi_1 * past[0]
    if newest is None:
        rhos = [0.5] if order == 2 else np.linalg.solve(rows[:-1, :-1], right[:-1]) if order > 1 else []
        differences = d1s
    else:
        rhos = [0.5] if order == 1 else np.linalg.solve(rows, right)
        differences = [*d1s, newest - past[0]]
    return base - levels.alpha[i + 1] * b_h * sum(r * d for r, d in zip(rhos, differences, strict=True))


def algorithm(levels: NoiseLevels, x: float, order: int, variant: str) -> list[float]:
    """The states before each network call (predicted, not corrected), and the end."""
    past: list[float] = []
    states, corrected = [x], x
    for i in range(levels.num_steps):
        newest = denoiser(states[-1], levels.sigma[i] / levels.alpha[i])
        if i > 0:
            corrected = update(corrected, levels, i - 1, past, newest, min(order, i), variant)
        past.insert(0, newest)
        last = levels.sigma[i + 1] == 0
        states.append(newest if last else update(corrected, levels, i, past, None, min(order, i + 1), variant))
    return states


@pytest.mark.parametrize("name", ["cosine", "flow", "karras"])
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_steps_are_the_authors(name: str, variant: str, order: int) -> None:
    levels = irregular_levels(name)
    made = run_denoiser(unipc(levels, V, order=order, variant=variant), 0.9)
    assert np.allclose(made, algorithm(levels, 0.9, order, variant), rtol=0, atol=1e-11)


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize(("order", "counts"), [(1, (64, 128, 256)), (2, (64, 128, 256)), (3, (32, 64, 128))])
def test_order_is_one_more_than_the_predictors(variant: str, order: int, counts: tuple[int, ...]) -> None:
    measured = measured_orders(functools.partial(unipc, order=order, variant=variant), counts)
    assert np.abs(measured - (order + 1)).max() < 0.2


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("z", [-30.0, -1.0001, -0.9999, -1e-3, -1e-12])
def test_phi_is_its_integral(k: int, z: float) -> None:
    """phi_k(z) is the integral of exp((1 - t) z) t^(k-1) / (k-1)! over [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    t = 0.5 * (nodes + 1)
    integral = 0.5 * weights @ (np.exp((1 - t) * z) * t ** (k - 1)) / np.prod(np.arange(1, k))
    assert np.isclose(_phi(k, z), integral, rtol=1e-10)


def test_starting_from_pure_noise_is_finite_and_uncorrected() -> None:
    levels = NoiseLevels([0.0, 0.3, 0.6, 0.9, 1.0], [1.0, 0.9, 0.7, 0.3, 0.0])
    table = unipc(levels, V, order=3)
    assert table.memory == 4 and not table.b[1, 1:].any() and not table.b[2, 2:].any() and table.b[2, 1].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(order=0), "`order`: expected an integer from 1 to 3. Received: 0"),
        (dict(order=4), "`order`: expected an integer from 1 to 3. Received: 4"),
        (dict(variant="bh3"), "`variant`: expected one of .*Received: 'bh3'"),
    ],
)
def test_bad_input_is_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unipc(irregular_levels(), V, **options)
