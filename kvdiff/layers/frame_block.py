"""The residual block of the autoencoder."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvdiff.layers.folded_conv3d import FoldedConv3D


@keras.saving.register_keras_serializable(package="kvdiff")
class FrameBlock(keras.layers.Layer):
    """SiLU → space → SiLU → space, added to the input; with `time` a convolution over frames t - 1, t, t + 1 after it.

    There is no normalisation: it would take away how bright a frame is, which is what an autoencoder has to keep. The
    last convolutions start at zero, so a new block is the identity.

    Args:
        filters: channels of input and output.
        time: also convolve over time.

    Input and output: [batch, frames, height, width, filters].
    """

    def __init__(self, filters: int, *, time: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.time = filters, time
        dtype = self.dtype_policy
        self.conv_in = FoldedConv3D(filters, (1, 3, 3), dtype=dtype, name="conv_in")
        zeros: dict[str, Any] = dict(kernel_initializer="zeros", dtype=dtype)
        self.conv_out = FoldedConv3D(filters, (1, 3, 3), name="conv_out", **zeros)
        self.conv_time = FoldedConv3D(filters, (3, 1, 1), name="conv_time", **zeros) if time else None

    @property
    def reach(self) -> int:
        """How many frames before and after a frame its output depends on."""
        return int(self.time)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the convolutions."""
        for conv in (self.conv_in, self.conv_out, self.conv_time):
            if conv is not None:
                conv.build(input_shape)

    def call(self, x: Any) -> Any:
        """Convolve, and add the input."""
        _, frames, height, width, _ = ops.shape(x)
        folded = ops.reshape(x, (-1, height, width, self.filters))
        y = ops.silu(self.conv_in.convolve(ops.silu(folded)))
        folded = folded + self.conv_out.convolve(y)
        x = ops.reshape(folded, (-1, frames, height, width, self.filters))
        return x if self.conv_time is None else x + self.conv_time(ops.silu(x))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "time": self.time}
