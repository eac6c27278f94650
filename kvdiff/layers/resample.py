"""Changing a frame's size: pixels into channels and back, with a linear map."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvdiff.layers.saved_layer import SavedLayer


class _Patch(SavedLayer):
    """What `PatchMerge` and `PatchSplit` share: a patch size and a linear map."""

    def __init__(self, filters: int, patch_size: int = 2, *, kernel_initializer: Any = "glorot_uniform", **kwargs: Any):
        super().__init__(**kwargs)
        self.filters, self.patch_size = filters, patch_size
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def _dense(self, inputs: int, units: int) -> keras.layers.Dense:
        dense = keras.layers.Dense(
            units, kernel_initializer=self.kernel_initializer, dtype=self.dtype_policy, name="dense"
        )
        dense.build((None, inputs))
        return dense


@keras.saving.register_keras_serializable(package="kvdiff")
class PatchMerge(_Patch):
    """Each patch_size × patch_size patch of a frame becomes one pixel of `filters` channels (a strided convolution).

    Input: [batch, frames, height, width, channels], height and width divisible by `patch_size`.
    Output: [batch, frames, height / patch_size, width / patch_size, filters].
    """

    @property
    def shrink(self) -> int:
        """By how much height and width are divided."""
        return self.patch_size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the linear map."""
        self.channels = input_shape[-1]
        self.dense = self._dense(self.patch_size**2 * self.channels, self.filters)

    def call(self, x: Any) -> Any:
        """Merge patches."""
        _, frames, height, width, _ = ops.shape(x)
        p = self.patch_size
        rows, columns = height // p, width // p
        # Two 4-D moves at most: bring the patch's two rows together, then flatten it.
        x = ops.reshape(x, (-1, p, columns, p * self.channels))
        x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, rows, columns, p * p * self.channels))
        return ops.reshape(self.dense(x), (-1, frames, rows, columns, self.filters))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[batch, frames, height / patch_size, width / patch_size, filters]."""
        batch, frames, height, width, _ = input_shape
        p = self.patch_size
        return (batch, frames, height and height // p, width and width // p, self.filters)


@keras.saving.register_keras_serializable(package="kvdiff")
class PatchSplit(_Patch):
    """The inverse shape change: each pixel becomes a patch_size × patch_size patch of `filters` channels.

    Input: [batch, frames, height, width, channels].
    Output: [batch, frames, height · patch_size, width · patch_size, filters].
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the linear map."""
        self.dense = self._dense(input_shape[-1], self.patch_size**2 * self.filters)

    def call(self, x: Any) -> Any:
        """Split pixels."""
        _, frames, height, width, _ = ops.shape(x)
        p = self.patch_size
        x = ops.reshape(self.dense(x), (-1, width, p, p * self.filters))
        x = ops.transpose(x, (0, 2, 1, 3))
        return ops.reshape(x, (-1, frames, height * p, width * p, self.filters))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[batch, frames, height · patch_size, width · patch_size, filters]."""
        batch, frames, height, width, _ = input_shape
        p = self.patch_size
        return (batch, frames, height and height * p, width and width * p, self.filters)
