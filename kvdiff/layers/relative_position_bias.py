"""A learned score for every distance between two frames, for attention over time."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class RelativePositionBias(SavedLayer):
    """A learned score for every distance in frames (Raffel et al. 2020, arXiv:1910.10683, section 2.1).

    Half of the buckets are for frames that follow, half for frames before; in each half the first half are for single
    distances, the others grow geometrically to `max_distance`.

    Args:
        heads: their number.
        num_buckets, max_distance: as above.

    Input: any clip [batch, frames, height, width, channels]. Output: float32 [heads, frames, frames].
    """

    def __init__(self, heads: int = 8, num_buckets: int = 32, max_distance: int = 32, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.heads, self.num_buckets, self.max_distance = heads, num_buckets, max_distance

    def build(self, input_shape: Any) -> None:
        """Make the table [buckets, heads]."""
        shape = (self.num_buckets, self.heads)
        self.table = self.add_weight(shape=shape, initializer="random_normal", name="table")

    def call(self, clip: Any) -> Any:
        """The scores of frame i (rows) for frame j (columns)."""
        frame = ops.cast(ops.arange(ops.shape(clip)[1]), "float32")
        ahead = frame[None, :] - frame[:, None]
        # Counts with arithmetic on whole numbers in place of comparisons, which edge delegates do not take.
        steps = ops.clip(ops.abs(ahead)[:, :, None] - self._bounds() + 1.0, 0.0, 1.0)
        bucket = ops.sum(steps, axis=-1) + (self.num_buckets // 2) * ops.clip(ahead, 0.0, 1.0)
        chosen = ops.maximum(1.0 - ops.abs(bucket[:, :, None] - np.arange(self.num_buckets, dtype=np.float32)), 0.0)
        return ops.transpose(ops.matmul(chosen, self.table), (2, 0, 1))

    def _bounds(self) -> np.ndarray:
        """The least distance of every bucket after the first: float32 [buckets / 2 - 1]."""
        half = self.num_buckets // 2
        exact = half // 2
        distances = np.arange(1, 2 * self.max_distance, dtype=np.float32)
        growth = np.log(distances / exact) / np.float32(math.log(self.max_distance / exact)) * np.float32(half - exact)
        buckets = np.where(distances < exact, distances, np.minimum(exact + np.trunc(growth), half - 1))
        return distances[np.searchsorted(buckets, np.arange(1, half))].astype(np.float32)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """[heads, frames, frames]."""
        return (self.heads, input_shape[1], input_shape[1])
