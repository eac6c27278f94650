"""One call that holds a layer to what every layer owes its users."""

import keras
import numpy as np
from keras import ops


def check_layer(layer: keras.layers.Layer, *inputs: np.ndarray) -> np.ndarray:
    """Shape, config round trip with equal output, a gradient for every weight, bfloat16; returns the output."""
    output = ops.convert_to_numpy(layer(*inputs))
    assert tuple(layer.compute_output_shape(*(x.shape for x in inputs))) == output.shape

    twin = type(layer).from_config(layer.get_config())
    twin(*inputs)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(ops.convert_to_numpy(twin(*inputs)), output)
    assert keras.saving.get_registered_name(type(layer)).startswith("kvdiff>")

    _check_gradients(layer, inputs)
    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
    assert np.isfinite(ops.convert_to_numpy(ops.cast(half(*inputs), "float32"))).all()
    assert all(w.dtype == "float32" for w in half.weights)
    return output


def _check_gradients(layer: keras.layers.Layer, inputs: tuple[np.ndarray, ...]) -> None:
    import tensorflow as tf

    weights = layer.get_weights()
    rng = np.random.default_rng(5)  # Zero-initialised projections would hide the weights before them.
    layer.set_weights([rng.normal(0.0, 0.2, w.shape) for w in weights])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(*inputs)))
    gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        assert gradient is not None and np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.path
    layer.set_weights(weights)
