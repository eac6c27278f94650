"""Values and gradients of what a layer computes, beside those of a plain transcription of its formula in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def value_and_gradients(function: Callable[..., Any], arguments: Sequence[Any], upstream: np.ndarray) -> list[Any]:
    """[the value, then for each argument the gradient of sum(upstream · value)]."""
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        value = function(*arguments)
        loss = tf.reduce_sum(value * tf.cast(upstream, value.dtype))
    gradients = tape.gradient(loss, arguments, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [value.numpy(), *(gradient.numpy() for gradient in gradients)]


def assert_as_plain(
    ours: Callable[..., Any], plain: Callable[..., Any], arrays: Sequence[np.ndarray], share: float = 2e-5
) -> None:
    """`ours` in float32 and `plain` in float64 agree in value and every gradient, to a share of the largest number.

    Or of 0.1, where all numbers are smaller.
    """
    upstream = np.random.default_rng(1).normal(size=ours(*map(tf.constant, arrays)).shape)
    found = value_and_gradients(ours, [tf.constant(a, tf.float32) for a in arrays], upstream)
    expected = value_and_gradients(plain, [tf.constant(a, tf.float64) for a in arrays], upstream)
    for index, (f, e) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_allclose(
            f, e, rtol=0, atol=share * max(np.abs(e).max(), 0.1), err_msg=f"of argument {index - 1}"
        )


def assert_layer_as_plain(layer: Any, plain: Callable[..., Any], *inputs: np.ndarray) -> None:
    """The same for a layer: `plain` takes its inputs and then its weights, which are drawn anew."""
    rng = np.random.default_rng(2)
    layer(*inputs)
    weights = [rng.normal(float("gain" in w.name), 0.3, w.shape).astype(np.float32) for w in layer.weights]

    def ours(*arguments: Any) -> Any:
        return layer.stateless_call(list(arguments[len(inputs) :]), [], *arguments[: len(inputs)])[0]

    assert_as_plain(ours, plain, [*inputs, *weights])
