"""Precision, recall, density, coverage and memorisation on sets whose answers are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kvdiff.evaluation import neighbours
from kvdiff.evaluation.neighbours import manifold_score, memorisation, nearest


def test_the_same_set_covers_itself(rng):
    features = rng.normal(size=(40, 3))
    score = manifold_score(features, features, k=5)
    assert score.precision == score.recall == score.coverage == 1.0
    assert score.density >= 1.0


def test_sets_far_apart_have_nothing_in_common(rng):
    score = manifold_score(rng.normal(size=(30, 3)), rng.normal(50.0, 1.0, (30, 3)))
    assert dataclasses.astuple(score) == (0.0, 0.0, 0.0, 0.0)


def test_a_missing_mode_lowers_recall_and_coverage_but_not_precision(rng):
    """The data has two clusters, the model knows one: mode collapse."""
    real = np.concatenate([rng.normal(size=(50, 2)), rng.normal(30.0, 1.0, (50, 2))])
    score = manifold_score(real, rng.normal(size=(100, 2)), k=5)
    assert score.precision > 0.85
    assert score.recall <= 0.5 and score.coverage <= 0.5


def test_values_on_a_line_by_hand():
    """k = 1. Balls of the real clips -5, 0, 3 have radii 5, 3, 3; those of the made clips 0, 1, 10 have 1, 1, 9."""
    real, made = (np.array(x, float)[:, None] for x in ([-5, 0, 3], [0, 1, 10]))
    score = manifold_score(real, made, k=1)
    assert score.precision == pytest.approx(2 / 3)  # 10 lies in no real ball.
    assert score.recall == pytest.approx(2 / 3)  # -5 lies in no made ball.
    assert score.density == pytest.approx((3 + 2 + 0) / 3)
    assert score.coverage == 1.0


def test_nearest_goes_on_over_blocks(rng, monkeypatch):
    clips, among = rng.uniform(-1, 1, (5, 2, 4, 4, 1)), rng.uniform(-1, 1, (23, 2, 4, 4, 1))
    monkeypatch.setattr(neighbours, "_BLOCK", 8 * 32 * 7)  # Seven clips at a time.
    distance, index = nearest(clips, among)
    slow = np.sqrt(np.square(clips[:, None] - among[None]).mean(axis=(2, 3, 4, 5)))
    np.testing.assert_array_equal(index, slow.argmin(axis=1))
    np.testing.assert_allclose(distance, slow.min(axis=1), atol=1e-7)


def test_pixels_and_floats_are_as_far_apart():
    black, white = (np.full((1, 2, 4, 4, 1), value, np.uint8) for value in (0, 255))
    assert nearest(black, white)[0] == pytest.approx(2.0)
    assert nearest(black, np.full(black.shape, 1.0))[0] == pytest.approx(2.0)


def test_copies_are_found_and_new_clips_are_not(rng):
    shape = (2, 4, 4, 1)
    training, unseen, fresh = (rng.uniform(-1, 1, (count, *shape)) for count in (200, 100, 50))
    copied = training[[3, 77, 150]] + 1e-3
    found = memorisation(copied, training, unseen)
    np.testing.assert_array_equal(found.index, [3, 77, 150])
    assert found.ratio < 0.01 and found.share == 1.0
    honest = memorisation(fresh, training, unseen)
    assert 0.9 < honest.ratio < 1.1 and honest.share <= 0.1


def test_bad_arguments_are_refused(rng):
    with pytest.raises(ValueError, match="`k`: expected an integer from 1 to 4. Received: 5"):
        manifold_score(rng.normal(size=(9, 2)), rng.normal(size=(5, 2)))
    with pytest.raises(ValueError, match=r"`real`: expected features \[clips, size\]"):
        manifold_score(rng.normal(size=(9, 2, 2)), rng.normal(size=(9, 4)))
    with pytest.raises(ValueError, match=r"`among`: expected clips of \[4\]. Received: \[5\]"):
        nearest(np.zeros((2, 4)), np.zeros((2, 5)))
