"""Spread, its calibration, flicker and best-of-N against exact values and failing models."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.evaluation.samples import best_of, calibration, ensemble, flicker, spread


def test_spread_of_known_clips():
    clips = np.array([1.0, 3.0])[:, None] * np.ones((1, 6))
    assert spread(clips) == pytest.approx(np.sqrt(2.0))  # The unbiased variance of 1 and 3.
    assert spread(np.ones((5, 2, 3))) == 0.0


def test_a_calibrated_model_has_ratio_one_and_a_collapsed_one_none(rng):
    """Each condition has a mean of its own; truth and samples are draws from one distribution around it."""
    conditions, count, size = 400, 4, 30
    mean = rng.normal(size=(conditions, 1, size))
    draw = mean + rng.normal(size=(conditions, count + 1, size))
    truth, samples = draw[:, 0], draw[:, 1:]
    assert calibration(*ensemble(samples, truth)) == pytest.approx(1.0, abs=0.02)
    collapsed = np.repeat(samples[:, :1], count, axis=1)
    assert calibration(*ensemble(collapsed, truth)) == 0.0
    timid = mean + 0.5 * (samples - mean)  # Half the spread: E error = 1 + 1/16, expected = (5/4) / 4.
    assert calibration(*ensemble(timid, truth)) == pytest.approx(np.sqrt((1.25 / 4) / (1 + 1 / 16)), abs=0.02)


def test_the_ensemble_by_hand():
    expected, error = ensemble(np.array([[[0.0], [2.0]]]), np.array([[4.0]]))
    np.testing.assert_allclose(expected, [1.5 * 2.0])
    np.testing.assert_allclose(error, [9.0])


def test_steady_motion_does_not_flicker_and_alternation_does():
    ramp = np.arange(5.0).reshape(1, 5, 1, 1, 1)
    assert flicker(ramp) == 0.0
    assert flicker(np.array([0.0, 1.0, 0.0, 1.0]).reshape(1, 4, 1, 1, 1)) == 2.0
    with pytest.raises(ValueError, match="at least 3 frames. Received: 2"):
        flicker(ramp[:, :2])


def test_the_best_sample_is_one_sample_not_a_collage():
    # Sample 0 is best in frame 0, sample 1 in frame 1; sample 1 is the better clip.
    scores = np.array([[[30.0, 10.0], [21.0, 20.0]]])
    np.testing.assert_array_equal(best_of(scores), [[21.0, 20.0]])


def test_more_samples_never_lower_the_best(rng):
    scores = rng.normal(size=(6, 10, 4))
    best = [best_of(scores[:, :count]).mean() for count in range(1, 11)]
    assert best == sorted(best) and best[0] < best[-1]


def test_one_sample_has_no_spread():
    with pytest.raises(ValueError, match="`samples`: expected at least 2. Received: 1"):
        spread(np.zeros((1, 4)))
