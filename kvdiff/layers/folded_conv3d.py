"""A 3-D convolution computed as a 2-D one over shifted frames."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class FoldedConv3D(SavedLayer):
    """Exactly a `keras.layers.Conv3D` of stride 1 and "same" zero padding, at most 4-D inside.

    The kernel's temporal taps become input channels: frames t-1, t, t+1 are concatenated and one 2-D convolution sees
    them with the frames folded into the batch. On CPUs this is several times faster than a 3-D convolution, and edge
    runtimes neither quantise nor delegate those.

    The kernel is stored as the matrix that the fold makes of it, which is also what matrix optimisers such as
    `keras.optimizers.Muon` take; `FoldedConv3D.folded` brings a `Conv3D` kernel into that form.

    Args:
        filters: output channels.
        kernel_size: (frames, height, width), the first odd; (1, 3, 3) is a spatial, (3, 1, 1) a temporal convolution.
        kernel_initializer: a Keras initializer for the kernel.

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
        self.lora_enabled = False
        self.lora_rank: Any = None
        self.lora_alpha: Any = None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the kernel, [height · width · frames · in, out], and the bias, [out]."""
        self.channels = input_shape[-1]
        taps, rows, columns = self.kernel_size
        shape = (rows * columns * taps * self.channels, self.filters)
        self._kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    @property
    def kernel(self) -> Any:
        """The kernel; with LoRA a tensor, the product of its factors included."""
        if not self.lora_enabled:
            return self._kernel
        return self._kernel + self.lora_alpha / self.lora_rank * ops.matmul(self.lora_kernel_a, self.lora_kernel_b)

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """As `keras.layers.Dense.enable_lora`: freeze the kernel, and add alpha / rank times a product of two factors.

        Args:
            rank: of the product; the factors are [height · width · frames · in, rank] and [rank, out].
            lora_alpha: by default `rank`.
            a_initializer, b_initializer: of the factors.

        Raises:
            ValueError: a layer that is not built, or has LoRA already.
        """
        if not self.built or self.lora_enabled:
            received = "one with LoRA" if self.lora_enabled else "one that is not built"
            raise ValueError(f"enable_lora: expected a built layer without LoRA. Received: {received}")
        self._tracker.unlock()
        self.lora_kernel_a, self.lora_kernel_b = (
            self.add_weight(shape=shape, initializer=initializer, dtype="float32", name=f"lora_kernel_{side}")
            for side, shape, initializer in (
                ("a", (self._kernel.shape[0], rank), a_initializer),
                ("b", (rank, self.filters), b_initializer),
            )
        )
        self._tracker.lock()
        self._kernel.trainable = False
        self.lora_enabled, self.lora_rank = True, rank
        self.lora_alpha = rank if lora_alpha is None else lora_alpha

    def call(self, x: Any) -> Any:
        """Convolve: [batch, frames, height, width, channels] -> [batch, frames, height, width, filters]."""
        taps = self.kernel_size[0]
        _, frames, height, width, _ = ops.shape(x)
        if taps > 1:
            x = ops.reshape(x, (-1, frames, height * width, self.channels))
            padded = ops.pad(x, ((0, 0), (taps // 2, taps // 2), (0, 0), (0, 0)))
            x = ops.concatenate([padded[:, k : k + frames] for k in range(taps)], axis=-1)
        convolved = self.convolve(ops.reshape(x, (-1, height, width, taps * self.channels)))
        return ops.reshape(convolved, (-1, frames, height, width, self.filters))

    def convolve(self, folded: Any) -> Any:
        """The 2-D convolution inside: [batch · frames, height, width, taps · channels] -> [… , filters].

        For layers that keep frames folded from one convolution to the next; `taps`, the kernel's frames, is 1 there.
        """
        taps, rows, columns = self.kernel_size
        # Cast by hand: no layer's scope is open where `keras.remat` computes this a second time.
        kernel, bias = (ops.cast(weight, folded.dtype) for weight in (self.kernel, self.bias))
        kernel = ops.reshape(kernel, (rows, columns, taps * self.channels, self.filters))
        return ops.conv(folded, kernel, padding="same") + bias

    @staticmethod
    def folded(kernel: Any) -> Any:
        """A `Conv3D` kernel [frames, height, width, in, out] as this layer stores it."""
        return ops.reshape(ops.transpose(kernel, (1, 2, 0, 3, 4)), (-1, kernel.shape[-1]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape with `filters` channels."""
        return (*input_shape[:-1], self.filters)
