"""Brings a small clip to the size of a large one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_count
from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class Enlarge(SavedLayer):
    """Repeats every pixel `scale` times in height and width, and blanks clips that are absent.

    Args:
        scale: how many times larger.

    Inputs: clip [batch, frames, height, width, channels] and whether it is present, float32 [batch]: 1, or 0 to blank.
    Output: [batch, frames, scale · height, scale · width, channels].
    """

    def __init__(self, scale: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = check_count("scale", scale)

    def call(self, clip: Any, present: Any) -> Any:
        """Repeat pixels."""
        _, frames, height, width, channels = ops.shape(clip)
        clip = clip * ops.cast(present, clip.dtype)[:, None, None, None, None]
        # Four dimensions inside, and a product with ones in place of a tile, for the sake of edge delegates.
        copies = np.ones((1, 1, self.scale, 1), np.float32)
        rows = ops.reshape(clip, (-1, height, 1, width * channels)) * ops.cast(copies, clip.dtype)
        rows = ops.reshape(rows, (-1, width, 1, channels)) * ops.cast(copies, clip.dtype)
        return ops.reshape(rows, (-1, frames, self.scale * height, self.scale * width, channels))

    def compute_output_shape(self, clip_shape: Any, present_shape: Any) -> tuple[int | None, ...]:
        """[batch, frames, scale · height, scale · width, channels]."""
        batch, frames, height, width, channels = clip_shape
        large = (size if size is None else self.scale * size for size in (height, width))
        return (batch, frames, *large, channels)
