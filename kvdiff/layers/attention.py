"""Self-attention over time, over space, or over both."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.layers.group_norm import FrameGroupNorm
from kvdiff.layers.saved_layer import SavedLayer

AXES = ("time", "space", "space_time")
"""Along which pixels may see each other."""


def to_tokens(x: Any, shape: tuple[Any, ...], axes: str, heads: int) -> Any:
    """Features of `shape` [batch, frames, height, width, channels] -> [groups, heads, tokens, channels / heads]."""
    _, frames, height, width, channels = shape
    if axes == "time":
        x = ops.transpose(ops.reshape(x, (-1, frames, height * width, channels)), (0, 2, 1, 3))
        tokens = frames
    else:
        tokens = height * width * (frames if axes == "space_time" else 1)
    return ops.transpose(ops.reshape(x, (-1, tokens, heads, channels // heads)), (0, 2, 1, 3))


def from_tokens(x: Any, shape: tuple[Any, ...], axes: str) -> Any:
    """The inverse of `to_tokens`."""
    _, frames, height, width, channels = shape
    x = ops.transpose(x, (0, 2, 1, 3))
    if axes == "time":
        x = ops.transpose(ops.reshape(x, (-1, height * width, frames, channels)), (0, 2, 1, 3))
    return ops.reshape(x, (-1, frames, height, width, channels))


@keras.saving.register_keras_serializable(package="kvdiff")
class VideoAttention(SavedLayer):
    """Multi-head self-attention added to its input.

    `axes` says which positions see each other: "time", the same pixel in all frames; "space", all pixels of a frame;
    "space_time", every pixel of every frame, which is what lets a pixel find where a moving thing was (its cost grows
    with (frames · pixels)², so keep it to coarse levels). Positions enter as fixed sinusoids added to queries and keys,
    so any number of frames and any size can be used.

    Args:
        heads: number of heads; must divide the channels.
        axes: "time", "space" or "space_time".
        groups: of the group normalisation in front.
        remat: in training, compute the attention a second time for its gradient in place of keeping its weights.

    Input and output: [batch, frames, height, width, channels].
    """

    def __init__(
        self, heads: int = 4, *, axes: str = "space_time", groups: int = 8, remat: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if axes not in AXES:
            raise ValueError(f"`axes`: expected one of {AXES}. Received: {axes!r}")
        self.heads, self.axes, self.groups, self.remat = heads, axes, groups, remat
        self.norm = FrameGroupNorm(groups, dtype=self.dtype_policy, name="norm")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make separate query, key, value and output projections (slicing a packed one costs a slow gradient)."""
        self.channels = input_shape[-1]
        if self.channels % self.heads or self.channels % 6:
            raise ValueError(
                f"VideoAttention: expected channels divisible by heads ({self.heads}) and by 6 (sine and cosine of "
                f"three "
                f"axes). Received: {self.channels}"
            )

        def dense(name: str, initializer: str = "glorot_uniform") -> keras.layers.Dense:
            layer = keras.layers.Dense(
                self.channels, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
            )
            layer.build((None, self.channels))
            return layer

        self.norm.build(input_shape)
        self.query, self.key, self.value = dense("query"), dense("key"), dense("value")
        self.out = dense("out", "zeros")

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Attend along `axes`."""
        return keras.remat(self._attend)(x) if self.remat and training else self._attend(x)

    def _attend(self, x: Any) -> Any:
        shape = ops.shape(x)
        normed = self.norm(x)
        placed = normed + ops.cast(self._positions(*shape[1:4]), normed.dtype)
        projected = (self.query(placed), self.key(placed), self.value(normed))
        q, k, v = (to_tokens(t, shape, self.axes, self.heads) for t in projected)
        scores = ops.matmul(q * (1.0 / math.sqrt(self.channels // self.heads)), ops.transpose(k, (0, 1, 3, 2)))
        weights = ops.cast(ops.softmax(ops.cast(scores, "float32"), axis=-1), v.dtype)
        return x + self.out(from_tokens(ops.matmul(weights, v), shape, self.axes))

    def _positions(self, frames: Any, height: Any, width: Any) -> Any:
        """Sinusoids of frame, row and column: [frames, height, width, channels], float32."""
        wave = self.channels // 6
        frequencies = (np.pi / 2) * np.exp(np.linspace(0.0, -math.log(64.0), wave)).astype(np.float32)

        def waves(count: Any, axis: int) -> Any:
            angle = ops.reshape(ops.cast(ops.arange(count), "float32"), (-1, 1)) * frequencies
            both = ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1)
            shape = [1, 1, 1, 2 * wave]
            shape[axis] = -1
            return ops.reshape(both, shape)

        full = ops.ones((frames, height, width, 1), dtype="float32")
        return ops.concatenate([full * waves(frames, 0), full * waves(height, 1), full * waves(width, 2)], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape
