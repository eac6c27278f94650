"""The hybrid loss that learns the sampler's variance, with TensorFlow Probability's distributions."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kvdiff.diffusion.checks import check_count, check_real
from kvdiff.diffusion.transforms.pixels import HALF_RANGE, levels

NUM_COEFFICIENTS = 5
"""b, log_var_min, log_var_max, c_out and whether it is timestep 0: the last channels of the target."""


@keras.saving.register_keras_serializable(package="kvdiff")
class HybridLoss(keras.losses.Loss):
    """|F - F*|² + lambda T L_vlb (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 16), in bits as published.

    L_vlb is the term of the variational bound at the drawn timestep: the divergence of the sampler's step from the
    posterior, or at timestep 0 the discretised likelihood of the pixels. It trains the variance alone: the predicted
    mean enters it behind a stop-gradient.

    Args:
        num_timesteps: T of the noise schedule.
        vlb_weight: lambda.

    The target holds F* and x_0 (C channels each) and the `NUM_COEFFICIENTS` columns of a `BoundTable`; the prediction
    holds F and the variance's share (C channels each). Keras weights and averages the result, [batch, frames, height,
    width].
    """

    def __init__(self, num_timesteps: int, *, vlb_weight: float = 0.001, name: str = "hybrid", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.num_timesteps = check_count("num_timesteps", num_timesteps)
        self.vlb_weight = check_real("vlb_weight", vlb_weight, above=0.0, closed=True)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of every pixel, mean over channels."""
        channels = y_pred.shape[-1] // 2
        target, x_0 = y_true[..., :channels], y_true[..., channels : 2 * channels]
        row = [y_true[..., 2 * channels + i, None] for i in range(NUM_COEFFICIENTS)]
        raw, share = y_pred[..., :channels], y_pred[..., channels:]
        simple = ops.mean(ops.square(raw - target), axis=-1)
        bound = self._bound_bits(x_0, ops.stop_gradient(raw) - target, 0.5 * (share + 1.0), row)
        return simple + self.vlb_weight * self.num_timesteps * ops.mean(bound, axis=-1)

    def _bound_bits(self, x_0: Any, raw_error: Any, share: Any, row: list[Any]) -> Any:
        from tensorflow_probability import distributions as tfd

        b, log_var_min, log_var_max, c_out, is_first = row
        log_var = share * log_var_max + (1.0 - share) * log_var_min
        error = c_out * raw_error  # D - x_0, because both are c_skip x_t + c_out F.
        std = ops.exp(0.5 * log_var)
        posterior = tfd.Normal(ops.zeros_like(error), ops.exp(0.5 * log_var_min) + 0.0 * error)
        divergence = tfd.kl_divergence(posterior, tfd.Normal(b * error, std))
        # Pixels are the integers 0 … 255; each owns the interval of half a step around it.
        # `QuantizedDistribution` gives integer k the interval (k - 1, k], so the mean moves by half a step down.
        decoder = tfd.Normal(levels(x_0 + error) - 0.5, HALF_RANGE * std)
        pixels = ops.round(levels(x_0))
        likelihood = tfd.QuantizedDistribution(decoder, low=0.0, high=255.0).log_prob(pixels)
        return ops.where(is_first > 0.5, -likelihood, divergence) / math.log(2.0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        arguments = {"num_timesteps": self.num_timesteps, "vlb_weight": self.vlb_weight}
        return {**super().get_config(), **arguments}
