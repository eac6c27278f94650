"""Averaged weights: sampling with them while training goes on, and training on from the raw ones after `fit`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

__all__ = ["RawWeights", "averaged", "averages"]


def averages(optimizer: Any) -> list[Any]:
    """The optimizer's averages of the trainable variables, in their order; empty where it keeps none (yet)."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # Of a LossScaleOptimizer.
    return list(getattr(inner, "_model_variables_moving_average", ())) if getattr(inner, "use_ema", False) else []


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[keras.Model]:
    """Inside the block `model` has the averaged weights of an optimizer with `use_ema=True`, if it has one.

    ```python
    with kvdiff.training.averaged(model):
        model.generate(num_clips=4)
    ```
    """
    means = averages(model.optimizer)
    variables = model.trainable_variables[: len(means)]
    raw = [keras.ops.convert_to_numpy(variable) for variable in variables]
    try:
        for variable, mean in zip(variables, means, strict=True):
            variable.assign(keras.ops.convert_to_numpy(mean))
        yield model
    finally:
        for variable, value in zip(variables, raw, strict=True):
            variable.assign(value)


class RawWeights(keras.callbacks.Callback):
    """Lets a further `fit` go on from the raw weights.

    Keras overwrites the weights with their averages when `fit` ends, which is what to sample with, but a training that
    goes on from there is another one. This callback keeps the raw weights of the last epoch's end, in the host's
    memory, and puts them back when the next `fit` begins, unless the weights were changed in between. They are not part
    of a saved model; a `TrainingCheckpoint` has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._raw: list[np.ndarray] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Put the raw weights back where the model still has the averages."""
        means, variables = averages(self.model.optimizer), self.model.trainable_variables
        pairs = list(zip(variables, means, strict=False))
        if self._raw and pairs and all(_equal(variable, mean) for variable, mean in pairs):
            for variable, value in zip(variables, self._raw, strict=True):
                variable.assign(value)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the weights as they are before Keras overwrites them."""
        if averages(self.model.optimizer):
            self._raw = [keras.ops.convert_to_numpy(variable) for variable in self.model.trainable_variables]


def _equal(variable: Any, mean: Any) -> bool:
    return np.array_equal(keras.ops.convert_to_numpy(variable), keras.ops.convert_to_numpy(mean))
