"""The parts of the benchmark that decide what its rows mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.benchmarks.quality_per_hour.digits import clips, scaled
from tests.benchmarks.quality_per_hour.measures import ENDS, PAST, Way, interval, measure
from tests.benchmarks.quality_per_hour.variants import VARIANTS


class Copyist:
    """Repeats the last known frame."""

    def rollout(self, num_frames: int, past: np.ndarray, **_: Any) -> np.ndarray:
        return np.concatenate([past, np.repeat(past[:, -1:], num_frames - past.shape[1], axis=1)], axis=1)

    def interpolate(self, before: np.ndarray, after: np.ndarray, **_: Any) -> np.ndarray:
        return np.repeat(before[:, -1:], 4, axis=1)


class AlwaysThree:
    """Sees a three everywhere."""

    def predict(self, frames: np.ndarray, **_: Any) -> np.ndarray:
        return np.tile(np.eye(10)[3], (len(frames), 1))


def test_repeating_the_last_frame_gains_nothing_and_keeps_the_digit():
    found = measure(Copyist(), AlwaysThree(), Way("predict", 2, window=5, at_a_time=1), num_clips=64)
    digits = clips(64, "validation", num_frames=8, seed=1000)[1]
    assert found["gain_db"] == [0.0, 0.0, 0.0]
    assert found["identity"] == found["true_identity"]
    assert found["identity"][0] == round(float((digits == 3).mean()), 3)


def test_the_cost_of_a_way_counts_frames_that_go_through_the_network():
    assert Way("predict", 2, window=5, at_a_time=1).frame_calls == 2 * 4 * 5
    assert Way("predict", 20).frame_calls == 20 * 8
    assert Way("interpolate", 3).frame_calls == 3 * 8
    assert Way("predict", 1, window=8, at_a_time=1).frame_calls == 5 + 6 + 7 + 8


def test_known_frames_are_those_that_the_sampler_gets():
    assert Way("predict", 1).known.sum() == PAST
    assert Way("interpolate", 1).known.sum() == 2 * ENDS


def test_an_interval_holds_the_mean():
    mean, low, high = interval(np.random.default_rng(0).normal(2.0, 1.0, 400))
    assert low < mean < high and high - low == pytest.approx(2 * 1.96 / 20, rel=0.2)


def test_pixels_are_scaled_as_the_model_scales_them():
    np.testing.assert_allclose(scaled(np.array([0, 255], np.uint8)), [-1.0, 1.0])


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_can_be_built(name):
    model = VARIANTS[name].build(100)
    assert model.spec.clip.num_frames == 8 and model.optimizer is not None
