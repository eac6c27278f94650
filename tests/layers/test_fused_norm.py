import numpy as np
import pytest
import tensorflow as tf

from kvdiff.layers.fused_norm import centred_norm, modulated_norm
from tests.layers.differentiation import assert_as_plain


def plain_centred(x):
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-5)


def plain_modulated(x, gain, shift):
    inside = gain * x / tf.sqrt(tf.reduce_mean(x**2, -1, keepdims=True)) + shift
    return inside * tf.sigmoid(inside)


@pytest.fixture
def features(rng):
    return 3.0 * rng.normal(size=(2, 3, 4, 6)) + 1.0


def test_centred_norm_and_its_gradient(features):
    assert_as_plain(centred_norm, plain_centred, [features.astype(np.float32)])


def test_modulated_norm_and_its_gradients(features, rng):
    gain, shift = rng.normal(size=(2, 2, 1, 1, 6)).astype(np.float32)
    assert_as_plain(modulated_norm, plain_modulated, [features.astype(np.float32), gain, shift])


def test_a_large_mean_does_not_cancel(features):
    """The mean goes before the squares are taken: they would be 1e8, of which float32 keeps none of the variance."""
    found = centred_norm(tf.constant(features.astype(np.float32) + np.float32(1e4)))
    np.testing.assert_allclose(found, plain_centred(tf.constant(features)), atol=5e-3)


def test_a_black_pixel_is_its_shift():
    shift = np.linspace(-2, 2, 6, dtype=np.float32).reshape(1, 1, 1, 6)
    x = tf.zeros((1, 2, 2, 6))
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = modulated_norm(x, tf.ones_like(shift), tf.constant(shift))
    np.testing.assert_allclose(out, np.broadcast_to(shift / (1 + np.exp(-shift)), x.shape), atol=1e-6)
    assert np.isfinite(tape.gradient(out, x)).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_features_have_gradients_of_their_own_type(features, dtype):
    """Of float32 numbers inside: features of 1000 would overflow float16 when squared."""
    x = tf.constant(1000.0 * features, dtype)
    gain, shift = tf.ones((2, 1, 1, 6)), tf.zeros((2, 1, 1, 6))
    with tf.GradientTape() as tape:
        tape.watch([x, gain, shift])
        out = modulated_norm(centred_norm(x), gain, shift)
    gradients = tape.gradient(out, [x, gain, shift])
    assert [t.dtype for t in (out, *gradients)] == [x.dtype, x.dtype, tf.float32, tf.float32]
    exact = plain_modulated(plain_centred(tf.cast(x, tf.float64)), *(tf.cast(t, tf.float64) for t in (gain, shift)))
    np.testing.assert_allclose(tf.cast(out, tf.float64), exact, atol=0.03)
    assert all(np.isfinite(tf.cast(g, tf.float32)).all() for g in gradients)
