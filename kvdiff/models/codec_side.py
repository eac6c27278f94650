"""One side of a trained autoencoder as a layer, for what exports functional models."""

from __future__ import annotations

from typing import Any

import keras


class CodecSide(keras.layers.Layer):
    """Encodes x_0 to standardised latents, or decodes them.

    Args:
        autoencoder: a `VideoAutoencoder`.
        side: "encoder" or "decoder".
        frame_shape: (height, width, channels) of what comes out.
    """

    def __init__(self, autoencoder: Any, side: str, frame_shape: tuple[int, int, int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.autoencoder, self.side, self.frame_shape = autoencoder, side, tuple(frame_shape)
        self.built = True

    def call(self, x: Any) -> Any:
        """Clips to latents, or latents to clips: [batch, frames, height, width, channels] both."""
        if self.side == "encoder":
            return self.autoencoder.encode(x)
        return self.autoencoder.decode(x, *self.frame_shape[:2])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's batch and frames, and the frame's shape."""
        return (*input_shape[:2], *self.frame_shape)
