"""Attention over time, over the pixels of a frame, and in linear time over the pixels of a frame.

The attention of `video-diffusion-pytorch`'s `Unet3D`, written so that little moves. Every layer normalises its input
over the channels, attends with a fixed head size whatever the channels, and adds the result to its input. Three
rewritings change none of the results:

- What is linear in the pixels' features is multiplied into the weights first: the normalisation's gain, the rotary
  positions (a rotation of each frame's projection in place of its queries and keys), the scale of the scores.
- Values are not projected before they are summed: sum_j a_j (W x_j) = W sum_j a_j x_j. The projection of the sum and
  the output's are one matrix. Where channels are many and pixels few the usual order is cheaper, and is taken.
- The softmax of linear attention is over the last axis, its keys being computed that way round; its gradient's row sums
  come from the small result, sum_n y_n dy_n = <context, dcontext> (Dao et al. 2022, arXiv:2205.14135, equation 4).
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.layers.fused_norm import centred_norm
from kvdiff.layers.saved_layer import SavedLayer


class _Attention(SavedLayer):
    """What the three share: separate projections of queries, keys, values and output, and the normalisation's gain."""

    _output_bias = False

    def __init__(self, heads: int = 8, head_size: int = 32, *, remat: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.head_size, self.remat = heads, head_size, remat

    def build(self, x_shape: Any, bias_shape: Any = None) -> None:
        """Make gain [channels], three projections [channels, heads · head_size] and their inverse in shape."""
        self.channels = x_shape[-1]
        hidden = self.heads * self.head_size

        def weight(name: str, *shape: int, initializer: str = "glorot_uniform") -> Any:
            return self.add_weight(shape=shape, initializer=initializer, name=name, autocast=False)

        self.gain = weight("gain", self.channels, initializer="ones")
        self.query, self.key, self.value = (weight(name, self.channels, hidden) for name in ("query", "key", "value"))
        self.out = weight("out", hidden, self.channels)
        self.bias = weight("bias", self.channels, initializer="zeros") if self._output_bias else None

    def call(self, x: Any, bias: Any = None, training: bool | None = None) -> Any:
        """Attend, and add the result to `x`."""
        inputs = (x,) if bias is None else (x, bias)
        return keras.remat(self._attend)(*inputs) if self.remat and training else self._attend(*inputs)

    def _attend(self, *inputs: Any) -> Any:
        raise NotImplementedError

    def _projections(self) -> list[Any]:
        """Those of normalised pixels, the gain multiplied in: three of float32 [channels, heads · head_size]."""
        gain = ops.reshape(self.gain, (self.channels, 1))
        return [gain * weight for weight in (self.query, self.key, self.value)]

    def _per_head(self, weight: Any) -> Any:
        """[channels, heads · head_size] -> [heads, channels, head_size]."""
        return ops.transpose(ops.reshape(weight, (self.channels, self.heads, self.head_size)), (1, 0, 2))

    def _out_per_head(self) -> Any:
        """The output's projection, [heads, head_size, channels]."""
        return ops.reshape(self.out, (self.heads, self.head_size, self.channels))

    def _cast(self, x: Any) -> Any:
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, x_shape: Any, bias_shape: Any = None) -> tuple[int | None, ...]:
        """The features' shape."""
        return x_shape


