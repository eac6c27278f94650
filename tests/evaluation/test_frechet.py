"""The Fréchet distance against closed forms, SciPy's matrix square root, and what its bias and interval promise."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.evaluation.frechet import estimate_frechet, frechet_distance


def exact_gaussian(rng: np.random.Generator, mean: np.ndarray, covariance: np.ndarray, count: int) -> np.ndarray:
    """Samples whose own mean and unbiased covariance are exactly those asked for."""
    draw = rng.normal(size=(count, len(mean)))
    white = np.linalg.qr(draw - draw.mean(axis=0))[0] * np.sqrt(count - 1.0)
    return mean + white @ np.linalg.cholesky(covariance).T


def test_one_dimension_has_a_closed_form(rng):
    a, b = (exact_gaussian(rng, np.array([m]), np.array([[s**2]]), 50) for m, s in ((1.0, 2.0), (-2.0, 5.0)))
    np.testing.assert_allclose(frechet_distance(a, b), 3.0**2 + 3.0**2, rtol=1e-12)


def test_commuting_covariances_have_a_closed_form(rng):
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    std_a, std_b = rng.uniform(0.5, 2.0, (2, 6))
    mean_a, mean_b = rng.normal(size=(2, 6))
    sets = [
        exact_gaussian(rng, mean, turn @ np.diag(std**2) @ turn.T, 80)
        for mean, std in ((mean_a, std_a), (mean_b, std_b))
    ]
    expected = np.square(mean_a - mean_b).sum() + np.square(std_a - std_b).sum()
    np.testing.assert_allclose(frechet_distance(*sets), expected, rtol=1e-10)


@pytest.mark.parametrize(("num_a", "num_b"), [(40, 30), (8, 5), (5, 40)])
def test_any_covariances_agree_with_a_matrix_square_root(rng, num_a, num_b):
    """Also where there are fewer clips than features, and covariances have no full rank."""
    linalg = pytest.importorskip("scipy.linalg")
    a, b = rng.normal(size=(num_a, 12)) @ rng.normal(size=(12, 12)), rng.normal(0.3, 2.0, (num_b, 12))
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    # The eigenvalues of C_a C_b are real and at least 0; their roots sum to the trace of the matrix root.
    roots = np.sqrt(np.maximum(linalg.eigvals(cov_a @ cov_b).real, 0.0)).sum()
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a) + np.trace(cov_b) - 2.0 * roots
    np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-6)


def test_a_set_is_at_no_distance_from_itself_and_order_does_not_matter(rng):
    a, b = rng.normal(size=(2, 20, 8))
    assert frechet_distance(a, a[::-1]) < 1e-9
    np.testing.assert_allclose(frechet_distance(a, b), frechet_distance(b, a), rtol=1e-10)


def test_the_bias_falls_with_one_over_the_number_of_clips_and_is_extrapolated_away(rng):
    """Two sets of one Gaussian: the true distance is 0."""
    mean_of = {}
    for count in (100, 400):
        estimates = [estimate_frechet(*rng.normal(size=(2, count, 6)), bootstrap=2) for _ in range(12)]
        mean_of[count] = np.mean([estimate.distance for estimate in estimates])
        assert abs(np.mean([estimate.extrapolated for estimate in estimates])) < 0.2 * mean_of[count]
        lines = np.mean([estimate.distances for estimate in estimates], axis=0)
        assert lines.tolist() == sorted(lines, reverse=True)
    assert 3.0 < mean_of[100] / mean_of[400] < 5.3
    np.testing.assert_allclose(estimates[0].fractions, [1 / 2, 1 / 1.75, 1 / 1.5, 1 / 1.25, 1.0])


def test_the_bootstrap_error_is_that_of_other_draws(rng):
    """Against the standard deviation of the figure over fresh sets."""
    draws = [frechet_distance(rng.normal(size=(60, 4)), rng.normal(1.0, 1.0, (60, 4))) for _ in range(200)]
    errors = [
        estimate_frechet(rng.normal(size=(60, 4)), rng.normal(1.0, 1.0, (60, 4)), bootstrap=60).standard_error
        for _ in range(6)
    ]
    np.testing.assert_allclose(np.mean(errors), np.std(draws), rtol=0.25)


def test_the_interval_is_around_the_distance_and_the_seed_decides_it(rng):
    a, b = rng.normal(size=(2, 30, 5))
    first, again, other = (estimate_frechet(a, b, bootstrap=10, seed=seed) for seed in (0, 0, 1))
    assert first == again and first.standard_error != other.standard_error and first.distance == other.distance
    np.testing.assert_allclose(first.high - first.distance, 1.959964 * first.standard_error, rtol=1e-6)
    assert first.num_clips == (30, 30) and first.distances[-1] == first.distance


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((9, 3)), np.zeros((9, 4)), "features of one size. Received: 3 and 4"),
        (np.zeros(9), np.zeros((9, 4)), r"`a`: expected features of \[2 clips or more, size\]"),
        (np.zeros((9, 4)), np.full((9, 4), np.nan), "`b`: expected finite features"),
        (np.zeros((9, 4)), np.zeros((1, 4)), "`b`: expected features"),
    ],
)
def test_what_has_no_distance_is_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)
