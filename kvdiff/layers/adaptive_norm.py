"""Layer normalisation whose gain and shift a frame's embedding decides."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvdiff.layers.fused_norm import centred_norm


@keras.saving.register_keras_serializable(package="kvdiff")
class AdaptiveNorm(keras.layers.Layer):
    """Layer normalisation over the channels, then each frame scaled and shifted by a linear map of its embedding.

    The "adaLN" of Peebles & Xie 2022 (arXiv:2212.09748, section 3.2), for every frame by itself, because in one clip
    frames may carry different noise. The map starts at zero: a new layer normalises and no more.

    Inputs: features [batch, frames, height, width, channels] and embedding [batch, frames, units].
    Output: as the features.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.film: keras.layers.Dense | None = None

    def build(self, x_shape: Any, embedding_shape: Any) -> None:
        """Build the map from the embedding to scale and shift."""
        self.film = keras.layers.Dense(
            2 * x_shape[-1], kernel_initializer="zeros", dtype=self.dtype_policy, name="film"
        )
        self.film.build((None, 1, embedding_shape[-1]))

    def call(self, x: Any, embedding: Any) -> Any:
        """Normalise, scale and shift."""
        shape = ops.shape(x)
        pixels = ops.reshape(x, (-1, shape[2] * shape[3], shape[4]))
        scale, shift = ops.split(self.film(ops.reshape(embedding, (-1, 1, embedding.shape[-1]))), 2, axis=-1)
        return ops.reshape(centred_norm(pixels) * (1.0 + scale) + shift, (-1, *shape[1:]))

    def compute_output_shape(self, x_shape: Any, embedding_shape: Any) -> tuple[int | None, ...]:
        """The features' shape."""
        return x_shape
