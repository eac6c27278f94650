"""Training batches whose order is a pure function of (seed, pass, batch): any step's batch can be had again."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.process.noise import ORDER, uniform


def pass_order(xp: Any, seed: int, number: Any, num_clips: int, batch_size: int) -> Any:
    """Which clips the batches of the `number`-th pass hold: int [num_clips // batch_size, batch_size], no clip twice.

    Clips sorted by one uniform number each, a function of (seed, pass, clip) alone. What does not fill a batch is left
    out, other clips in every pass. `xp` is `numpy` or `keras.ops`, which agree.
    """
    numbers = uniform(xp, seed, number, xp.arange(num_clips, dtype="int32"), 1, ORDER)[:, 0]
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
        steps_per_epoch: of `fit`; by default whole batches of a pass over the clips. Any number: the next epoch goes on
            where one stops, and every pass has an order of its own.
        seed: of the order.
    """

    def __init__(self, clips: Any, batch_size: int, *, steps_per_epoch: int | None = None, seed: int = 0) -> None:
        self.clips = keras.tree.map_structure(np.asarray, clips)
        shapes = [array.shape for array in keras.tree.flatten(self.clips)]
        lengths = {shape[0] if shape else 0 for shape in shapes}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"`clips`: expected arrays with one length, not 0. Received: shapes {shapes}")
        self.num_clips = check_count("number of clips", lengths.pop())
        self.batch_size = check_count("batch_size", batch_size, at_most=self.num_clips)
        self.seed = check_count("seed", seed, at_least=0, at_most=2**64 - 1)
        self._steps_per_pass = self.num_clips // self.batch_size
        self.steps_per_epoch = self._steps_per_pass if steps_per_epoch is None else steps_per_epoch
        check_count("steps_per_epoch", self.steps_per_epoch)

    @property
    def config(self) -> dict[str, Any]:
        """What decides every batch, JSON-able: a training that goes on must find it unchanged."""
        digest = hashlib.sha256()
        for array in keras.tree.flatten(self.clips):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        sizes = dict(num_clips=self.num_clips, batch_size=self.batch_size, steps_per_epoch=self.steps_per_epoch)
        return {**sizes, "seed": self.seed, "sha256": digest.hexdigest()}

    def dataset(self, start_step: int = 0) -> Any:
        """An endless `tf.data.Dataset` of batches, the first of which is that of training step `start_step`.

        Where Keras computes without TensorFlow, a generator of the same batches.
        """
        check_count("start_step", start_step, at_least=0)
        number, batch = divmod(start_step, self._steps_per_pass)
        if keras.backend.backend() != "tensorflow":
            return self._generated(number, batch)
        import tensorflow as tf

        def order(number: Any) -> Any:
            rows = pass_order(ops, self.seed, number, self.num_clips, self.batch_size)
            return tf.data.Dataset.from_tensor_slices(rows)

        with tf.device("CPU"):  # All clips in a GPU's memory would leave too little of it.
            clips = keras.tree.map_structure(tf.constant, self.clips)
        rows = tf.data.Dataset.range(number, tf.int64.max).flat_map(order).skip(batch)
        gathered = rows.map(lambda row: keras.tree.map_structure(lambda array: tf.gather(array, row), clips))
        return gathered.prefetch(2)

    def _generated(self, number: int, batch: int) -> Iterator[Any]:
        """The batches from one of a pass on."""
        for further in itertools.count(number):
            for row in pass_order(np, self.seed, further, self.num_clips, self.batch_size)[batch:]:
                yield keras.tree.map_structure(lambda array, row=row: array[row], self.clips)
            batch = 0
