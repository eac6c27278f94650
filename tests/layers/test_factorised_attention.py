"""Against the formulae as papers have them, in float64: values, and the gradients of inputs and weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvdiff.layers.factorised_attention import LinearSpaceAttention, SpaceAttention, TimeAttention
from kvdiff.layers.relative_position_bias import RelativePositionBias
from tests.layers.differentiation import assert_layer_as_plain
from tests.layers.harness import check_layer

HEADS, HEAD_SIZE = 2, 4
# Few and many channels for two heads' features; many and few pixels for the channels; one frame; one pixel.
SHAPES = [(2, 3, 4, 4, 6), (2, 3, 1, 2, 6), (1, 5, 4, 4, 12), (1, 5, 2, 2, 12), (2, 1, 2, 2, 6), (2, 3, 1, 1, 6)]
LAYERS = [LinearSpaceAttention, SpaceAttention, TimeAttention]


def features(rng, shape):
    return rng.normal(size=shape).astype(np.float32)


def normed(x, gain):
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    return gain * (x - mean) / tf.sqrt(variance + 1e-5)


def in_heads(x, weight):
    """[..., channels] -> [..., heads, features]."""
    return tf.reshape(x @ weight, (*x.shape[:-1], HEADS, HEAD_SIZE))


def joined(x, weight):
    """[..., heads, features] -> [..., channels]."""
    return tf.reshape(x, (*x.shape[:-2], HEADS * HEAD_SIZE)) @ weight


def of_frames(x):
    """[batch, frames, pixels, channels]."""
    return tf.reshape(x, (*x.shape[:2], -1, x.shape[-1]))


def attended(q, k, v, bias=0.0):
    """Softmax attention along the last axis but two."""
    scores = tf.einsum("...ihd,...jhd->...hij", q / HEAD_SIZE**0.5, k) + bias
    return tf.einsum("...hij,...jhd->...ihd", tf.nn.softmax(scores), v)


def turned(x):
    """Rotary positions of [..., frames, heads, features], neighbours in pairs."""
    pair = np.arange(HEAD_SIZE // 2)
    angle = np.arange(x.shape[-3])[:, None, None] * 10_000.0 ** (-2 * pair / HEAD_SIZE)
    even, odd = x[..., 0::2], x[..., 1::2]
    both = [even * np.cos(angle) - odd * np.sin(angle), even * np.sin(angle) + odd * np.cos(angle)]
    return tf.reshape(tf.stack(both, axis=-1), x.shape)


def plain_linear(x, gain, query, key, value, out, bias):
    pixels = of_frames(normed(x, gain))
    q, k, v = (in_heads(pixels, weight) for weight in (query, key, value))
    q, k = tf.nn.softmax(q, axis=-1) / HEAD_SIZE**0.5, tf.nn.softmax(k, axis=-3)
    context = tf.einsum("bfnhd,bfnhe->bfhde", k, v)
    return x + tf.reshape(joined(tf.einsum("bfnhd,bfhde->bfnhe", q, context), out) + bias, x.shape)


def plain_space(x, gain, *weights):
    *projections, out = weights
    pixels = of_frames(normed(x, gain))
    return x + tf.reshape(joined(attended(*(in_heads(pixels, weight) for weight in projections)), out), x.shape)


def plain_time(x, bias, gain, query, key, value, out):
    tokens = tf.transpose(of_frames(normed(x, gain)), (0, 2, 1, 3))
    q, k, v = (in_heads(tokens, weight) for weight in (query, key, value))
    found = joined(attended(turned(q), turned(k), v, bias), out)
    return x + tf.reshape(tf.transpose(found, (0, 2, 1, 3)), x.shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_linear_attention_is_the_formulas(rng, shape):
    assert_layer_as_plain(LinearSpaceAttention(HEADS, HEAD_SIZE), plain_linear, features(rng, shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_attention_over_pixels_is_the_formulas(rng, shape):
    assert_layer_as_plain(SpaceAttention(HEADS, HEAD_SIZE), plain_space, features(rng, shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_attention_over_frames_is_the_formulas(rng, shape):
    bias = features(rng, (HEADS, shape[1], shape[1]))
    assert_layer_as_plain(TimeAttention(HEADS, HEAD_SIZE), plain_time, features(rng, shape), bias)


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[3]])
@pytest.mark.parametrize("kind", LAYERS)
def test_layer_contract(rng, kind, shape):
    bias = [features(rng, (HEADS, shape[1], shape[1]))] if kind is TimeAttention else []
    check_layer(kind(HEADS, HEAD_SIZE), features(rng, shape), *bias)


@pytest.mark.parametrize("kind", LAYERS)
def test_unknown_sizes_change_nothing(rng, kind):
    """In a graph of any batch, length and size the cheaper order cannot be chosen by them."""
    given = [features(rng, SHAPES[3])] + ([features(rng, (HEADS, 5, 5))] if kind is TimeAttention else [])
    layer = kind(HEADS, HEAD_SIZE)
    expected = layer(*given)
    anything = [tf.TensorSpec((None, None, None, None, 12)), tf.TensorSpec((HEADS, None, None))][: len(given)]
    np.testing.assert_allclose(tf.function(layer, input_signature=anything)(*given), expected, atol=2e-6)


def t5_bucket(ahead, num_buckets, max_distance):
    """Raffel et al. 2020, section 2.1, in their own code's words: half of the buckets a direction, half of it exact."""
    half = num_buckets // 2
    exact, distance = half // 2, abs(ahead)
    if distance >= exact:
        grown = exact + int(np.log(distance / exact) / np.log(max_distance / exact) * (half - exact))
        distance = min(grown, half - 1)
    return distance + half * (ahead > 0)


@pytest.mark.parametrize(("num_buckets", "max_distance"), [(32, 32), (32, 128), (8, 20)])
def test_buckets_are_those_of_t5(num_buckets, max_distance):
    layer = RelativePositionBias(1, num_buckets, max_distance)
    layer.build((1, 64, 1, 1, 1))
    layer.table.assign(np.arange(num_buckets, dtype=np.float32)[:, None])
    expected = [[t5_bucket(j - i, num_buckets, max_distance) for j in range(64)] for i in range(64)]
    np.testing.assert_array_equal(layer(np.zeros((1, 64, 1, 1, 1), np.float32))[0], expected)


def test_relative_position_bias(rng):
    layer = RelativePositionBias(3, 8, 6)
    found = check_layer(layer, np.zeros((2, 5, 2, 2, 1), np.float32))
    np.testing.assert_array_equal(found[:, 1:, 1:], found[:, :-1, :-1])  # Distances alone count.
    assert (found[:, 0, 1] != found[:, 1, 0]).all()


def test_the_bias_stays_float32_under_mixed_precision():
    bias = RelativePositionBias(1, dtype="mixed_bfloat16")(np.zeros((1, 2, 1, 1, 1), np.float32))
    assert keras.backend.standardize_dtype(bias.dtype) == "float32"
