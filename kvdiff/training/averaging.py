"""Averaged weights: validated, kept and sampled with; training steps, and a further `fit`, have the raw ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np


def averages(optimizer: Any) -> list[Any]:
    """The optimizer's averages of the trainable variables, in their order; empty where it keeps none (yet)."""
    inner = _inner(optimizer)
    # Before the first update Keras' averages are 0.
    return _all_averages(optimizer) if int(keras.ops.convert_to_numpy(getattr(inner, "iterations", 0))) else []


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[keras.Model]:
    """Inside the block `model` has the averaged weights of an optimizer with `use_ema=True`, if it has one.

    Between epochs and after `fit` it has them anyway; this is for callbacks that sample in mid-epoch.

    ```python
    with kvdiff.training.averaged(model):
        model.generate(num_clips=4)
    ```
    """
    means = averages(model.optimizer)
    variables = model.trainable_variables[: len(means)]
    raw = _values(variables)
    try:
        _assign(variables, _values(means))
        yield model
    finally:
        _assign(variables, raw)


class RawWeights(keras.callbacks.Callback):
    """Gives the model its averaged weights wherever it is looked at, and its raw ones wherever it is trained.

    From the end of an epoch to the beginning of the next the model has the averages, so callbacks see what will sample;
    validation sees it too, and after `fit` the model has it, however that ends. The raw weights are kept in the host's
    memory meanwhile, and put back where training goes on, in the next epoch or in the next `fit`, unless the weights
    were changed in between. They are not part of a saved model; a `TrainingCheckpoint` has them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._raw: list[np.ndarray] = []  # Not empty: the model has the averages.
        self._is_training = False

    def on_train_begin(self, logs: Any = None) -> None:
        """Put the raw weights back; before the first update the average is the weights as they are."""
        self._put_back()
        if not averages(self.model.optimizer):
            means = _all_averages(self.model.optimizer)
            _assign(means, _values(self.model.trainable_variables[: len(means)]))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Put the raw weights back."""
        self._put_back()
        self._is_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show other callbacks what will sample."""
        self.deliver()

    def on_train_end(self, logs: Any = None) -> None:
        """Part what Keras on JAX leaves as one: the averages and the weights that have their values.

        `evaluate` gives the memory of the weights away, and with it would go the averages.
        """
        if keras.backend.backend() == "jax":
            means = _all_averages(self.model.optimizer)
            _assign(means, _values(means))

    def deliver(self) -> None:
        """Leave the averages in the model, where its training keeps some."""
        means = averages(self.model.optimizer) if self._is_training else []
        self._is_training = False
        if means:
            variables = self.model.trainable_variables
            self._raw = _values(variables)
            _assign(variables, _values(means))

    @contextlib.contextmanager
    def delivered(self) -> Iterator[None]:
        """Inside the block, in a training step or anywhere else, the model has the weights that it will sample with."""
        was_training, self._is_training = self._is_training, False
        try:
            with averaged(self.model) if was_training else contextlib.nullcontext():
                yield
        finally:
            self._is_training = was_training

    def values(self) -> dict[int, np.ndarray]:
        """By the `id` of its variable, each raw weight that the model does not have at the moment."""
        variables = self.model.trainable_variables
        return {id(v): raw for v, raw in zip(variables, self._raw, strict=True)} if self._can_be_put_back() else {}

    def _put_back(self) -> None:
        if self._can_be_put_back():
            _assign(self.model.trainable_variables, self._raw)
        self._raw = []

    def _can_be_put_back(self) -> bool:
        """Whether the model still has the averages that `deliver` left in it."""
        if not self._raw:
            return False
        pairs = list(zip(self.model.trainable_variables, averages(self.model.optimizer), strict=False))
        return bool(pairs) and all(_is_equal(variable, mean) for variable, mean in pairs)


def _inner(optimizer: Any) -> Any:
    return getattr(optimizer, "inner_optimizer", optimizer)  # Of a LossScaleOptimizer.


def _all_averages(optimizer: Any) -> list[Any]:
    inner = _inner(optimizer)
    return list(getattr(inner, "_model_variables_moving_average", ())) if getattr(inner, "use_ema", False) else []


def _is_equal(variable: Any, mean: Any) -> bool:
    return np.array_equal(keras.ops.convert_to_numpy(variable), keras.ops.convert_to_numpy(mean))


def _values(variables: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def _assign(variables: Any, values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
