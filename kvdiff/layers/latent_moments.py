"""Mean and deviation of latents, as an autoencoder's training met them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

_MEMORY = 0.95  # Of the running means: they reach back over about twenty updates.
_SMALLEST = 1e-4  # Deviation; a channel that is not used is not blown up.


@keras.saving.register_keras_serializable(package="kvdiff")
class LatentMoments(keras.layers.Layer):
    """Standardises latents by the running mean and deviation of each channel, which are weights of this layer.

    Args:
        channels: of the latents.
        parts: how many calls make one training step, for the memory.

    Input and output: [batch, frames, height, width, channels]. A call in training remembers and returns the latents as
    they are; `standardised` and `restored` use what is remembered.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        # Every replica updates its own, and reading takes the mean: no replica waits for another here.
        options: dict[str, Any] = dict(
            shape=(channels,), dtype="float32", trainable=False, aggregation="mean", synchronization="on_read"
        )
        self.mean = keras.Variable("zeros", name="mean", **options)
        self.power = keras.Variable("ones", name="power", **options)
        self.built = True

    def remember(self, latent: Any, parts: int = 1) -> None:
        """Take the latents of a training batch, or of one of its `parts`, into the means."""
        memory = _MEMORY ** (1.0 / parts)
        latent = ops.stop_gradient(ops.cast(latent, "float32"))
        # Of no samples, which a replica may have, the means stay as they are.
        count = ops.cast(ops.size(latent), "float32") / self.channels
        share = (1.0 - memory) * ops.cast(count > 0.0, "float32")
        for variable, values in ((self.mean, latent), (self.power, ops.square(latent))):
            found = ops.sum(values, axis=(0, 1, 2, 3)) / ops.maximum(count, 1.0)
            variable.assign(variable + share * (found - variable))

    def call(self, latent: Any, training: bool | None = None) -> Any:
        """The latents as they are, remembered in training."""
        if training:
            self.remember(latent)
        return latent

    def standardised(self, latent: Any) -> Any:
        """Latents of zero mean and unit variance, float32."""
        return (ops.cast(latent, "float32") - ops.convert_to_tensor(self.mean)) / self._deviation()

    def restored(self, latent: Any) -> Any:
        """What `standardised` was given."""
        return ops.cast(latent, "float32") * self._deviation() + ops.convert_to_tensor(self.mean)

    def constants(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean, deviation) of each channel, float32 [channels]."""
        mean, power = (ops.convert_to_numpy(variable) for variable in (self.mean, self.power))
        return mean, np.maximum(np.sqrt(np.maximum(power - mean**2, 0.0)), _SMALLEST).astype(np.float32)

    def _deviation(self) -> Any:
        mean, power = (ops.convert_to_tensor(variable) for variable in (self.mean, self.power))
        return ops.maximum(ops.sqrt(ops.maximum(power - ops.square(mean), 0.0)), _SMALLEST)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "channels": self.channels}
