"""Training batches whose order is a pure function of (seed, epoch, batch): any step's batch can be had again."""

from __future__ import annotations

import hashlib
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.noise import ORDER, uniform

__all__ = ["ClipBatches", "epoch_order"]


def epoch_order(xp: Any, seed: int, epoch: Any, num_clips: int, batch_size: int) -> Any:
    """Which clips an epoch's batches hold: int [num_clips // batch_size, batch_size], no clip twice.

    Clips sorted by one uniform number each, a function of (seed, epoch, clip) alone. What does not fill a batch is left
    out, other clips in every epoch. `xp` is `numpy` or `keras.ops`, which agree.
    """
    numbers = uniform(xp, seed, epoch, xp.arange(num_clips, dtype="int32"), 1, ORDER)[:, 0]
    whole = num_clips // batch_size * batch_size
    order = ops.argsort(numbers) if xp is ops else np.argsort(numbers, kind="stable")
    return xp.reshape(order[:whole], (-1, batch_size))


class ClipBatches:
    """Batches of clips held in memory, for a `TrainingCheckpoint`.

    ```python
    batches = kvdiff.training.ClipBatches(clips, 16)
    model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=10)
    ```

    Data of another kind goes on exactly too, where it has `steps_per_epoch`, `config` and `dataset` as here.

    Args:
        clips: [clips, frames, height, width, channels], or a structure of arrays that share their first axis, such as
            (clips, labels).
        batch_size: clips a training step, at most as many as there are.
        seed: of the order.
    """

    def __init__(self, clips: Any, batch_size: int, *, seed: int = 0) -> None:
        self.clips = keras.tree.map_structure(np.asarray, clips)
        lengths = {len(array) for array in keras.tree.flatten(self.clips)}
        if len(lengths) != 1:
            raise ValueError(f"`clips`: expected arrays with one length. Received: lengths {sorted(lengths)}")
        self.num_clips = check_count("number of clips", lengths.pop())
        self.batch_size = check_count("batch_size", batch_size, at_most=self.num_clips)
        self.seed = check_count("seed", seed, at_least=0, at_most=2**64 - 1)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.num_clips // self.batch_size

    @property
    def config(self) -> dict[str, Any]:
        """What decides every batch, JSON-able: a training that goes on must find it unchanged."""
        digest = hashlib.sha256()
        for array in keras.tree.flatten(self.clips):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return dict(num_clips=self.num_clips, batch_size=self.batch_size, seed=self.seed, sha256=digest.hexdigest())

    def dataset(self, start_step: int = 0) -> Any:
        """An endless `tf.data.Dataset` of batches, the first of which is that of training step `start_step`."""
        import tensorflow as tf

        def order(epoch: Any) -> Any:
            rows = epoch_order(ops, self.seed, epoch, self.num_clips, self.batch_size)
            return tf.data.Dataset.from_tensor_slices(rows)

        with tf.device("CPU"):  # All clips in a GPU's memory would leave too little of it.
            clips = keras.tree.map_structure(tf.constant, self.clips)
        check_count("start_step", start_step, at_least=0)
        epoch, batch = divmod(start_step, self.steps_per_epoch)
        rows = tf.data.Dataset.range(epoch, tf.int64.max).flat_map(order).skip(batch)
        gathered = rows.map(lambda row: keras.tree.map_structure(lambda array: tf.gather(array, row), clips))
        return gathered.prefetch(2)
