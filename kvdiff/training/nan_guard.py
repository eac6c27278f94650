"""Stops a training at the first update that is not finite, before it is applied."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras

from kvdiff.training.replicas import updates_done

_MARK = "the gradients of this update are not finite"


def finite_or_stop(gradients: list[Any], optimizer: Any) -> Any:
    """A context in which `gradients` are applied in a TensorFlow graph, or nothing is and an error is raised.

    With a loss scale a step that overflows is skipped and the scale is halved; that is as it should be until the scale
    falls below 1, where the gradients themselves are not finite. Looked at is the sum of their squares, one pass over
    each, so that gradients beyond 1e19 count as infinite; their second moments are.
    """
    import tensorflow as tf

    finite = tf.math.is_finite(tf.reduce_sum([tf.cast(tf.nn.l2_loss(gradient), "float32") for gradient in gradients]))
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) and optimizer.built:
        finite |= optimizer.dynamic_scale >= 1.0
    check = tf.debugging.Assert(finite, [_MARK])
    return tf.control_dependencies([] if check is None else [check])  # None: it ran at once.


@contextlib.contextmanager
def naming_the_step(model: keras.Model) -> Iterator[None]:
    """Turn the graph's error into a `FloatingPointError` that says which update it was."""
    try:
        yield
    except Exception as error:
        if _MARK not in str(error):
            raise
        raise _error(updates_done(model) + 1, "gradients", "Nothing was changed by it") from None


class FiniteLoss(keras.callbacks.Callback):
    """Stops a training whose loss is not finite, after the step: for XLA, which leaves assertions out of a graph."""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the loss."""
        if not math.isfinite(float((logs or {}).get("loss", 0.0))):
            raise _error(updates_done(self.model), "loss", "The weights are lost: go on from a checkpoint")


def _error(step: int, what: str, consequence: str) -> FloatingPointError:
    return FloatingPointError(
        f"training step {step}: expected finite {what}. Received: NaN or infinity. {consequence}. "
        "Look at the clips of that step, or lower the learning rate"
    )
