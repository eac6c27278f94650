"""The residual block of the 3-D U-Net."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvdiff.layers.folded_conv3d import FoldedConv3D
from kvdiff.layers.group_norm import FrameGroupNorm
from kvdiff.layers.sample_dropout import SampleDropout
from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class ResidualBlock3D(SavedLayer):
    """norm → SiLU → space → FiLM(norm) → SiLU → time, added to the input.

    The factorised form convolves (1, 3, 3) and then (3, 3, 3)'s temporal half as (3, 1, 1); the full form uses a true
    3×3×3 convolution in both places. FiLM (Perez et al. 2018, arXiv:1709.07871) scales and shifts each frame's features
    by its noise embedding. The last convolution starts at zero, so a new block is the identity (or its projection).

    Args:
        filters: output channels.
        factorised: space and time apart (True), or two 3×3×3 convolutions.
        groups: of the group normalisation.
        dropout: rate of dropping before the last convolution.
        remat: in training, compute the block a second time for its gradient in place of keeping what is inside it.

    Inputs: features [batch, frames, height, width, channels] and embedding [batch, frames, units].
    Output: [batch, frames, height, width, filters].
    """

    def __init__(
        self,
        filters: int,
        *,
        factorised: bool = True,
        groups: int = 8,
        dropout: float = 0.0,
        remat: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.factorised, self.groups, self.dropout = filters, factorised, groups, dropout
        self.remat = remat
        dtype = self.dtype_policy
        self.norm_in = FrameGroupNorm(groups, dtype=dtype, name="norm_in")
        self.norm_out = FrameGroupNorm(groups, dtype=dtype, name="norm_out")
        kernel = (1, 3, 3) if factorised else (3, 3, 3)
        self.conv_in = FoldedConv3D(filters, kernel, dtype=dtype, name="conv_in")
        self.film = keras.layers.Dense(2 * filters, dtype=dtype, name="film")
        self.drop = SampleDropout(dropout, stream=self.name, dtype=dtype, name="drop")
        self.conv_space = FoldedConv3D(filters, (1, 3, 3), dtype=dtype, name="conv_space") if factorised else None
        kernel = (3, 1, 1) if factorised else (3, 3, 3)
        self.conv_out = FoldedConv3D(filters, kernel, kernel_initializer="zeros", dtype=dtype, name="conv_out")
        self.project: FoldedConv3D | None = None

    def build(self, x_shape: Any, embedding_shape: Any) -> None:
        """Build the parts; a 1×1×1 projection carries the input where the channels change."""
        inner = (*x_shape[:-1], self.filters)
        self.norm_in.build(x_shape)
        self.conv_in.build(x_shape)
        self.film.build(embedding_shape)
        self.norm_out.build(inner)
        if self.conv_space is not None:
            self.conv_space.build(inner)
        self.conv_out.build(inner)
        if x_shape[-1] != self.filters:
            self.project = FoldedConv3D(self.filters, (1, 1, 1), dtype=self.dtype_policy, name="project")
            self.project.build(x_shape)

    def call(self, x: Any, embedding: Any, training: bool | None = None) -> Any:
        """Features and embedding -> features with `filters` channels."""
        if not (self.remat and training):
            return self._block(x, embedding, training)
        return keras.remat(lambda x, embedding: self._block(x, embedding, training))(x, embedding)

    def _block(self, x: Any, embedding: Any, training: bool | None) -> Any:
        y = self.conv_in(ops.silu(self.norm_in(x)))
        scale, shift = ops.split(self.film(embedding)[:, :, None, None, :], 2, axis=-1)
        y = ops.silu(self.norm_out(y) * (1.0 + scale) + shift)
        if self.conv_space is not None:
            y = ops.silu(self.conv_space(y))
        y = self.conv_out(self.drop(y, training=training))
        return y + (x if self.project is None else self.project(x))

    def compute_output_shape(self, x_shape: Any, embedding_shape: Any) -> tuple[int | None, ...]:
        """The input's shape with `filters` channels."""
        return (*x_shape[:-1], self.filters)
