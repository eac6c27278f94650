"""Shows every frame the known frames nearest to it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["KnownContext"]


@keras.saving.register_keras_serializable(package="kvdiff")
class KnownContext(keras.layers.Layer):
    """Adds, as channels, the nearest known frame before and after each frame, and how near they are.

    A known frame is one whose noise label is 0, clean. Convolutions in time reach a known frame only over several
    layers; this gives its pixels to every frame at once, so that a small network need not learn to carry them. A known
    frame is its own neighbour on both sides; where a side has none, its channels are 0.

    Masks are computed with arithmetic on whole numbers in place of comparisons, which edge delegates do not take.

    Inputs: clip [batch, frames, height, width, channels] and noise labels [batch, frames].
    Output: [batch, frames, height, width, 3 · channels + 2]: the clip, the frame before, the frame after, and the two
    nearnesses 1 / (1 + distance in frames), 0 where there is none.
    """

    def call(self, clip: Any, noise_label: Any) -> Any:
        """Append the known neighbours."""
        _, frames, height, width, channels = ops.shape(clip)
        flat = ops.reshape(clip, (-1, frames, height * width * channels))
        parts = [clip]
        for choice in self._nearest(noise_label, frames):
            picked = ops.matmul(ops.cast(choice, flat.dtype), flat)
            parts.append(ops.reshape(picked, (-1, frames, height, width, channels)))
        index = ops.arange(frames)
        distance = ops.cast(ops.abs(index[:, None] - index[None, :]), "float32")
        for choice in self._nearest(noise_label, frames):
            nearness = ops.cast(ops.sum(choice / (1.0 + distance), axis=-1), clip.dtype)
            parts.append(nearness[:, :, None, None, None] * ops.ones_like(clip[..., :1]))
        return ops.concatenate(parts, axis=-1)

    @staticmethod
    def _nearest(noise_label: Any, frames: Any) -> tuple[Any, Any]:
        """One-hot rows [batch, frames, frames] that pick the known frame before and after; a row of 0 where none is."""
        noisy = ops.minimum(ops.ceil(ops.abs(ops.cast(noise_label, "float32"))), 1.0)  # 0 where the label is 0, else 1.
        known = ops.expand_dims(1.0 - noisy, 1)
        index = ops.cast(ops.arange(frames), "float32")
        here, there = index[:, None], index[None, :]
        rank_before = known * ops.cast(there <= here, "float32") * (1.0 + there)
        rank_after = known * ops.cast(there >= here, "float32") * (ops.cast(frames, "float32") - there)

        def first(rank: Any) -> Any:
            best = ops.max(rank, axis=-1, keepdims=True)
            is_best, is_any = 1.0 - ops.minimum(best - rank, 1.0), ops.minimum(rank, 1.0)  # Ranks are 0, 1, 2, …
            return is_best * is_any

        return first(rank_before), first(rank_after)

    def compute_output_shape(self, clip_shape: Any, noise_label_shape: Any) -> tuple[int | None, ...]:
        """[batch, frames, height, width, 3 · channels + 2]."""
        return (*clip_shape[:-1], 3 * clip_shape[-1] + 2)
