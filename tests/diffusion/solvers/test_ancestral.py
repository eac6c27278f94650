"""Exact push-through of ddpm and ddim: the textbook's update, written here a second time, for every prediction type."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import NoiseLevels, Prediction, oracle, step_table
from kvdiff.diffusion.solvers import ddim, ddpm, euler, euler_ancestral
from tests.diffusion.helpers import SHAPE, final, gaussian, measured_orders, point, predictions_for, schedule, unit

SCHEDULES = ("linear", "cosine", "flow", "karras")


def textbook_ddpm(mean, variance, data_mean, data_variance, betas, large: bool):
    """Ho et al. 2020, Algorithm 2, on N(data_mean, data_variance) with the exact eps; mean and variance of x_0."""
    alphas_cumprod = np.cumprod(1 - betas)
    for t in reversed(range(len(betas))):
        bar, before = alphas_cumprod[t], alphas_cumprod[t - 1] if t > 0 else 1.0
        # E[eps | x] = slope x + offset.
        total = bar * data_variance + 1 - bar
        slope = np.sqrt(1 - bar) / total
        offset = -slope * np.sqrt(bar) * data_mean
        factor = (1 - betas[t] / np.sqrt(1 - bar) * slope) / np.sqrt(1 - betas[t])
        shift = -betas[t] / np.sqrt(1 - bar) * offset / np.sqrt(1 - betas[t])
        noise = 0.0 if t == 0 else betas[t] if large else betas[t] * (1 - before) / (1 - bar)
        mean, variance = factor * mean + shift, factor**2 * variance + noise
    return mean, variance


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "flow", "edm"])
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm_is_algorithm_2(name: str, prediction: str, variance: str) -> None:
    of, data = schedule(name, 100), oracle.GaussianClips(np.full((1, 1, 1, 1), 0.3), np.full((1, 1), 0.2))
    table = step_table(of, Prediction(prediction), solver="ddpm", num_steps=100, variance=variance)
    made = final(table, data, Prediction(prediction))
    mean, var = textbook_ddpm(0.0, 1.0, 0.3, 0.2, of.betas, variance == "large")
    assert abs(made.mean.item() - mean) < 1e-10 and abs(made.covariance.item() - var) < 1e-10


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ddim_is_equation_12(name: str, eta: float) -> None:
    """Song et al. 2021, eq. 12 and 16, in any path's alpha and sigma, pushed through for every prediction type."""
    of, data = schedule(name, 50), gaussian()
    levels = of.levels(np.array([49, 30, 12, 3]))
    eye = np.eye(6)
    for kind in predictions_for(of):
        table = ddim(levels, Prediction(kind), eta=eta)
        mean, cov = np.zeros(6), table.init_std**2 * eye
        for i in range(4):
            (a_t, a_s), (s_t, s_s) = levels.alpha[i : i + 2], levels.sigma[i : i + 2]
            std = eta * s_s / s_t * np.sqrt(s_t**2 - (a_t / a_s * s_s) ** 2)
            matrix, offset = data.affine(a_t, s_t)
            eps, eps_offset = (eye - a_t * matrix) / s_t, -a_t * offset / s_t
            direction = np.sqrt(s_s**2 - std**2)
            move, shift = a_s * matrix + direction * eps, a_s * offset + direction * eps_offset
            mean, cov = move @ mean + shift, move @ cov @ move.T + std**2 * eye
        made = final(table, data, Prediction(kind))
        scale = max(1.0, np.abs(cov).max())
        assert np.abs(made.mean.ravel() - mean).max() < 1e-9 * scale
        assert np.abs(made.covariance - cov).max() < 1e-9 * scale


@pytest.mark.parametrize("name", SCHEDULES)
def test_all_predictions_make_the_same_clips(name: str) -> None:
    of, data = schedule(name), gaussian()
    for solver in ("ddpm", "ddim"):
        made = [
            final(step_table(of, Prediction(kind), solver=solver, num_steps=20), data, Prediction(kind))
            for kind in predictions_for(of)
        ]
        for other in made[1:]:
            assert np.allclose(other.mean, made[0].mean, atol=1e-8)
            assert np.allclose(other.covariance, made[0].covariance, atol=1e-8)


