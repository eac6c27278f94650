from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, Prediction, oracle, step, step_table
from kvdiff.diffusion.process.predictions import PREDICTIONS
from tests.diffusion.helpers import SHAPE, SIZE, final, gaussian, point, schedule, two_modes, unit

RNG = np.random.default_rng(11)
KNOWN = np.array([True, False, True])


def test_affine_denoiser_is_the_conditional_mean_of_the_joint_gaussian() -> None:
    data, alpha, sigma = gaussian(), np.array([0.9, 0.3, 0.6]), np.array([0.2, 0.8, 0.5])
    a, s = np.repeat(alpha, 2), np.repeat(sigma, 2)
    # Joint covariance of (x_0, x_t), then the textbook conditional.
    cross = data.covariance @ np.diag(a)
    own = np.diag(a) @ data.covariance @ np.diag(a) + np.diag(s**2)
    x = RNG.normal(size=(4, *SHAPE))
    centred = x.reshape(4, -1) - a * data.mean.ravel()
    expected = data.mean.ravel() + centred @ np.linalg.solve(own, cross.T)
    assert np.allclose(data.denoise(x, alpha, sigma).reshape(4, -1), expected, atol=1e-12)


def test_denoiser_at_the_ends() -> None:
    data, x = gaussian(), RNG.normal(size=(2, *SHAPE))
    assert np.allclose(data.denoise(x, 1.0, 0.0), x)  # Nothing to remove.
    assert np.allclose(data.denoise(x, 0.0, 1.0), data.mean)  # Nothing to see.
    assert np.allclose(data.denoise(x, 1.0, 1e4), data.mean, atol=1e-6)


def test_known_frames_condition_exactly_even_with_a_singular_covariance() -> None:
    for data in (gaussian(), oracle.GaussianClips(np.zeros(SHAPE), np.ones((SIZE, SIZE)))):
        clip = data.mean + (0.2 if data.covariance[0, 1] == 1 else RNG.normal(size=SHAPE))
        given = data.conditional(KNOWN, clip)
        k, u = np.repeat(KNOWN, 2), ~np.repeat(KNOWN, 2)
        c_kk, c_uk = data.covariance[np.ix_(k, k)], data.covariance[np.ix_(u, k)]
        gain = c_uk @ np.linalg.pinv(c_kk)
        expected = data.mean.ravel()[u] + gain @ (clip - data.mean).ravel()[k]
        assert np.allclose(given.mean.ravel()[u], expected) and np.allclose(given.mean[KNOWN], clip[KNOWN])
        assert np.allclose(given.covariance[np.ix_(u, u)], data.covariance[np.ix_(u, u)] - gain @ c_uk.T, atol=1e-9)
        assert np.allclose(given.covariance[k], 0, atol=1e-9)


def test_log_density_is_the_gaussians() -> None:
    data, alpha, sigma = gaussian(), np.array([0.9, 0.3, 0.6]), np.array([0.2, 0.8, 0.5])
    a, s = np.repeat(alpha, 2), np.repeat(sigma, 2)
    covariance = a[:, None] * data.covariance * a + np.diag(s**2)
    x = RNG.normal(size=(5, *SHAPE))
    centred = x.reshape(5, -1) - a * data.mean.ravel()
    expected = -0.5 * np.einsum("bi,ij,bj->b", centred, np.linalg.inv(covariance), centred)
    expected -= 0.5 * np.linalg.slogdet(covariance)[1]
    assert np.allclose(data.log_density(x, alpha, sigma), expected)


def test_mixture_denoiser_equals_numerical_integration() -> None:
    data, alpha, sigma = two_modes(), 0.7, 0.4
    grid = np.linspace(-2, 2, 20001)
    density = (
        0.3 * np.exp(-0.5 * ((grid + 0.6) / 0.1) ** 2) / 0.1 + 0.7 * np.exp(-0.5 * ((grid - 0.5) / 0.2) ** 2) / 0.2
    )
    for x in (-0.9, 0.0, 0.1, 0.6):
        posterior = density * np.exp(-0.5 * ((x - alpha * grid) / sigma) ** 2)
        expected = (grid * posterior).sum() / posterior.sum()
        assert np.isclose(data.denoise(np.full((1, 1, 1, 1, 1), x), alpha, sigma).item(), expected, atol=1e-9)


