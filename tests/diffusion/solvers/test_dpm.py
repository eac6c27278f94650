"""DPM-Solver++ against the papers' formulae, step by step, on a network that is no Gaussian's."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import NoiseLevels, Prediction
from kvdiff.diffusion.solvers import ddim, dpmpp_2m, dpmpp_2m_sde, dpmpp_3m, dpmpp_3m_sde
from tests.diffusion.helpers import denoiser, irregular_levels, measured_orders, run_denoiser

V = Prediction("v")
NOISE = np.random.default_rng(2).normal(size=8)


def algorithm(levels: NoiseLevels, x: float, order: int, eta: float) -> list[float]:
    """Lu et al. 2022 (++), Algorithm 2 and its release for three steps, eta as in k-diffusion: r, D1, D2 and all."""
    alpha, sigma, lam = levels.alpha, levels.sigma, levels.half_logsnr
    states, past = [x], []
    for i in range(levels.num_steps):
        past.insert(0, denoiser(x, sigma[i] / alpha[i]))
        if sigma[i + 1] == 0:
            states.append(past[0])
            break
        h = lam[i + 1] - lam[i]
        h_eta = h * (1 + eta)
        x = sigma[i + 1] / sigma[i] * np.exp(-h * eta) * x - alpha[i + 1] * np.expm1(-h_eta) * past[0]
        if min(order, i + 1) == 2:
            d1 = (past[0] - past[1]) / ((lam[i] - lam[i - 1]) / h)
            phi = 0.5 * -np.expm1(-h_eta) if order == 2 else np.expm1(-h_eta) / h_eta + 1
            x += alpha[i + 1] * phi * d1
        if min(order, i + 1) == 3:
            r0, r1 = (lam[i] - lam[i - 1]) / h, (lam[i - 1] - lam[i - 2]) / h
            d1_0, d1_1 = (past[0] - past[1]) / r0, (past[1] - past[2]) / r1
            d1, d2 = d1_0 + r0 / (r0 + r1) * (d1_0 - d1_1), (d1_0 - d1_1) / (r0 + r1)
            x += alpha[i + 1] * (
                (np.expm1(-h_eta) / h_eta + 1) * d1 - ((np.exp(-h_eta) - 1 + h_eta) / h_eta**2 - 0.5) * d2
            )
        x += sigma[i + 1] * np.sqrt(1 - np.exp(-2 * eta * h)) * NOISE[i]
        states.append(x)
    return states


@pytest.mark.parametrize("name", ["cosine", "flow", "karras"])
@pytest.mark.parametrize(
    ("solver", "order", "eta"),
    [
        (dpmpp_2m, 2, 0.0),
        (dpmpp_3m, 3, 0.0),
        (dpmpp_2m_sde, 2, 1.0),
        (dpmpp_3m_sde, 3, 1.0),
        (lambda levels, p: dpmpp_2m_sde(levels, p, eta=0.3), 2, 0.3),
        (lambda levels, p: dpmpp_3m_sde(levels, p, eta=0.3), 3, 0.3),
    ],
)
def test_steps_are_the_papers(name: str, solver, order: int, eta: float) -> None:
    levels = irregular_levels(name)
    made = run_denoiser(solver(levels, V), 0.9, NOISE)
    assert np.allclose(made, algorithm(levels, 0.9, order, eta), rtol=0, atol=1e-12)


def test_orders() -> None:
    assert np.abs(measured_orders(dpmpp_2m, (32, 64, 128)) - 2.0).max() < 0.2
    assert np.abs(measured_orders(dpmpp_3m, (64, 128, 256)) - 2.0).max() < 0.2  # As its docstring says.


def test_no_noise_is_the_ordinary_equation() -> None:
    levels = irregular_levels()
    for sde, ode in ((dpmpp_2m_sde, dpmpp_2m), (dpmpp_3m_sde, dpmpp_3m)):
        assert np.allclose(sde(levels, V, eta=0.0).b, ode(levels, V).b) and not sde(levels, V, eta=0.0).std.any()


def test_starting_from_pure_noise_forgets_it() -> None:
    """At alpha = 0 the first step is infinitely long: D_0 has no place in a polynomial in lambda."""
    levels = NoiseLevels([0.0, 0.3, 0.6, 0.9, 1.0], [1.0, 0.9, 0.7, 0.3, 0.0])
    for solver in (dpmpp_2m, dpmpp_3m):
        table, plain = solver(levels, V), ddim(levels, V)
        assert np.allclose(table.b[:2, 0], plain.b[:2, 0]) and not table.b[:2, 1:].any()
        assert table.b[2, 1].any() and not table.b[3, 1:].any()
        assert table.memory == (2 if solver is dpmpp_2m else 3)
    assert np.allclose(dpmpp_2m_sde(levels, V).std[0], 0.9)


def test_bad_eta_is_named() -> None:
    with pytest.raises(ValueError, match=r"`eta`: expected a number in \[0.0, inf\]. Received: -0.1"):
        dpmpp_2m_sde(irregular_levels(), V, eta=-0.1)
