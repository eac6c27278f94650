"""The forward process as a layer: from clean clips to what the denoiser is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.process.predictions import Prediction, noise_label
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.solvers.bound_table import BoundTable
from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class ForwardDiffusion(SavedLayer):
    """Noises the unknown frames of a clip and says what the network should output: equations (1) and (6).

    The layer owns the noise schedule and serialises its parameters, not its arrays. All coefficients are computed in
    float64 and cast once.

    Args:
        schedule: a `NoiseSchedule` or its config, e.g. `{"name": "cosine", "num_timesteps": 1000}`.
        prediction: a `Prediction`, its config, or its name, e.g. "eps", "x0" or "v".
        learned_variance: append to the target what `HybridLoss` needs: x_0 and the variational bound's coefficients.

    Inputs: x_0 [batch, frames, height, width, channels] in [-1, 1]; eps, of its shape; timestep, int [batch, frames];
    known, bool [batch, frames]. Outputs: the denoiser's inputs `{"noisy_clip", "noise_label"}` and its target, of x_0's
    shape. Known frames are clean and labelled so.
    """

    def __init__(
        self,
        schedule: NoiseSchedule | Mapping[str, Any],
        prediction: Prediction | Mapping[str, Any] | str = "v",
        *,
        learned_variance: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.learned_variance = learned_variance
        self.schedule = schedule if isinstance(schedule, NoiseSchedule) else NoiseSchedule.from_config(schedule)
        if "name" not in self.schedule.config:  # Else a model would save, and never load.
            raise ValueError(
                "`schedule`: expected one from a function of `kvdiff.diffusion.schedules`, to be rebuilt. "
                f"Received: one with config {dict(self.schedule.config)}"
            )
        self.prediction = prediction if isinstance(prediction, Prediction) else Prediction.from_config(prediction)
        alpha, sigma = self.schedule.alpha, self.schedule.sigma
        row = self.prediction.preconditioning(alpha, sigma)
        p, q = self.prediction.target_coefficients(alpha, sigma)
        columns = (row.c_in * alpha, row.c_in * sigma, p, q, noise_label(alpha, sigma))
        self._table = np.stack(columns, axis=-1).astype(np.float32)  # [num_timesteps, 5]
        if learned_variance:
            bound = BoundTable.of(self.schedule)
            is_first = np.arange(self.schedule.num_timesteps) == 0
            columns = (bound.b, bound.log_var_min, bound.log_var_max, row.c_out, is_first)
            self._bound_table = np.stack(columns, axis=-1).astype(np.float32)  # [num_timesteps, NUM_COEFFICIENTS]

    def call(self, x_0: Any, eps: Any, timestep: Any, known: Any) -> tuple[dict[str, Any], Any]:
        """Noise `x_0`; see the class."""
        row = ops.take(ops.convert_to_tensor(self._table), timestep, axis=0)[:, :, None, None, None, :]
        signal, noise, p, q, label = (row[..., i] for i in range(5))
        noisy_clip = ops.where(known[:, :, None, None, None], x_0, signal * x_0 + noise * eps)
        label = ops.where(known, 0.0, label[:, :, 0, 0, 0])
        target = p * x_0 + q * eps
        if self.learned_variance:
            bound = ops.take(ops.convert_to_tensor(self._bound_table), timestep, axis=0)[:, :, None, None, :]
            target = ops.concatenate([target, x_0, bound + ops.zeros_like(x_0[..., :1])], axis=-1)
        return {"noisy_clip": noisy_clip, "noise_label": label}, target
