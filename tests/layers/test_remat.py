"""Rematerialised layers: the same output, gradients and dropout for less memory."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from kvdiff.layers.attention import VideoAttention
from kvdiff.layers.factorised_attention import LinearSpaceAttention, SpaceAttention, TimeAttention
from kvdiff.layers.post_norm_block import PostNormBlock3D
from kvdiff.layers.residual_block import ResidualBlock3D
from kvdiff.layers.sample_dropout import dropout_keys
from kvdiff.layers.transformer_block import TransformerBlock3D
from kvdiff.models.unet3d import UNet3D

X = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 12)).astype("float32")
EMBEDDING = np.random.default_rng(1).normal(size=(2, 3, 6)).astype("float32")
POSITIONS = np.random.default_rng(4).uniform(-1, 1, size=(1, 48, 1, 6)).astype("float32")
BIAS = np.random.default_rng(3).normal(size=(2, 3, 3)).astype("float32")
LAYERS = {
    "block": (lambda remat: ResidualBlock3D(12, groups=4, dropout=0.5, remat=remat, name="block"), (X, EMBEDDING)),
    "attention": (lambda remat: VideoAttention(2, groups=4, remat=remat, name="attention"), (X,)),
    "post-norm block": (lambda remat: PostNormBlock3D(12, remat=remat, name="block"), (X, EMBEDDING)),
    "transformer block": (
        lambda remat: TransformerBlock3D(2, dropout=0.5, remat=remat, name="block"),
        (X, EMBEDDING, POSITIONS),
    ),
    "linear attention": (lambda remat: LinearSpaceAttention(2, 4, remat=remat, name="attention"), (X,)),
    "space attention": (lambda remat: SpaceAttention(2, 4, remat=remat, name="attention"), (X,)),
    "time attention": (lambda remat: TimeAttention(2, 4, remat=remat, name="attention"), (X, BIAS)),
}


def gradients(layer, inputs):
    @tf.function
    def compute():
        with dropout_keys(0, 1, ops.arange(2)):
            with tf.GradientTape() as tape:
                output = layer(*inputs, training=True)
                loss = tf.reduce_sum(tf.square(output))
            return output, tape.gradient(loss, layer.trainable_weights)

    return compute()


@pytest.fixture(params=["float32", "mixed_bfloat16"])
def tolerance(request):
    """In a precision, for which it is: what is computed a second time is computed outside of Keras' scopes."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield 1e-5 if request.param == "float32" else 0.03
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradients_are_those_without(name, tolerance, monkeypatch):
    make, inputs = LAYERS[name]
    plain, remat = make(False), make(True)
    for layer in (plain, remat):
        layer(*inputs)
    rng = np.random.default_rng(2)  # Zero-initialised projections would hide the weights before them.
    plain.set_weights([rng.normal(0.0, 0.3, w.shape) for w in plain.get_weights()])
    remat.set_weights(plain.get_weights())
    used = []
    whole = keras.remat
    monkeypatch.setattr(keras, "remat", lambda f: used.append(f) or whole(f))
    (output, slopes), (again, others) = gradients(plain, inputs), gradients(remat, inputs)
    assert len(used) == 1
    assert again.dtype == output.dtype
    again, output = (np.asarray(tensor, np.float32) for tensor in (again, output))
    np.testing.assert_allclose(again, output, rtol=tolerance, atol=0.1 * tolerance * np.abs(output).max())
    for a, b in zip(slopes, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(a).max())


def test_a_network_keeps_the_choice_in_its_configuration():
    network = UNet3D(1, widths=(12,), blocks=1, groups=4, heads=2, attention=("time",), remat=True)
    twin = keras.Model.from_config(network.get_config())
    chosen = [layer.remat for layer in twin.layers if hasattr(layer, "remat")]
    assert chosen == [True] * 4
