"""The block of the video transformer."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvdiff.layers.adaptive_norm import AdaptiveNorm
from kvdiff.layers.rotary_attention import RotaryAttention
from kvdiff.layers.sample_dropout import SampleDropout
from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class TransformerBlock3D(SavedLayer):
    """norm → attention → gate, added to the input; norm → gated linear unit → gate, added to that.

    Norms and gates are each frame's own, by its noise embedding: "adaLN-zero" (Peebles & Xie 2022, arXiv:2212.09748,
    section 3.2). The gates start at zero, so a new block is the identity. The second branch is a SwiGLU (Shazeer 2020,
    arXiv:2002.05202), of 8/3 · channels hidden features: as many weights as the usual layer of 4 · channels.

    Args:
        heads: of the attention.
        axes: "time", "space" or "space_time", see `RotaryAttention`.
        dropout: rate of dropping hidden features of the second branch.
        remat: in training, compute the block a second time for its gradient in place of keeping what is inside it.

    Inputs: features [batch, frames, height, width, channels], embedding [batch, frames, units] and the positions of
    `RotaryPositions`. Output: as the features.
    """

    def __init__(
        self, heads: int = 4, *, axes: str = "space_time", dropout: float = 0.0, remat: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.heads, self.axes, self.dropout, self.remat = heads, axes, dropout, remat
        dtype = self.dtype_policy
        self.norm_attention = AdaptiveNorm(dtype=dtype, name="norm_attention")
        self.norm_hidden = AdaptiveNorm(dtype=dtype, name="norm_hidden")
        self.attention = RotaryAttention(heads, axes=axes, dtype=dtype, name="attention")
        self.drop = SampleDropout(dropout, stream=self.name, dtype=dtype, name="drop")

    def build(self, x_shape: Any, embedding_shape: Any, positions_shape: Any) -> None:
        """Build the parts."""
        channels = x_shape[-1]
        hidden = round(8 * channels / 3)

        def dense(name: str, inputs: int, units: int, **options: Any) -> keras.layers.Dense:
            layer = keras.layers.Dense(units, dtype=self.dtype_policy, name=name, **options)
            layer.build((None, inputs))
            return layer

        self.norm_attention.build(x_shape, embedding_shape)
        self.norm_hidden.build(x_shape, embedding_shape)
        self.attention.build(x_shape, positions_shape)
        self.gates = dense("gates", embedding_shape[-1], 2 * channels, kernel_initializer="zeros")
        self.hidden = dense("hidden", channels, hidden)
        self.hidden_gate = dense("hidden_gate", channels, hidden)
        self.out = dense("out", hidden, channels)

    def call(self, x: Any, embedding: Any, positions: Any, training: bool | None = None) -> Any:
        """Features, embedding and positions -> features."""
        if not (self.remat and training):
            return self._block(x, embedding, positions, training=training)
        return keras.remat(lambda *inputs: self._block(*inputs, training=training))(x, embedding, positions)

    def _block(self, x: Any, embedding: Any, positions: Any, *, training: bool | None) -> Any:
        shape = ops.shape(x)
        gates = self.gates(ops.reshape(embedding, (-1, 1, embedding.shape[-1])))

        def gated(y: Any, gate: Any) -> Any:
            pixels = ops.reshape(y, (-1, shape[2] * shape[3], shape[4])) * gate
            return ops.reshape(pixels, (-1, *shape[1:]))

        attention_gate, hidden_gate = ops.split(gates, 2, axis=-1)
        x = x + gated(self.attention(self.norm_attention(x, embedding), positions), attention_gate)
        y = self.norm_hidden(x, embedding)
        y = self.drop(ops.silu(self.hidden_gate(y)) * self.hidden(y), training=training)
        return x + gated(self.out(y), hidden_gate)

    def compute_output_shape(self, x_shape: Any, embedding_shape: Any, positions_shape: Any) -> tuple[int | None, ...]:
        """The features' shape."""
        return x_shape
