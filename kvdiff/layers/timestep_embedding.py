"""From a frame's noise label to the embedding of a schedule's timestep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.process.predictions import noise_label
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class TimestepEmbedding(SavedLayer):
    """Sinusoids of the timestep 0…T-1 that has the label's noise, then two dense layers with a GELU; float32.

    For networks that were trained on timesteps of one schedule. Between timesteps the label is interpolated, so that
    they take every solver's noise levels; below the first and beyond the last it is theirs.

    Args:
        width: of the sinusoids, even, at least 4 (Ho et al. 2020, arXiv:2006.11239, as Vaswani et al. 2017 with
            width / 2 - 1 steps from 1 to 1/10000).
        units: of the dense layers.
        schedule: whose timesteps.

    Input: noise labels [batch, frames]. Output: float32 [batch, frames, units].
    """

    def __init__(self, width: int, units: int, schedule: NoiseSchedule | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        if width % 2 or width < 4:
            raise ValueError(f"`width`: expected an even number >= 4. Received: {width}")
        self.width, self.units = width, units
        self.schedule = schedule if isinstance(schedule, NoiseSchedule) else NoiseSchedule.from_config(schedule)
        # Rounded before gaps are taken, so that a label of the schedule is its timestep exactly.
        self._labels = noise_label(self.schedule.alpha, self.schedule.sigma).astype(np.float32)
        self.hidden = keras.layers.Dense(units, dtype="float32", name="hidden")
        self.out = keras.layers.Dense(units, dtype="float32", name="out")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the dense layers."""
        self.hidden.build((*input_shape, self.width))
        self.out.build((*input_shape, self.units))

    def call(self, label: Any) -> Any:
        """Embed: [batch, frames] -> [batch, frames, units]."""
        half = self.width // 2
        frequencies = np.exp(-math.log(10_000.0) / (half - 1) * np.arange(half)).astype(np.float32)
        angle = self.timestep(label)[:, :, None] * frequencies
        hidden = self.hidden(ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1))
        # The exact GELU, by erf: ONNX has no erfc, which Keras takes.
        return self.out(0.5 * hidden * (1.0 + ops.erf(hidden * 0.5**0.5)))

    def timestep(self, label: Any) -> Any:
        """The timestep of a noise label, float32 of its shape: how many of the steps between timesteps lie below it."""
        start, gap = self._labels[:-1], np.diff(self._labels)
        return ops.sum(ops.clip((ops.cast(label, "float32")[:, :, None] - start) / gap, 0.0, 1.0), axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """[batch, frames, units]."""
        return (*input_shape, self.units)