def test_exact_network_is_the_conditional_mean_of_the_training_target() -> None:
    """Least squares on samples would find it; here the normal equations are solved with exact moments."""
    data, alpha, sigma = gaussian(), 0.8, 0.6
    for name in PREDICTIONS:
        prediction = Prediction(name)
        p, q = prediction.target_coefficients(alpha, sigma)
        c_in = prediction.preconditioning(alpha, sigma).c_in
        own = alpha**2 * data.covariance + sigma**2 * np.eye(SIZE)
        cross = p * alpha * data.covariance + q * sigma * np.eye(SIZE)  # Cov(F, x_t).
        weights, offset = oracle.exact_network(data, prediction)(c_in, alpha, sigma)
        assert np.allclose(weights * c_in, cross @ np.linalg.inv(own), atol=1e-10)
        assert np.allclose(offset, p * data.mean.ravel() - weights @ (c_in * alpha * data.mean.ravel()), atol=1e-10)


@pytest.mark.parametrize("solver", ["ddpm", "ddim"])
def test_push_through_agrees_with_many_samples(solver: str) -> None:
    """The one Monte Carlo check: the exact moments are those of `step` itself, known frames and all."""
    data, prediction = gaussian(), Prediction("v")
    table = step_table(schedule("cosine", 100), prediction, solver=solver, num_steps=4).with_known(KNOWN)
    clip = RNG.normal(size=SHAPE)
    states = oracle.push_through(table, oracle.exact_network(data, prediction), SHAPE, clip)
    n = 200_000
    x = np.where(KNOWN[:, None, None, None], clip, RNG.normal(size=(n, *SHAPE)))
    history = (np.zeros_like(x),)
    for i, row in enumerate(table.rows(np.float64)):
        weights, offset = oracle.exact_network(data, prediction)(table.c_in[i], table.alpha[i], table.sigma[i])
        out = ((row.c_in * x).reshape(n, -1) @ weights.T + offset).reshape(x.shape)
        x, history = step(row, x, out, history, RNG.normal(size=x.shape), lambda d: d)
        flat = x.reshape(n, -1)
        assert np.abs(flat.mean(axis=0) - states[i + 1].mean.ravel()).max() < 0.01
        assert np.abs(np.cov(flat.T) - states[i + 1].covariance).max() < 0.02
    assert len(states) == 5 and np.allclose(states[-1].mean[KNOWN], clip[KNOWN])


def test_push_through_starts_from_the_tables_noise() -> None:
    table = step_table(schedule("cosine", 100), Prediction("v"), num_steps=4, init_std=0.7)
    start = oracle.push_through(table, oracle.exact_network(gaussian(), Prediction("v")), SHAPE)[0]
    assert (start.mean == 0).all() and np.allclose(start.covariance, 0.49 * np.eye(SIZE))


@pytest.mark.parametrize("task", [[False] * 3, [True, False, False], [True, False, True], [False, True, False]])
def test_every_task_converges_to_its_exact_distribution(task: list[bool]) -> None:
    """Generation, prediction, interpolation, infilling: mean and covariance, with correlated frames."""
    known, data, prediction = np.array(task), gaussian(), Prediction("v")
    clip = gaussian(1).mean
    exact = data.conditional(known, clip) if known.any() else data
    errors = []
    for num_steps in (50, 200):
        table = step_table(
            schedule("logsnr", 1000), prediction, solver="ddim", num_steps=num_steps, spacing="uniform_logsnr"
        ).with_known(known)
        made = oracle.push_through(table, oracle.exact_network(data, prediction), SHAPE, clip)[-1]
        errors.append(max(np.abs(made.mean - exact.mean).max(), np.abs(made.covariance - exact.covariance).max()))
    assert (
        errors[1] < 0.02 and 3.5 < errors[0] / errors[1] < 4.5
    )  # First order: four times the steps, a quarter of the error.


