"""The residual block that normalises after it convolves."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvdiff.layers.folded_conv3d import FoldedConv3D
from kvdiff.layers.fused_norm import modulated_norm
from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class PostNormBlock3D(SavedLayer):
    """(1, 3, 3) convolution → RMS norm → FiLM → SiLU, and again without FiLM, added to the input.

    The block of `video-diffusion-pytorch`'s `Unet3D`.

    Args:
        filters: output channels.
        remat: in training, compute the block a second time for its gradient in place of keeping what is inside it.

    Inputs: features [batch, frames, height, width, channels] and, where the block is modulated, an embedding [batch,
    frames, units], its SiLU taken. Output: [batch, frames, height, width, filters].
    """

    def __init__(self, filters: int, *, remat: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.remat = filters, remat
        self.conv_in = FoldedConv3D(filters, (1, 3, 3), dtype=self.dtype_policy, name="conv_in")
        self.conv_out = FoldedConv3D(filters, (1, 3, 3), dtype=self.dtype_policy, name="conv_out")
        self.film: keras.layers.Dense | None = None
        self.project: FoldedConv3D | None = None

    def build(self, x_shape: Any, embedding_shape: Any = None) -> None:
        """Build the parts; a 1×1×1 projection carries the input where the channels change."""
        self.conv_in.build(x_shape)
        self.conv_out.build((*x_shape[:-1], self.filters))
        gain = dict(shape=(self.filters,), initializer="ones", autocast=False)
        self.gain_in, self.gain_out = (self.add_weight(name=name, **gain) for name in ("gain_in", "gain_out"))
        if embedding_shape is not None:
            self.film = keras.layers.Dense(2 * self.filters, dtype="float32", name="film")
            self.film.build(embedding_shape)
        if x_shape[-1] != self.filters:
            self.project = FoldedConv3D(self.filters, (1, 1, 1), dtype=self.dtype_policy, name="project")
            self.project.build(x_shape)

    def call(self, x: Any, embedding: Any = None, training: bool | None = None) -> Any:
        """Features and embedding -> features with `filters` channels."""
        inputs = (x,) if embedding is None else (x, embedding)
        return keras.remat(self._block)(*inputs) if self.remat and training else self._block(*inputs)

    def _block(self, x: Any, embedding: Any = None) -> Any:
        shape = ops.shape(x)
        frames = ops.reshape(x, (-1, *shape[2:]))
        y = modulated_norm(self.conv_in.convolve(frames), *self._film(embedding))
        y = modulated_norm(self.conv_out.convolve(y), ops.reshape(self.gain_out, (1, 1, 1, -1)))
        carried = frames if self.project is None else self.project.convolve(frames)
        return ops.reshape(y + carried, (*shape[:-1], self.filters))

    def _film(self, embedding: Any) -> tuple[Any, ...]:
        """(gain, shift) of the first normalisation: FiLM (Perez et al. 2018, arXiv:1709.07871) times the learned gain.

        Of [batch · frames, 1, 1, filters]; without an embedding the gain alone, [1, 1, 1, filters].
        """
        if self.film is None:
            return (ops.reshape(self.gain_in, (1, 1, 1, -1)),)
        rows = self.film(ops.reshape(embedding, (-1, 1, 1, embedding.shape[-1])))
        scale, shift = ops.split(rows, 2, axis=-1)
        return self.gain_in * (1.0 + scale), shift

    def compute_output_shape(self, x_shape: Any, embedding_shape: Any = None) -> tuple[int | None, ...]:
        """The input's shape with `filters` channels."""
        return (*x_shape[:-1], self.filters)
