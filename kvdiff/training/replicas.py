"""A batch that is spread over replicas: which samples are whose, and sums over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


def _replica() -> Any:
    """The context of this replica, None where there is but one (or no TensorFlow)."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


def sample_numbers(batch: Any) -> Any:
    """The numbers, in the global batch, of this replica's `batch` samples: int32 [batch].

    Replica r's samples come after those of replicas 0 … r - 1, which may hold different numbers of them when the last
    batch of an epoch is short. So noise keyed by sample number differs between replicas and does not depend on how many
    there are.
    """
    index = ops.arange(batch, dtype="int32")
    context = _replica()
    if context is None:
        return index
    import tensorflow as tf

    replicas = tf.range(context.num_replicas_in_sync)
    mine = tf.cast(tf.equal(replicas, context.replica_id_in_sync_group), tf.float32) * tf.cast(batch, tf.float32)
    (counts,) = sum_over_replicas([mine])  # Floats: not every collective takes integers.
    before = tf.reduce_sum(tf.where(replicas < context.replica_id_in_sync_group, counts, 0.0))
    return index + tf.cast(before, tf.int32)


def sum_over_replicas(tensors: Sequence[Any]) -> list[Any]:
    """The sums of tensors that every replica has; the tensors themselves where there is but one."""
    context = _replica()
    if context is None:
        return list(tensors)
    import tensorflow as tf

    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(tensors)))


def updates_done(model: keras.Model) -> int:
    """How many updates the optimizer has done; `int` does not read a variable that every replica has."""
    return int(ops.convert_to_numpy(model.optimizer.iterations))