def test_sampler_agrees_with_push_through() -> None:
    """`OracleSampler` sees noise labels alone; the mean of many clips is what the table says."""
    data = gaussian()
    for name, kind in (("cosine", "eps"), ("flow", "flow"), ("karras", "edm")):
        prediction = Prediction(kind)
        sampler = oracle.OracleSampler(data, ClipSpec(*SHAPE), schedule(name, 100), prediction)
        clips = sampler.generate(4000, num_steps=5, solver="ddpm", batch_size=4000)
        made = final(step_table(schedule(name, 100), prediction, solver="ddpm", num_steps=5), data, prediction)
        assert np.abs(clips.mean(axis=0) - made.mean).max() < 0.05
        assert np.abs(np.cov(clips.reshape(4000, -1).T) - made.covariance).max() < 0.06


def test_sampler_takes_another_task_in_every_clip() -> None:
    data = gaussian()
    sampler = oracle.OracleSampler(data, ClipSpec(*SHAPE), schedule("cosine", 50), Prediction("v"))
    clip = np.clip(np.float32(gaussian(2).mean), -1, 1)[None].repeat(3, axis=0)
    known = np.array([[False] * 3, [True, False, False], [False, True, True]])
    together = sampler.infill(clip, known, num_steps=10, solver="ddpm", seed=4)
    for i in range(3):
        alone = sampler.infill(clip[i : i + 1], known[i], num_steps=10, solver="ddpm", seed=4, first_sample=i)
        assert np.allclose(together[i], alone[0], atol=1e-12)


def test_mixture_weights_are_recovered_and_a_rare_mode_is_found() -> None:
    for weight, n in ((0.3, 4000), (0.01, 4000)):
        data = two_modes(weight)
        sampler = oracle.OracleSampler(data, ClipSpec(1, 1, 1, 1), schedule("cosine", 1000), Prediction("v"))
        clips = sampler.generate(n, num_steps=100, solver="ddpm", batch_size=n).ravel()
        found = (clips < -0.3).sum()
        expected = n * np.array([weight, 1 - weight])
        chi2 = ((np.array([found, n - found]) - expected) ** 2 / expected).sum()
        assert chi2 < 10.8  # 1 degree of freedom, p = 0.001.
        assert found > 0
        assert abs(clips[clips < -0.3].mean() + 0.6) < 0.05 and abs(clips[clips > -0.3].std() - 0.2) < 0.02


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: oracle.GaussianClips(np.zeros((2, 2)), np.eye(4)), "`mean`: expected shape .frames"),
        (
            lambda: oracle.GaussianClips(np.zeros(SHAPE), np.eye(4)),
            "`covariance`: expected shape .6, 6.*Received: .4, 4",
        ),
        (lambda: oracle.GaussianClips(np.zeros(SHAPE) + np.nan, np.eye(6)), "finite"),
        (lambda: oracle.GaussianClips(np.zeros(SHAPE), -np.eye(6)), "without negative eigenvalues"),
        (lambda: oracle.GaussianClips(np.zeros(SHAPE), np.triu(np.ones((6, 6)))), "symmetric"),
        (lambda: oracle.MixtureClips([0.5, 0.4], [unit(), unit()]), "`weights`: expected 2 probabilities.*Received"),
        (lambda: oracle.MixtureClips([1.5, -0.5], [unit(), unit()]), "`weights`: expected 2 probabilities.*Received"),
        (lambda: oracle.MixtureClips([1.0, 0.0], [unit(), unit()]), "`weights`: expected 2 probabilities.*Received"),
        (lambda: oracle.MixtureClips([1.0], [unit(), unit()]), "`weights`: expected 2 probabilities.*Received"),
        (lambda: oracle.MixtureClips([0.5, 0.5], [unit(), point(shape=(2, 1, 1, 1))]), "`components`.*one shape"),
        (lambda: oracle.push_through(None, None, (1, 2, 3)), "`clip_shape`: .*Received: .1, 2, 3"),
    ],
)
def test_bad_input_is_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_table_with_known_frames_needs_their_pixels() -> None:
    table = step_table(schedule("cosine", 10), Prediction("v"), num_steps=2).with_known(KNOWN)
    with pytest.raises(ValueError, match="`clip`: expected the known frames' pixels.*Received: None"):
        oracle.push_through(table, oracle.exact_network(gaussian(), Prediction("v")), SHAPE)