@keras.saving.register_keras_serializable(package="kvdiff")
class LinearSpaceAttention(_Attention):
    """Attention over a frame's pixels at a cost linear in them (Shen et al. 2018, arXiv:1812.01243).

    Queries are normalised over a head's features, keys over the pixels; their product with the values is a small matrix
    a head.

    Args:
        heads, head_size: their number and features.
        remat: in training, compute the attention a second time for its gradient in place of keeping what is inside it.

    Input and output: [batch, frames, height, width, channels].
    """

    _output_bias = True

    def _attend(self, x: Any) -> Any:
        shape = ops.shape(x)
        pixels = centred_norm(ops.reshape(x, (-1, shape[2] * shape[3], self.channels)))
        query, key, value = self._projections()
        queries = ops.matmul(ops.reshape(pixels, (-1, self.channels)), self._cast(query))
        queries = ops.softmax(ops.reshape(queries, (-1, self.heads, self.head_size)), axis=-1)
        queries = ops.reshape(queries, (-1, shape[2] * shape[3], self.heads * self.head_size))
        out = ops.matmul(queries, self._cast(self._context(pixels, key, value))) + self._cast(self.bias)
        return x + ops.reshape(out, shape)

    def _context(self, pixels: Any, key: Any, value: Any) -> Any:
        """What to multiply a frame's queries with: float32 [batch · frames, heads · head_size, channels]."""
        key = ops.transpose(self._cast(key))
        key = ops.broadcast_to(key[None], (ops.shape(pixels)[0], *key.shape))
        keys = ops.matmul(key, ops.transpose(pixels, (0, 2, 1)))
        seen = ops.reshape(_softmax_product(keys, pixels), (-1, self.heads, self.head_size, self.channels))
        # Heads first, so that the frames' are one product a head, and so are the gradients of the weights.
        seen = ops.reshape(ops.transpose(seen, (1, 0, 2, 3)), (self.heads, -1, self.channels))
        values = ops.matmul(ops.cast(seen, "float32"), self._per_head(value))
        context = ops.matmul(values, self._out_per_head() * self.head_size**-0.5)
        context = ops.reshape(context, (self.heads, -1, self.head_size, self.channels))
        return ops.reshape(ops.transpose(context, (1, 0, 2, 3)), (-1, self.heads * self.head_size, self.channels))


@keras.saving.register_keras_serializable(package="kvdiff")
class SpaceAttention(_Attention):
    """Softmax attention over a frame's pixels; its cost grows with their square.

    Args:
        heads, head_size: their number and features.
        remat: in training, compute the attention a second time for its gradient in place of keeping what is inside it.

    Input and output: [batch, frames, height, width, channels].
    """

    def _attend(self, x: Any) -> Any:
        shape = ops.shape(x)
        pixels = centred_norm(ops.reshape(x, (-1, shape[2] * shape[3], self.channels)))
        query, key, value = self._projections()
        q, k, v = (self._heads(pixels, weight) for weight in (query * self.head_size**-0.5, key, value))
        weights = _softmax(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))))
        out = ops.reshape(ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3)), (-1, self.heads * self.head_size))
        return x + ops.reshape(ops.matmul(out, self._cast(self.out)), shape)

    def _heads(self, pixels: Any, weight: Any) -> Any:
        """[frames, pixels, channels] -> [frames, heads, pixels, head_size]."""
        projected = ops.matmul(pixels, self._cast(weight))
        projected = ops.reshape(projected, (-1, ops.shape(pixels)[1], self.heads, self.head_size))
        return ops.transpose(projected, (0, 2, 1, 3))