@pytest.mark.parametrize("spacing", ["trailing", "leading", "linspace"])
def test_large_variance_is_exact_for_unit_data(spacing: str) -> None:
    """On N(0, 1) data every state is N(0, 1), until the last row draws no noise: then alpha² is left."""
    for name in ("linear", "cosine"):
        of = schedule(name)
        for num_steps in (1000, 30, 2, 1):
            table = step_table(
                of, Prediction("eps"), solver="ddpm", num_steps=num_steps, variance="large", spacing=spacing
            )
            states = oracle.push_through(table, oracle.exact_network(unit(), Prediction("eps")), (1, 1, 1, 1))
            assert all(abs(state.covariance.item() - 1.0) < 1e-10 for state in states[:-1])
            assert np.isclose(states[-1].covariance.item(), table.alpha[-2].item() ** 2, atol=1e-10)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("solver", "options"), [("ddpm", {}), ("ddim", {}), ("ddim", {"eta": 0.5})])
def test_small_variance_is_exact_for_a_known_clip(name: str, solver: str, options: dict) -> None:
    """Data at one point: from q(x_T | x_0), every state is q(x_t | x_0), in mean and variance."""
    of, prediction = schedule(name), Prediction("x0")
    table = step_table(of, prediction, solver=solver, num_steps=25, init_std=float(of.sigma[-1]), **options)
    states = oracle.push_through(table, oracle.exact_network(point(0.0), prediction), (1, 1, 1, 1))
    for state, sigma in zip(states, table.sigma.ravel(), strict=True):
        assert abs(state.covariance.item() - sigma**2) < 1e-10 * max(1.0, sigma**2)
    assert final(table, point(0.4), prediction).mean.item() == 0.4


def test_eta_one_is_ddpm() -> None:
    for name in SCHEDULES:
        levels = schedule(name).levels(np.array([999, 700, 444, 17, 3]))
        a, b = ddim(levels, Prediction("v"), eta=1.0), ddpm(levels, Prediction("v"))
        for column in ("a", "b", "std"):
            assert np.allclose(getattr(a, column), getattr(b, column), rtol=1e-10, atol=1e-12)


def test_euler_is_ddim_by_another_name() -> None:
    """Karras et al. 2022, Algorithm 1 without its correction, and flow matching's x + (t' - t) velocity."""
    levels = schedule("karras", 10).levels(np.arange(10)[::-1])
    table, sigma = euler(levels, Prediction("x0")), levels.sigma
    assert np.allclose(table.a.ravel(), 1 + np.diff(sigma) / sigma[:-1], atol=1e-15)
    assert np.allclose(table.b.ravel(), -np.diff(sigma) / sigma[:-1])
    ancestral = euler_ancestral(levels, Prediction("x0"))
    up = np.sqrt(sigma[1:] ** 2 * (sigma[:-1] ** 2 - sigma[1:] ** 2) / sigma[:-1] ** 2)
    down = np.sqrt(sigma[1:] ** 2 - up**2)
    assert np.allclose(ancestral.std.ravel(), up) and np.allclose(ancestral.a.ravel(), down / sigma[:-1])

    levels = schedule("flow", 10).levels(np.arange(10)[::-1])
    table, t = euler(levels, Prediction("flow")), levels.sigma
    x, velocity = 0.7, -1.3
    for i in range(10):
        predicted = table.c_skip[i] * x + table.c_out[i] * velocity
        assert np.isclose(table.a[i] * x + table.b[i, 0] * predicted, x + (t[i + 1] - t[i]) * velocity)


def test_ddim_is_first_order() -> None:
    assert np.abs(measured_orders(ddim, (64, 128, 256)) - 1.0).max() < 0.15


def test_all_the_data_is_recovered_with_all_the_steps() -> None:
    data = gaussian()
    for solver, bound in (("ddim", 0.006), ("ddpm", 0.006)):
        made = final(
            step_table(schedule("cosine"), Prediction("v"), solver=solver, num_steps=1000), data, Prediction("v")
        )
        assert np.abs(made.mean - data.mean).max() < 1e-4
        assert np.abs(made.covariance - data.covariance).max() < bound
    assert made.mean.shape == SHAPE


def test_learned_variance_needs_no_noise_from_a_single_step() -> None:
    levels = NoiseLevels([0.1, 1.0], [0.99, 0.0])
    table = ddpm(levels, Prediction("v"), variance="learned")
    assert table.std.item() == 0.0 and np.isfinite(table.log_var_min).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda levels: ddim(levels, Prediction("v"), eta=1.01), ValueError, r"`eta`: .*\[0.0, 1.0\]. Received: 1.01"),
        (lambda levels: ddim(levels, Prediction("v"), eta="1"), TypeError, "`eta`: .*Received: '1'"),
        (
            lambda levels: ddpm(levels, Prediction("v"), variance="medium"),
            ValueError,
            "`variance`: .*Received: 'medium'",
        ),
    ],
)
def test_bad_input_is_named(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make(schedule("cosine", 5).levels(np.array([4, 0])))
