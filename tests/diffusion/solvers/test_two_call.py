"""Heun, EDM and DPM-Solver-2 against the papers' algorithms, which keep the state of the step's start."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import NoiseLevels, Prediction, oracle
from kvdiff.diffusion.process.spacing import sampling_levels
from kvdiff.diffusion.solvers import dpm_2, edm, heun
from tests.diffusion.helpers import denoiser, final, irregular_levels, measured_orders, point, run_denoiser, schedule

V = Prediction("v")
NOISE = np.random.default_rng(4).normal(size=16)


def algorithm_2(s, y, scale, churn=0.0, low=0.0, high=np.inf, s_noise=1.0) -> float:
    """Karras et al. 2022, Algorithm 2, in y = x/alpha; `scale(s)` is alpha, for the denoiser sees x."""
    n, noise = len(s) - 1, iter(NOISE)
    for i in range(n):
        gamma = min(churn / n, np.sqrt(2) - 1) if low <= s[i] <= high else 0.0
        hat = s[i] * (1 + gamma)
        if i > 0:  # The table's start holds the first rise already.
            y = y + np.sqrt(hat**2 - s[i] ** 2) * s_noise * next(noise)
        d = (y - denoiser(scale(hat) * y, hat)) / hat
        start, y = y, y + (s[i + 1] - hat) * d
        if s[i + 1] > 0:
            d_next = (y - denoiser(scale(s[i + 1]) * y, s[i + 1])) / s[i + 1]
            y = start + (s[i + 1] - hat) * 0.5 * (d + d_next)
    return y


SCALES = {"cosine": lambda s: 1 / np.hypot(1, s), "flow": lambda s: 1 / (1 + s), "karras": lambda s: 1.0}


def with_noise(table) -> list[float]:
    """The noise of odd rows, in order; the others draw none."""
    noise = np.zeros(table.num_steps)
    noise[1::2] = NOISE[: len(noise) // 2]
    return list(noise)


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"churn": 1.1},
        {"churn": 40.0},
        {"churn": 1.1, "churn_min": 0.5, "churn_max": 5.0},
        {"churn": 2.0, "noise_scale": 1.007},
    ],
)
def test_edm_is_algorithm_2(name: str, options: dict) -> None:
    levels = irregular_levels(name)
    table = edm(levels, V, **options)
    keys = dict(churn="churn", churn_min="low", churn_max="high", noise_scale="s_noise")
    expected = algorithm_2(
        np.append(levels.sigma[:-1] / levels.alpha[:-1], 0.0),
        0.9 / table.alpha[0, 0],
        SCALES[name],
        **{keys[k]: v for k, v in options.items()},
    )
    assert np.isclose(run_denoiser(table, 0.9, with_noise(table))[-1], expected, rtol=0, atol=1e-11)
    assert table.num_steps == 2 * levels.num_steps - 1 and table.memory == 2


def test_heun_is_edm_without_churn() -> None:
    for column in ("a", "b", "std", "alpha", "sigma"):
        assert (getattr(heun(irregular_levels(), V), column) == getattr(edm(irregular_levels(), V), column)).all()


def test_churn_widens_the_start() -> None:
    levels = irregular_levels("karras")
    s = levels.sigma[0]
    assert np.isclose(heun(levels, V).init_std, s)
    raised = s * (1 + 1.2 / levels.num_steps)
    assert np.isclose(edm(levels, V, churn=1.2).init_std, raised)
    fine = sampling_levels(schedule("karras", 100), 12, "karras")
    assert (edm(fine, V, churn=1.2).std[1::2] > 0).all()  # By default at every level, 0.002 as well.
    wide = edm(levels, V, churn=1.2, noise_scale=1.1)
    assert np.isclose(wide.init_std, np.sqrt(s**2 + 1.1**2 * (raised**2 - s**2)))
    assert np.isclose(edm(irregular_levels(), V, churn=1.2).init_std, 1.0)
    # In x = alpha y on the variance-preserving path: all of the unit variance but the rise's share is as it was.
    table = edm(irregular_levels(), V, churn=1.2, noise_scale=1.1)
    share = table.sigma[0, 0] ** 2 * (1 - (1 + 1.2 / 6) ** -2)
    assert np.isclose(table.init_std**2, 1 + (1.1**2 - 1) * share)


@pytest.mark.parametrize("name", SCALES)
def test_dpm_2_is_its_algorithm(name: str) -> None:
    levels, scale = irregular_levels(name), SCALES[name]
    s = np.append(levels.sigma[:-1] / levels.alpha[:-1], 0.0)
    y = 0.9 / levels.alpha[0]
    for i in range(levels.num_steps):
        d = (y - denoiser(scale(s[i]) * y, s[i])) / s[i]
        if s[i + 1] == 0:
            y = y - s[i] * d
            break
        middle = np.exp(0.5 * (np.log(s[i]) + np.log(s[i + 1])))
        halfway = y + (middle - s[i]) * d
        y = y + (s[i + 1] - s[i]) * (halfway - denoiser(scale(middle) * halfway, middle)) / middle
    assert np.isclose(run_denoiser(dpm_2(levels, V), 0.9)[-1], y, rtol=0, atol=1e-11)


@pytest.mark.parametrize("solver", [heun, dpm_2])
def test_second_order(solver) -> None:
    assert np.abs(measured_orders(solver, (64, 128, 256)) - 2.0).max() < 0.15


def test_churn_keeps_a_known_clip_on_its_noise_levels() -> None:
    """Data at one point: every state's variance is that of its level, however often the noise is raised."""
    levels = sampling_levels(schedule("karras", 100), 12, "karras")
    for churn in (0.0, 3.0, 40.0):
        table = edm(levels, Prediction("edm"), churn=churn)
        states = oracle.push_through(table, oracle.exact_network(point(0.0), Prediction("edm")), (1, 1, 1, 1))
        assert np.allclose(
            [state.covariance.item() for state in states], table.sigma.ravel() ** 2, rtol=1e-9, atol=1e-12
        )
        assert np.isclose(final(table, point(0.4), Prediction("edm")).mean.item(), 0.4)


@pytest.mark.parametrize("solver", [heun, edm, dpm_2])
def test_pure_noise_and_leaps_are_refused_with_advice(solver) -> None:
    with pytest.raises(ValueError, match="alpha > 0 .*Received: alpha = 0.*Use solver 'ddim'"):
        solver(NoiseLevels([0.0, 0.5, 1.0], [1.0, 0.5, 0.0]), V)
    of = schedule("cosine")
    with pytest.raises(ValueError, match="(?s)fall at most 20-fold.*Received.*'karras' or 'uniform_logsnr'"):
        solver(sampling_levels(of, 10, "trailing"), V)
    assert solver(sampling_levels(of, 10, "karras"), V).num_steps == 19
    assert solver(sampling_levels(of, 1, "trailing"), V).num_steps == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(churn=-1.0), "`churn`: .*Received: -1.0"),
        (dict(noise_scale=0.0), "`noise_scale`: .*Received: 0.0"),
        (dict(churn_min=2.0, churn_max=1.0), "`churn_min`, `churn_max`: .*Received: 2.0 and 1.0"),
        (dict(churn_min=-1.0), "`churn_min`, `churn_max`: .*Received: -1.0 and inf"),
    ],
)
def test_bad_input_is_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        edm(irregular_levels(), V, **options)
