"""A 3-D convolution computed as a 2-D one over shifted frames."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["FoldedConv3D"]


@keras.saving.register_keras_serializable(package="kvdiff")
class FoldedConv3D(keras.layers.Layer):
    """Exactly a `keras.layers.Conv3D` of stride 1 and "same" zero padding, at most 4-D inside.

    The kernel's temporal taps become input channels: frames t-1, t, t+1 are concatenated and one 2-D convolution sees them
    with the frames folded into the batch. On CPUs this is several times faster than a 3-D convolution, and edge runtimes
    neither quantise nor delegate those.

    Args:
        filters: output channels.
        kernel_size: (frames, height, width), the first odd; (1, 3, 3) is a spatial, (3, 1, 1) a temporal convolution.
        kernel_initializer: a Keras initializer for the kernel [frames, height, width, in, out].

    Input and output: [batch, frames, height, width, channels].
    """

    def __init__(
        self,
        filters: int,
        kernel_size: tuple[int, int, int] = (3, 3, 3),
        *,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = tuple(kernel_size)
        if len(self.kernel_size) != 3 or self.kernel_size[0] % 2 == 0:
            raise ValueError(f"`kernel_size`: expected (odd frames, height, width). Received: {kernel_size}")
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make kernel [frames, height, width, in, out], as `Conv3D` stores it, and bias [out]."""
        self.channels = input_shape[-1]
        self.kernel = self.add_weight(
            shape=(*self.kernel_size, self.channels, self.filters), initializer=self.kernel_initializer, name="kernel"
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        """Convolve: [batch, frames, height, width, channels] -> [batch, frames, height, width, filters]."""
        taps, rows, columns = self.kernel_size
        _, frames, height, width, _ = ops.shape(x)
        if taps > 1:
            flat = ops.reshape(x, (-1, frames, height * width, self.channels))
            padded = ops.pad(flat, ((0, 0), (taps // 2, taps // 2), (0, 0), (0, 0)))
            flat = ops.concatenate([padded[:, k : k + frames] for k in range(taps)], axis=-1)
        else:
            flat = x
        folded = ops.reshape(flat, (-1, height, width, taps * self.channels))
        kernel = ops.transpose(self.kernel, (1, 2, 0, 3, 4))
        kernel = ops.reshape(kernel, (rows, columns, taps * self.channels, self.filters))
        folded = ops.conv(folded, kernel, padding="same") + self.bias
        return ops.reshape(folded, (-1, frames, height, width, self.filters))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape with `filters` channels."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        initializer = keras.initializers.serialize(self.kernel_initializer)
        arguments = {"filters": self.filters, "kernel_size": self.kernel_size, "kernel_initializer": initializer}
        return {**super().get_config(), **arguments}
