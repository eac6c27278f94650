"""From a function on TensorFlow to an ONNX graph, by tf2onnx."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import onnx

OPSET = 18
"""The newest that tf2onnx writes."""


def to_onnx(function: Callable[[Any], Any], signature: Any) -> onnx.ModelProto:
    """The graph of `function`, which is traced once.

    Args:
        function: of one argument, in `keras.ops` or TensorFlow.
        signature: a `tf.TensorSpec` with a name, or a dictionary of them: what the argument is.
    """
    import tensorflow as tf
    import tf2onnx

    traced = tf.function(function, input_signature=[signature], autograph=False)

    def converted(*, copies: bool) -> onnx.ModelProto:
        with _copies(copies):
            return tf2onnx.convert.from_function(traced, input_signature=[signature], opset=OPSET)[0]

    try:
        return converted(copies=False)
    except Exception:  # tf2onnx leaves a pass out that fails, where it has a copy from before it.
        return converted(copies=True)


def network_to_onnx(network: keras.Model, shapes: Mapping[str, Sequence[int | None]] | None = None) -> onnx.ModelProto:
    """The graph of a Keras model in inference, its inputs named as the model's.

    Args:
        network: the model.
        shapes: those of its inputs by name, with None for any size; by default the model's own.
    """
    import tensorflow as tf

    inputs = network.input if isinstance(network.input, dict) else {"": network.input}
    own = {key: tensor.shape for key, tensor in inputs.items()} | dict(shapes or {})
    specs = {key: tf.TensorSpec(own[key], tensor.dtype, name=tensor.name) for key, tensor in inputs.items()}
    return to_onnx(lambda given: network(given, training=False), specs.get("", specs))


@contextlib.contextmanager
def _copies(wanted: bool) -> Iterator[None]:
    """Whether tf2onnx copies the graph before every pass, which takes as long as the passes do.

    It does unless this variable is there, whatever its value.
    """
    from tf2onnx.constants import ENV_TF2ONNX_CATCH_ERRORS as NAME

    before = os.environ.pop(NAME, None)
    if not wanted:
        os.environ[NAME] = "FALSE"
    try:
        yield
    finally:
        os.environ.pop(NAME, None)
        if before is not None:
            os.environ[NAME] = before
