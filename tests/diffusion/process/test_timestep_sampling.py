from __future__ import annotations

import math

import numpy as np
import pytest

from kvdiff.diffusion.process.timestep_sampling import TimestepDistribution, by_loss, lognormal, uniform
from tests.diffusion.helpers import schedule


def test_draws_have_the_probabilities() -> None:
    of = TimestepDistribution([0.1, 0.6, 0.05, 0.25])
    u = ((np.arange(10000) + 0.5) / 10000).astype(np.float32)
    assert (np.bincount(of.draw(np, u)) == [1000, 6000, 500, 2500]).all()
    assert of.draw(np, u.reshape(100, 100)).shape == (100, 100)
    assert of.draw(np, np.array([2.0**-24, 1 - 2.0**-24], np.float32)).tolist() == [0, 3]


def test_uniform() -> None:
    u = (np.arange(999) + 0.5).astype(np.float32) / 999
    assert (uniform(999).draw(np, u) == np.arange(999)).all()
    assert np.allclose(uniform(7).importance_weights, 1.0)
    assert uniform(1).draw(np, u[:3]).tolist() == [0, 0, 0]


def test_importance_weights_keep_the_mean() -> None:
    of, losses = by_loss(np.array([4.0, 1.0, 0.0, 9.0]), 0.1), np.array([0.3, 1.7, 2.0, 0.5])
    assert np.isclose((of.probabilities * of.importance_weights * losses).sum(), losses.mean())


def test_lognormal_is_the_normal_of_log_sigma() -> None:
    """Cell masses from a fine schedule give the published mean and standard deviation of log sigma."""
    for name in ("karras", "logsnr"):
        of = schedule(name)
        p, log_s = lognormal(of, mean=-0.5, std=0.8).probabilities, -0.5 * of.logsnr
        mean = p @ log_s
        assert abs(mean + 0.5) < 1e-2 and abs(np.sqrt(p @ (log_s - mean) ** 2) - 0.8) < 1e-2
    assert np.allclose(lognormal(of).probabilities, lognormal(of, -1.2, 1.2).probabilities)  # EDM's own.
    of = schedule("logsnr", 5)
    log_s = -0.5 * of.logsnr
    edges = np.append(log_s - 1.875, log_s[-1] + 1.875)
    mass = np.diff([0.5 * math.erfc(-(edge - 1.0) / 3.0 / math.sqrt(2)) for edge in edges])
    assert np.allclose(lognormal(of, 1.0, 3.0).probabilities, mass / mass.sum(), rtol=1e-9)


def test_on_the_flow_path_it_is_logit_normal() -> None:
    """Up to the last level, pure noise, which is infinitely far in the logit."""
    of = schedule("flow", 2000)
    p, t = lognormal(of, 0.3, 1.1).probabilities, of.sigma
    logit = np.log(t[:-1] / (1 - t[:-1]))
    density = np.exp(-0.5 * ((logit - 0.3) / 1.1) ** 2) / (t[:-1] * (1 - t[:-1]))
    inner = slice(100, 1900)
    assert np.allclose(p[:-1][inner] / p[:-1][inner].sum(), density[inner] / density[inner].sum(), rtol=1e-2)
    assert p[-1] < 1e-3


def test_every_level_is_drawn_sometimes() -> None:
    for name in ("karras", "flow", "cosine"):
        of = schedule(name)
        p = lognormal(of, mean=-0.5 * of.logsnr[500], std=0.01).probabilities
        assert (p > 0).all() and p[-1] < 1e-8 and p[490:511].sum() > 0.9
    assert lognormal(schedule("cosine", 1)).probabilities.tolist() == [1.0]
    assert lognormal(schedule("flow", 2)).probabilities.shape == (2,)


def test_by_loss_is_proportional_to_the_root() -> None:
    assert np.allclose(by_loss(np.array([4.0, 1.0, 9.0]), 1e-12).probabilities, np.array([2, 1, 3]) / 6)
    assert np.allclose(by_loss(np.array([4.0, 0.0]), 0.1).probabilities, [0.95, 0.05])
    assert np.allclose(by_loss(np.array([4.0, 1.0]), 1.0).probabilities, 0.5)
    assert np.allclose(by_loss(np.zeros(4)).probabilities, 0.25)
    assert np.isclose(by_loss(np.array([4.0, 0.0])).probabilities[1], 0.0005)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TimestepDistribution([0.5, 0.4]), "`probabilities`: .*Received"),
        (lambda: TimestepDistribution([1.0, 0.0]), "`probabilities`: .*Received"),
        (lambda: TimestepDistribution([]), "`probabilities`: .*Received"),
        (lambda: TimestepDistribution([[1.0]]), "`probabilities`: .*Received"),
        (lambda: uniform(0), "`num_timesteps`: .*Received: 0"),
        (lambda: lognormal(schedule("cosine", 5), std=0.0), "`std`: .*Received: 0.0"),
        (lambda: lognormal(schedule("cosine", 5), mean=np.inf), "`mean`: .*Received: inf"),
        (lambda: lognormal(schedule("cosine", 50), mean=-30.0), "`mean`, `std`: .*Received: mean -30.0"),
        (lambda: by_loss(np.array([1.0, -1.0])), "`second_moments`: .*Received"),
        (lambda: by_loss(np.array([1.0, np.nan])), "`second_moments`: .*Received"),
        (lambda: by_loss(np.ones((2, 2))), "`second_moments`: .*Received"),
        (lambda: by_loss(np.ones(2), 0.0), "`uniform_share`: .*Received: 0"),
        (lambda: by_loss(np.ones(2), 1.1), "`uniform_share`: .*Received: 1.1"),
    ],
)
def test_bad_input_is_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
