"""Halving and doubling a frame's size by convolutions of stride 2."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvdiff.layers.saved_layer import SavedLayer


class _Strided(SavedLayer):
    """What the two share: a 4×4 kernel of stride 2 over frames folded into the batch."""

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        options: dict[str, Any] = dict(strides=2, padding="same", data_format="channels_last", use_bias=False)
        self.conv = self._conv_type(filters, 4, **options, dtype=self.dtype_policy, name="conv")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the convolution, and the bias [filters]."""
        self.conv.build((None, *input_shape[2:]))
        # Not the convolution's own: of no samples, TensorFlow on CPUs fails at the gradient of the two in one.
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        """Convolve."""
        shape = ops.shape(x)
        x = self.conv(ops.reshape(x, (-1, *shape[2:]))) + self.bias
        return ops.reshape(x, (-1, shape[1], *ops.shape(x)[1:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[batch, frames, height, width, filters] with the new height and width."""
        return (*input_shape[:2], *self.conv.compute_output_shape((None, *input_shape[2:]))[1:])


@keras.saving.register_keras_serializable(package="kvdiff")
class FrameDownsample(_Strided):
    """A (1, 4, 4) convolution of stride (1, 2, 2), zeros around it.

    Args:
        filters: output channels.

    Input: [batch, frames, height, width, channels], height and width even. Output: half as high and wide.
    """

    _conv_type = keras.layers.Conv2D
    shrink = 2


@keras.saving.register_keras_serializable(package="kvdiff")
class FrameUpsample(_Strided):
    """The transpose of a (1, 4, 4) convolution of stride (1, 2, 2).

    Args:
        filters: output channels.

    Input: [batch, frames, height, width, channels]. Output: twice as high and wide.
    """

    _conv_type = keras.layers.Conv2DTranspose