@keras.saving.register_keras_serializable(package="kvdiff")
class TimeAttention(_Attention):
    """Softmax attention over the frames of each pixel, with rotary positions and a bias of relative ones.

    Rotary positions: Su et al. 2021, arXiv:2104.09864, over all features of a head, neighbours in pairs.

    Args:
        heads, head_size: their number and features; head_size is even.
        remat: as above.

    Inputs: features [batch, frames, height, width, channels] and the bias [heads, frames, frames] of
    `RelativePositionBias`. Output: as the features.
    """

    def _attend(self, x: Any, bias: Any) -> Any:
        batch, frames, height, width, _ = ops.shape(x)
        pixels = height * width
        tokens = ops.transpose(centred_norm(ops.reshape(x, (-1, frames, pixels, self.channels))), (1, 0, 2, 3))
        tokens = ops.reshape(tokens, (frames, -1, self.channels))
        query, key, value = self._projections()
        few_pixels, turns = isinstance(pixels, int) and pixels < self.channels, self._turns(frames)
        turned = self._turned_pixels if few_pixels else self._turned_weights
        q = self._heads(turned(tokens, query, turns * np.float32(self.head_size**-0.5), frames), frames)
        k = self._heads(turned(tokens, key, turns, frames), frames)
        scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) + self._cast(bias)
        weights = _softmax(scores)
        by_pixel = self._sum_of_inputs if self.channels <= 2 * self.head_size else self._sum_of_values
        out = ops.reshape(by_pixel(weights, tokens, value, frames), (-1, pixels, frames, self.channels))
        return x + ops.reshape(ops.transpose(out, (0, 2, 1, 3)), (batch, frames, height, width, self.channels))

    def _sum_of_inputs(self, weights: Any, tokens: Any, value: Any, frames: Any) -> Any:
        """Sum, then project: [batch · pixels · frames, channels]."""
        rows = ops.reshape(ops.transpose(weights, (0, 2, 1, 3)), (-1, frames * self.heads, frames))
        sums = ops.matmul(rows, ops.transpose(tokens, (1, 0, 2)))
        projection = ops.matmul(self._per_head(value), self._out_per_head())
        projection = ops.reshape(projection, (self.heads * self.channels, self.channels))
        return ops.matmul(ops.reshape(sums, (-1, self.heads * self.channels)), self._cast(projection))

    def _sum_of_values(self, weights: Any, tokens: Any, value: Any, frames: Any) -> Any:
        """Project, then sum: [batch · pixels · frames, channels]."""
        values = self._heads(ops.matmul(tokens, self._cast(value)), frames)
        out = ops.transpose(ops.matmul(weights, values), (0, 2, 1, 3))
        return ops.matmul(ops.reshape(out, (-1, self.heads * self.head_size)), self._cast(self.out))

    def _heads(self, projected: Any, frames: Any) -> Any:
        """[frames, batch · pixels, heads · head_size] -> [batch · pixels, heads, frames, head_size]."""
        projected = ops.reshape(projected, (frames, -1, self.heads, self.head_size))
        return ops.transpose(projected, (1, 2, 0, 3))

    def _turned_weights(self, tokens: Any, weight: Any, turns: Any, frames: Any) -> Any:
        """Project each frame by a weight of its own, turned: [frames, batch · pixels, heads · head_size]."""
        turns = ops.reshape(ops.transpose(turns, (1, 0, 2)), (self.head_size, -1))
        weight = ops.matmul(ops.reshape(weight, (-1, self.head_size)), turns)
        weight = ops.reshape(weight, (self.channels, self.heads, frames, self.head_size))
        weight = ops.reshape(ops.transpose(weight, (2, 0, 1, 3)), (frames, self.channels, -1))
        return ops.matmul(tokens, self._cast(weight))

    def _turned_pixels(self, tokens: Any, weight: Any, turns: Any, frames: Any) -> Any:
        """The same the other way round: less where pixels are fewer than channels."""
        projected = ops.matmul(tokens, self._cast(weight))
        turned = ops.matmul(ops.reshape(projected, (frames, -1, self.head_size)), self._cast(turns))
        return ops.reshape(turned, (frames, -1, self.heads * self.head_size))

    def _turns(self, frames: Any) -> Any:
        """What to multiply a head's features in each frame with: float32 [frames, head_size, head_size].

        Rotates neighbours i, i + 1 (i even) by frame · 10000^(-i / head_size).
        """
        xp = np if isinstance(frames, int) else ops
        feature = np.arange(self.head_size)
        frequency = np.exp(-math.log(10_000.0) * (feature // 2 * 2) / self.head_size).astype(np.float32)
        across = np.eye(self.head_size, k=1) * (feature % 2 == 1) - np.eye(self.head_size, k=-1) * (feature % 2 == 0)
        angle = xp.reshape(xp.arange(frames, dtype="float32"), (-1, 1, 1)) * frequency
        return xp.cos(angle) * np.eye(self.head_size, dtype=np.float32) + xp.sin(angle) * across.astype(np.float32)


def _softmax(scores: Any) -> Any:
    """Over the last axis; of a single frame or pixel it is 1, of which Keras would warn."""
    return ops.ones_like(scores) if scores.shape[-1] == 1 else ops.softmax(scores, axis=-1)


def _softmax_product(keys: Any, pixels: Any) -> Any:
    """softmax(keys) pixels: [n, features, pixels] and [n, pixels, channels] -> [n, features, channels]."""

    @ops.custom_gradient
    def product(keys: Any, pixels: Any) -> tuple[Any, Any]:
        weights = _softmax(keys)
        context = ops.matmul(weights, pixels)

        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
            up = args[0] if upstream is None else upstream
            row = ops.sum(ops.cast(up, "float32") * ops.cast(context, "float32"), axis=-1, keepdims=True)
            # One product makes both terms of the softmax' gradient: [up, -row] [pixels, 1]ᵀ.
            both = ops.concatenate([up, ops.cast(-row, up.dtype)], axis=-1)
            ones = ops.concatenate([pixels, ops.ones_like(pixels[..., :1])], axis=-1)
            to_weights = ops.matmul(both, ops.transpose(ones, (0, 2, 1)))
            return weights * to_weights, ops.matmul(ops.transpose(weights, (0, 2, 1)), up)

        return context, gradient

    return product(keys, pixels)
