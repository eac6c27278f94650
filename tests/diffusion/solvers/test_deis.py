"""Exponential Adams-Bashforth: exact for polynomials, and of its order."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from kvdiff.diffusion import NoiseLevels, Prediction
from kvdiff.diffusion.solvers import ddim, deis, dpmpp_2m
from kvdiff.diffusion.solvers.deis import lagrange_integrals
from tests.diffusion.helpers import irregular_levels, measured_orders

V = Prediction("v")


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_a_prediction_polynomial_in_lambda_is_integrated_exactly(order: int) -> None:
    """x_s = sigma_s/sigma_t x_t + sigma_s integral of e^lambda D: closed form for D = lambda^m, m < order."""
    levels = irregular_levels()
    table, lam = deis(levels, V, order=order), levels.half_logsnr
    for m in range(order):
        for i in range(order - 1, levels.num_steps - 1):

            def primitive(at: float, m: int = m) -> float:
                return np.exp(at) * sum(
                    (-1) ** k * np.prod(np.arange(m, m - k, -1)) * at ** (m - k) for k in range(m + 1)
                )

            exact = levels.sigma[i + 1] * (primitive(lam[i + 1]) - primitive(lam[i]))
            used = sum(table.b[i, k, 0] * lam[i - k] ** m for k in range(order))
            assert np.isclose(used, exact, atol=1e-12)
            assert np.isclose(table.a[i, 0], levels.sigma[i + 1] / levels.sigma[i])


def test_integrals_hold_for_tiny_and_huge_steps() -> None:
    assert np.isclose(lagrange_integrals(np.zeros(1), 1e-9).sum(), -np.expm1(-1e-9), rtol=1e-12)
    for h in (1e-6, 0.5, 20.0):
        weights = lagrange_integrals(np.array([0.0, -h / 3, -h]), h)
        assert np.isclose(weights.sum(), -np.expm1(-h), rtol=1e-12)
        linear = h - 1 + np.exp(-h) if h > 1e-3 else h**2 / 2 - h**3 / 6
        assert np.isclose(weights @ np.array([0.0, -h / 3, -h]), linear, rtol=1e-9)


@pytest.mark.parametrize(("order", "counts"), [(2, (64, 128, 256)), (3, (64, 128, 256)), (4, (64, 128, 256))])
def test_order_is_as_named(order: int, counts: tuple[int, ...]) -> None:
    measured = measured_orders(functools.partial(deis, order=order), counts, warm_up=order - 1)
    assert np.abs(measured - order).max() < 0.3


def test_first_order_is_ddim_and_lower_orders_start_up() -> None:
    levels = irregular_levels()
    assert np.allclose(deis(levels, V, order=1).b, ddim(levels, V).b)
    assert deis(levels, V).memory == 3
    table, second = deis(levels, V, order=3), deis(levels, V, order=2)
    assert table.memory == 3 and not table.b[0, 1:].any() and not table.b[1, 2].any()
    assert np.allclose(table.b[1, :2], second.b[1]) and table.b[2, 2].all() and not table.b[-1, 1:].any()


def test_second_order_agrees_with_2m_for_small_steps_only() -> None:
    """Both are second order, with other weights: they must not be one code path under two names."""
    fine = NoiseLevels(*(np.append(v, end) for v, end in zip(_near(0.01), (1.0, 0.0), strict=True)))
    coarse = NoiseLevels(*(np.append(v, end) for v, end in zip(_near(1.0), (1.0, 0.0), strict=True)))
    gap = [np.abs(deis(at, V, order=2).b[1] - dpmpp_2m(at, V).b[1]).max() for at in (fine, coarse)]
    assert gap[0] < 1e-5 < 1e-2 < gap[1]


def _near(h: float) -> tuple[np.ndarray, np.ndarray]:
    from kvdiff.diffusion.process.levels import from_logsnr

    return from_logsnr("vp", 2 * np.array([-0.5, -0.5 + h, -0.5 + 2 * h]))


def test_starting_from_pure_noise_is_finite() -> None:
    levels = NoiseLevels([0.0, 0.3, 0.6, 0.9, 1.0], [1.0, 0.9, 0.7, 0.3, 0.0])
    table = deis(levels, V, order=3)
    assert not table.b[1, 1:].any() and table.b[2, 1].all() and not table.b[2, 2].any()


@pytest.mark.parametrize("order", [0, 5])
def test_bad_order_is_named(order: int) -> None:
    with pytest.raises(ValueError, match=f"`order`: expected an integer from 1 to 4. Received: {order}"):
        deis(irregular_levels(), V, order=order)
