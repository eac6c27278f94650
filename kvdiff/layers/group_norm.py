"""Group normalisation of every frame, from per-channel sums."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class FrameGroupNorm(SavedLayer):
    """Group normalisation (Wu & He 2018, arXiv:1803.08494) over each frame's pixels and channel group.

    Frames are normalised apart, because in one clip they may carry different noise levels. The moments come from
    per-channel sums of x and x² in float32: one pass over the pixels, then a few numbers a frame.

    Args:
        groups: the number of channel groups; must divide the channels.
        epsilon: added to the variance.

    Input and output: [batch, frames, height, width, channels].
    """

    def __init__(self, groups: int = 8, *, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make gamma and beta [channels]."""
        self.channels = input_shape[-1]
        if self.channels % self.groups:
            raise ValueError(f"`groups`: expected a divisor of the {self.channels} channels. Received: {self.groups}")
        self.gamma = self.add_weight(shape=(self.channels,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(self.channels,), initializer="zeros", name="beta")

    def call(self, x: Any) -> Any:
        """Normalise; computed in float32 whatever the layer's precision, returned in the input's."""
        _, frames, height, width, _ = ops.shape(x)
        pixels = ops.cast(ops.reshape(x, (-1, height * width, self.channels)), "float32")
        mean, power = ops.mean(pixels, axis=1), ops.mean(ops.square(pixels), axis=1)
        mean, power = self._group_mean(mean), self._group_mean(power)
        scale = ops.rsqrt(ops.maximum(power - ops.square(mean), 0.0) + self.epsilon)
        scale = scale * ops.cast(self.gamma, "float32")
        shift = ops.cast(self.beta, "float32") - mean * scale
        normed = pixels * scale[:, None, :] + shift[:, None, :]
        return ops.cast(ops.reshape(normed, (-1, frames, height, width, self.channels)), x.dtype)

    def _group_mean(self, per_channel: Any) -> Any:
        """[n, channels] -> each channel's group mean, [n, channels]."""
        size = self.channels // self.groups
        grouped = ops.mean(ops.reshape(per_channel, (-1, self.groups, size)), axis=-1, keepdims=True)
        # Times ones in place of a tile, which LiteRT's XNNPACK does not take.
        return ops.reshape(grouped * np.ones((1, 1, size), np.float32), (-1, self.channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape
