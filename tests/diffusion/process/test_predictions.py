from __future__ import annotations

import itertools

import numpy as np
import pytest

from kvdiff.diffusion import Prediction
from kvdiff.diffusion.process.predictions import PREDICTIONS
from tests.diffusion.helpers import schedule

RNG = np.random.default_rng(3)
X_0, EPS = RNG.normal(size=(2, 40))


def raw_by_definition(name: str, alpha: float, sigma: float) -> np.ndarray:
    """What each prediction type is, from the papers, for the pair (X_0, EPS)."""
    if name == "edm":  # Karras et al. 2022, eq. 8 and table 1, on x/alpha = x_0 + (sigma/alpha) eps, sigma_data = 0.5.
        s = sigma / alpha
        c_skip, c_out = 0.25 / (s**2 + 0.25), s * 0.5 / np.sqrt(s**2 + 0.25)
        return (X_0 - c_skip * (X_0 + s * EPS)) / c_out
    return {"eps": EPS, "x0": X_0, "v": alpha * EPS - sigma * X_0, "flow": EPS - X_0}[name]


@pytest.mark.parametrize("name", PREDICTIONS)
@pytest.mark.parametrize(("alpha", "sigma"), [(0.6, 0.8), (1.0, 20.0), (0.3, 0.7), (1.0, 0.01), (0.02, 0.9998)])
def test_target_is_the_published_definition_and_gives_back_x0(name: str, alpha: float, sigma: float) -> None:
    prediction, x = Prediction(name), alpha * X_0 + sigma * EPS
    p, q = prediction.target_coefficients(alpha, sigma)
    target = p * X_0 + q * EPS
    assert np.allclose(target, raw_by_definition(name, alpha, sigma), rtol=1e-9, atol=1e-9)
    row = prediction.preconditioning(alpha, sigma)
    assert np.allclose(row.c_skip * x + row.c_out * target, X_0, atol=1e-9)


@pytest.mark.parametrize(("alpha", "sigma"), [(0.6, 0.8), (1.0, 20.0), (0.01, 0.99)])
def test_edm_input_and_target_have_unit_variance(alpha: float, sigma: float) -> None:
    prediction = Prediction("edm", sigma_data=0.3)
    row, (p, q) = prediction.preconditioning(alpha, sigma), prediction.target_coefficients(alpha, sigma)
    assert np.isclose(row.c_in**2 * ((alpha * 0.3) ** 2 + sigma**2), 1.0)
    assert np.isclose((p * 0.3) ** 2 + q**2, 1.0)


@pytest.mark.parametrize("name", sorted(set(PREDICTIONS) - {"edm"}))
def test_other_inputs_are_not_scaled(name: str) -> None:
    assert (Prediction(name).preconditioning(np.array([0.6, 0.1]), np.array([0.8, 0.9])).c_in == 1.0).all()


@pytest.mark.parametrize(("mine", "its"), list(itertools.permutations(PREDICTIONS, 2)))
def test_conversions_are_exact(mine: str, its: str) -> None:
    for alpha, sigma in ((0.6, 0.8), (1.0, 3.0), (0.25, 0.75)):
        m, n = Prediction(mine).conversion(Prediction(its), alpha, sigma)
        converted = m * (alpha * X_0 + sigma * EPS) + n * raw_by_definition(mine, alpha, sigma)
        assert np.allclose(converted, raw_by_definition(its, alpha, sigma), atol=1e-12)


@pytest.mark.parametrize("name", ["x0", "v", "flow", "edm"])
def test_pure_noise_has_finite_rows(name: str) -> None:
    row = Prediction(name).preconditioning(np.zeros(1), np.ones(1))
    assert np.isfinite([row.c_in, row.c_skip, row.c_out]).all() and row.c_noise == 1.0


def test_eps_refuses_pure_noise_and_says_what_to_use() -> None:
    with pytest.raises(ValueError, match="alpha > 0 .*Received: alpha = 0.*Use prediction 'v' or 'x0'"):
        Prediction("eps").preconditioning(schedule("flow").alpha, schedule("flow").sigma)


def test_config_round_trips() -> None:
    assert Prediction.from_config("eps") == Prediction("eps")
    assert Prediction.from_config(Prediction("edm", 0.25).config) == Prediction("edm", 0.25)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("noise",), ValueError, r"`prediction`: expected one of .*Received: 'noise'"),
        (("v", 0.0), ValueError, r"`sigma_data`: .*Received: 0.0"),
        (("v", "big"), TypeError, r"`sigma_data`: .*Received: 'big'"),
    ],
)
def test_bad_input_is_named(arguments, error, message: str) -> None:
    with pytest.raises(error, match=message):
        Prediction(*arguments)
