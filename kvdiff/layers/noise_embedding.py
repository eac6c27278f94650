"""From a frame's noise label to the vector that modulates its features."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class NoiseEmbedding(SavedLayer):
    """Sinusoids of the noise label, then two dense layers; float32 throughout.

    bfloat16 sinusoids would keep only about half of 1000 noise levels apart, hence the fixed precision.

    Args:
        units: the embedding's width, even.
        max_frequency: the highest angular frequency; the label runs over [0, 1].

    Input: noise labels, [batch, frames]. Output: [batch, frames, units].
    """

    def __init__(self, units: int, *, max_frequency: float = 1000.0, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        if units % 2:
            raise ValueError(f"`units`: expected an even number. Received: {units}")
        self.units = units
        self.max_frequency = max_frequency
        self.hidden = keras.layers.Dense(units, activation="silu", dtype="float32", name="hidden")
        self.out = keras.layers.Dense(units, activation="silu", dtype="float32", name="out")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the dense layers."""
        self.hidden.build((*input_shape, self.units))
        self.out.build((*input_shape, self.units))

    def call(self, noise_label: Any) -> Any:
        """Embed: [batch, frames] -> [batch, frames, units]."""
        # Geometric from 1 to max_frequency (Vaswani et al. 2017, arXiv:1706.03762, section 3.5, with labels in [0, 1]).
        frequencies = np.exp(np.linspace(0.0, math.log(self.max_frequency), self.units // 2)).astype(np.float32)
        angle = ops.expand_dims(ops.cast(noise_label, "float32"), -1) * frequencies
        waves = ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1)
        return self.out(self.hidden(waves))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[batch, frames, units]."""
        return (*input_shape, self.units)
