import numpy as np
import pytest
import tensorflow as tf

from kvdiff.layers.post_norm_block import PostNormBlock3D
from tests.layers.differentiation import assert_layer_as_plain
from tests.layers.harness import check_layer


def convolved(x, kernel, bias):
    """A (1, n, n) convolution, its kernel stored as [n · n · in, out]."""
    size = round((kernel.shape[0] / x.shape[-1]) ** 0.5)
    kernel = tf.reshape(kernel, (size, size, x.shape[-1], -1))
    frames = tf.nn.conv2d(tf.reshape(x, (-1, *x.shape[2:])), kernel, 1, "SAME") + bias
    return tf.reshape(frames, (*x.shape[:-1], -1))


def rms_normed(x):
    return x / tf.sqrt(tf.reduce_mean(x**2, -1, keepdims=True))


def silu(x):
    return x * tf.sigmoid(x)


def plain(x, *given, modulated, projected):
    """The block of `video-diffusion-pytorch`: convolution, norm, scale + 1 and shift, SiLU; twice; the input added."""
    embedding, given = (given[0], given[1:]) if modulated else (None, given)
    gain_in, gain_out, *weights = given
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    y = rms_normed(convolved(x, *pairs[0])) * gain_in
    if modulated:
        kernel, bias = pairs[2]
        scale, shift = tf.split((embedding @ kernel + bias)[:, :, None, None], 2, axis=-1)
        y = y * (scale + 1.0) + shift
    y = silu(rms_normed(convolved(silu(y), *pairs[1])) * gain_out)
    return y + (convolved(x, *pairs[-1]) if projected else x)


@pytest.mark.parametrize("filters", [6, 4])
@pytest.mark.parametrize("modulated", [True, False])
def test_values_and_gradients_are_the_formulas(rng, filters, modulated):
    x, embedding = rng.normal(size=(2, 3, 4, 4, 6)), rng.normal(size=(2, 3, 5))
    given = [array.astype(np.float32) for array in (x, embedding)[: 1 + modulated]]
    assert_layer_as_plain(
        PostNormBlock3D(filters), lambda *a: plain(*a, modulated=modulated, projected=filters != 6), *given
    )


@pytest.mark.parametrize("filters", [6, 4])
@pytest.mark.parametrize("modulated", [True, False])
def test_layer_contract(rng, filters, modulated):
    x, embedding = rng.normal(size=(2, 3, 4, 4, 6)), rng.normal(size=(2, 3, 5))
    given = [array.astype(np.float32) for array in (x, embedding)[: 1 + modulated]]
    assert check_layer(PostNormBlock3D(filters), *given).shape == (2, 3, 4, 4, filters)
