"""Self-attention whose queries and keys are turned by where they are in time, row and column."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_choice, check_count
from kvdiff.layers.attention import AXES, from_tokens, to_tokens
from kvdiff.layers.saved_layer import SavedLayer

_SLOWEST = 100.0
"""How many times slower the slowest wave of an axis turns than the fastest, one radian a position."""


@keras.saving.register_keras_serializable(package="kvdiff")
class RotaryPositions(SavedLayer):
    """Cosines and sines of where each pixel is, for `RotaryAttention`.

    A head's features are turned in pairs: a third of the pairs by the row, a third by the column, the rest by the time
    (Su et al. 2021, arXiv:2104.09864, on three axes). Frequencies fall from 1 to 1/100, as suits short axes (Heo et al.
    2024, arXiv:2403.13298, section 3.2).

    Args:
        head_size: features of a head, even and at least 6.

    Inputs: any features [batch, frames, height, width, channels] and optionally times [batch, frames], where frames are
    not neighbours.
    Output: float32 [1, or batch with times, frames · height · width, 1, head_size]: cosines, then sines.
    """

    def __init__(self, head_size: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.head_size = check_count("head_size", head_size, at_least=6)
        if head_size % 2:
            raise ValueError(f"`head_size`: expected an even number. Received: {head_size}")

    def call(self, x: Any, times: Any = None) -> Any:
        """The positions of x."""
        _, frames, height, width, _ = ops.shape(x)
        pairs = self.head_size // 2
        across = pairs // 3

        def angles(position: Any, waves: int) -> Any:
            frequencies = np.exp(-np.linspace(0.0, math.log(_SLOWEST), waves)).astype(np.float32)
            return ops.expand_dims(ops.cast(position, "float32"), -1) * frequencies

        # Products with ones in place of a broadcast, for the sake of edge delegates; never more than four axes.
        rows = angles(ops.arange(height), across)[:, None, :] * ops.ones((1, width, 1))
        columns = angles(ops.arange(width), across)[None, :, :] * ops.ones((height, 1, 1))
        place = ops.reshape(ops.concatenate([rows, columns], axis=-1), (1, 1, height * width, 2 * across))
        # Only differences count: large times would lose their fractions.
        time = ops.arange(frames, dtype="float32")[None, :] if times is None else times - times[:, :1]
        time = angles(time, pairs - 2 * across)[:, :, None, :]
        place, time = place * ops.ones_like(time[..., :1]), time * ops.ones_like(place[..., :1])
        angle = ops.reshape(ops.concatenate([time, place], axis=-1), (-1, frames * height * width, 1, pairs))
        return ops.concatenate([ops.cos(angle), ops.sin(angle)], axis=-1)

    def compute_output_shape(self, x_shape: Any, times_shape: Any = None) -> tuple[int | None, ...]:
        """[1 or batch, frames · height · width, 1, head_size]."""
        tokens = None if None in x_shape[1:4] else math.prod(x_shape[1:4])
        return (1 if times_shape is None else times_shape[0], tokens, 1, self.head_size)


@keras.saving.register_keras_serializable(package="kvdiff")
class RotaryAttention(SavedLayer):
    """Multi-head self-attention that knows how far apart two pixels are, by rotary positions.

    Queries and keys are normalised by their root mean square over a head's features, with a learned gain, which keeps
    scores small (Dehghani et al. 2023, arXiv:2302.05442, section 2); then each pair of their features is turned by its
    position, so that a score depends on differences of positions alone. Any number of frames and any size can be used.

    Args:
        heads: number of heads; must divide the channels.
        axes: which pixels see each other: "time", "space" or "space_time", as in `VideoAttention`.

    Inputs: features [batch, frames, height, width, channels], and the positions of `RotaryPositions` for heads of
    channels / heads features. Output: as the features; nothing is added to them here.
    """

    def __init__(self, heads: int = 4, *, axes: str = "space_time", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.axes = check_count("heads", heads), check_choice("axes", axes, AXES)

    def build(self, x_shape: Any, positions_shape: Any) -> None:
        """Make separate projections of queries, keys, values and output, and the gains [channels / heads]."""
        channels = x_shape[-1]
        if channels % self.heads or positions_shape[-1] != channels // self.heads:
            raise ValueError(
                f"RotaryAttention: expected {self.heads} heads of {positions_shape[-1]} features, which the positions "
                f"are for. Received: {channels} channels"
            )
        self.head_size = channels // self.heads
        for name in ("query", "key", "value", "out"):
            layer = keras.layers.Dense(channels, use_bias=name == "out", dtype=self.dtype_policy, name=name)
            layer.build((None, channels))
            setattr(self, name, layer)
        self.query_gain, self.key_gain = (
            self.add_weight(shape=(self.head_size,), initializer="ones", autocast=False, name=f"{name}_gain")
            for name in ("query", "key")
        )

    def call(self, x: Any, positions: Any) -> Any:
        """Attend along `axes`."""
        shape = ops.shape(x)
        # The scale of the scores lies in the gain.
        q = self._turned(self.query(x), self.query_gain * self.head_size**-0.5, positions, shape)
        k = self._turned(self.key(x), self.key_gain, positions, shape)
        q, k, v = (to_tokens(t, shape, self.axes, self.heads) for t in (q, k, self.value(x)))
        scores = ops.cast(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))), "float32")
        weights = ops.ones_like(scores) if scores.shape[-1] == 1 else ops.softmax(scores, axis=-1)
        return self.out(from_tokens(ops.matmul(ops.cast(weights, v.dtype), v), shape, self.axes))

    def _turned(self, x: Any, gain: Any, positions: Any, shape: tuple[Any, ...]) -> Any:
        """Normalised over each head's features, times the gain, and turned: as x, [batch, …, channels]."""
        x = ops.reshape(x, (-1, shape[1] * shape[2] * shape[3], self.heads, self.head_size))
        wide = ops.cast(x, "float32")
        normed = ops.cast(wide * ops.rsqrt(ops.mean(ops.square(wide), axis=-1, keepdims=True) + 1e-6) * gain, x.dtype)
        cos, sin = ops.split(ops.cast(positions, x.dtype), 2, axis=-1)
        first, second = ops.split(normed, 2, axis=-1)
        turned = ops.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
        return ops.reshape(turned, (-1, *shape[1:]))

    def compute_output_shape(self, x_shape: Any, positions_shape: Any) -> tuple[int | None, ...]:
        """The features' shape."""
        return x_shape
