"""Which samples of the global batch this replica holds."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["sample_numbers"]


def sample_numbers(batch: Any) -> Any:
    """The numbers, in the global batch, of this replica's `batch` samples: int [batch].

    Under `tf.distribute` replica r of R holds samples r·batch … (r+1)·batch - 1, so noise keyed by sample number
    differs between replicas and does not depend on how many there are.
    """
    index = ops.arange(batch, dtype="int32")
    if keras.backend.backend() != "tensorflow":
        return index
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return index
    return index + ops.cast(replica.replica_id_in_sync_group, "int32") * ops.cast(batch, "int32")
