"""Running mean and deviation of latents: they approach those of the data, and undo what they do."""

import numpy as np
from keras import ops

from kvdiff.layers.latent_moments import LatentMoments

MEAN, DEVIATION = np.array([2.0, -1.0], np.float32), np.array([0.5, 3.0], np.float32)


def latents(rng: np.random.Generator) -> np.ndarray:
    return (MEAN + DEVIATION * rng.standard_normal((4, 3, 8, 8, 2))).astype(np.float32)


def remembered(rng: np.random.Generator, parts: int, calls: int = 150) -> LatentMoments:
    layer = LatentMoments(2)
    for _ in range(calls * parts):
        layer.remember(latents(rng)[: 4 // parts], parts)
    return layer


def test_they_approach_those_of_the_data(rng):
    layer = remembered(rng, 1)
    mean, deviation = layer.constants()
    np.testing.assert_allclose(mean, MEAN, atol=0.2)
    np.testing.assert_allclose(deviation, DEVIATION, rtol=0.05)
    x = latents(rng)
    standardised = ops.convert_to_numpy(layer.standardised(x))
    np.testing.assert_allclose(standardised.mean(axis=(0, 1, 2, 3)), 0.0, atol=0.15)
    np.testing.assert_allclose(standardised.std(axis=(0, 1, 2, 3)), 1.0, rtol=0.1)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.restored(standardised)), x, atol=1e-4)
    np.testing.assert_allclose((x - mean) / deviation, standardised, atol=1e-5)


def test_parts_of_a_step_remember_as_one_step_does():
    for parts in (1, 2):
        layer = LatentMoments(1)
        for _ in range(10 * parts):
            layer.remember(np.ones((1, 1, 1, 1, 1), np.float32), parts)
        np.testing.assert_allclose(layer.constants()[0], 1.0 - 0.95**10, rtol=1e-5)


def test_a_replica_without_samples_changes_nothing(rng):
    layer = remembered(rng, 1, calls=1)
    before = layer.constants()
    layer.remember(np.zeros((0, 3, 8, 8, 2), np.float32))
    np.testing.assert_array_equal(layer.constants(), before)


def test_a_channel_that_is_not_used_is_not_blown_up():
    layer = LatentMoments(1)
    layer.mean.assign([5.0])
    layer.power.assign([25.0])
    assert layer.constants()[1] >= 1e-4
    assert np.isfinite(ops.convert_to_numpy(layer.standardised(np.zeros((1, 1, 1, 1, 1), np.float32)))).all()
