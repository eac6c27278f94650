"""Muon with averaged weights whose average suits a training of any length."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kvdiff")
class AveragedMuon(keras.optimizers.Muon):
    """`keras.optimizers.Muon` (Jordan et al. 2024), which averages weights over a tenth of the training so far.

    Keras' average has one momentum from the first step on; in a short training much of it is then what the first steps
    left. Here `ema_momentum` is the most that the momentum grows to: after t steps it is at most t / (10 + t).
    """

    def __init__(self, learning_rate: Any = 4e-3, *, ema_momentum: float = 0.998, **kwargs: Any) -> None:
        super().__init__(learning_rate, **{"use_ema": True, **kwargs}, ema_momentum=ema_momentum)

    def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
        if not self.use_ema:
            return
        done = ops.cast(self.iterations, "float32")
        momentum = ops.minimum(self.ema_momentum, done / (10.0 + done))
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=False):
            if average is not None:
                share = ops.cast(momentum, variable.dtype)
                average.assign(share * average + (1 - share) * variable)
