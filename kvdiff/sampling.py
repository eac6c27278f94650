"""The Keras sampler: `ClipSampler` with the network call and the table's row compiled into one graph."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.predictions import Prediction
from kvdiff.diffusion.sampler import ClipSampler, ClipSpec
from kvdiff.diffusion.schedules import NoiseSchedule
from kvdiff.diffusion.steps import Row, step

__all__ = ["KerasSampler"]


class KerasSampler(ClipSampler):
    """Samples with a Keras denoiser; the clip stays on the device between steps.

    Args:
        denoiser: a Keras model of `{"noisy_clip", "noise_label"}`, as `UNet3D` makes.
        clip_spec, schedule, prediction: what the denoiser was trained for.
    """

    def __init__(
        self, denoiser: keras.Model, clip_spec: ClipSpec, schedule: NoiseSchedule, prediction: Prediction
    ) -> None:
        super().__init__(clip_spec, schedule, prediction)
        self._denoiser = denoiser
        self._compiled_step = _compile(self._tensor_step)

    def denoise(self, noisy_clip: Any, noise_label: Any) -> Any:
        """The network's raw output, float32."""
        inputs = {"noisy_clip": noisy_clip, "noise_label": noise_label}
        return ops.cast(self._denoiser(inputs, training=False), "float32")

    def _advance(self, row: Row, x: Any, history: tuple[Any, ...], noise: np.ndarray) -> tuple[Any, tuple[Any, ...]]:
        # Every row is spread to one shape, so that one traced graph serves every task and solver of the same memory.
        spread = {
            field.name: np.broadcast_to(value, (*value.shape[:-5], *x.shape[:2], 1, 1, 1))
            for field in dataclasses.fields(row)
            for value in [getattr(row, field.name)]
        }
        spread = {name: ops.convert_to_tensor(value) for name, value in spread.items()}
        return self._compiled_step(spread, x, history, ops.convert_to_tensor(np.broadcast_to(noise, x.shape)))

    def _tensor_step(self, row: dict[str, Any], x: Any, history: tuple[Any, ...], noise: Any) -> Any:
        row = Row(**row)
        label = row.c_noise[:, :, 0, 0, 0]
        return step(row, x, self.denoise(row.c_in * x, label), history, noise, lambda d: ops.clip(d, -1.0, 1.0))

    def _to_device(self, array: np.ndarray) -> Any:
        return ops.convert_to_tensor(array)

    def _to_host(self, array: Any) -> np.ndarray:
        return ops.convert_to_numpy(array)


def _compile(function: Any) -> Any:
    """Compile on TensorFlow; variables are read at call time, so training on is seen. Other backends run it as it is."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, reduce_retracing=True)
