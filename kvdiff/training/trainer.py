"""A Keras model whose `fit` trains on what `noised` makes of its data, on one device or on many."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from kvdiff.diffusion.checks import check_count
from kvdiff.layers.sample_dropout import dropout_keys
from kvdiff.training.averaging import RawWeights
from kvdiff.training.data_checks import FIRST_BATCHES, naming_the_batch, single_input
from kvdiff.training.nan_guard import FiniteLoss, finite_or_stop, naming_the_step
from kvdiff.training.replicas import sample_numbers


class DiffusionTrainer(keras.Model):
    """`compile`, `fit` and `evaluate` for a diffusion model; subclasses say what a training example is.

    A step's update is that of the global batch, however it is spread: over replicas of `tf.distribute`, over machines
    or over `micro_batches`. Gradients are summed over all samples before the optimizer clips them, looks for an
    overflow, or averages weights.
    """

    seed: int
    train_function: Any
    test_function: Any
    micro_batches = 1
    _batches_seen = 0

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._raw_weights = RawWeights()

    def noised(self, data: Any, training_step: Any, *, samples: Any = None) -> tuple[dict[str, Any], Any, Any]:
        """From a batch of data to the network's inputs, the target and the loss weight, samples on axis 0.

        `training_step` and `samples`, the samples' numbers in the global batch, decide the noise.
        """
        raise NotImplementedError

    def blank_batch(self) -> Any:
        """Data of one sample that means nothing, but is data to train on."""
        raise NotImplementedError

    def check_batch(self, data: Any) -> None:
        """Raise ValueError where a batch of data, at hand outside of a graph, is none to train on."""
        raise NotImplementedError

    def note_batch(self, data: Any) -> None:
        """Warn of what is odd in the first batch of data, at hand outside of a graph; nothing by default."""

    def in_data(self, inputs: Any, output: Any) -> Any:
        """Of a target or a prediction what the loss is of; all by default."""
        return output

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """As in Keras, of what is in the data: neither missing numbers nor padding count, or have a gradient."""
        return super().compute_loss(x, self.in_data(x, y), self.in_data(x, y_pred), sample_weight, training)

    def compile(self, optimizer: Any = None, loss: Any = None, *, micro_batches: int = 1, **kwargs: Any) -> None:
        """As in Keras, and `micro_batches`: the number of parts in which a replica computes its batch.

        Gradients are accumulated over the parts before one update, so only memory and time depend on it. A network in
        float16 gets a loss scale; a step that overflows anywhere is skipped everywhere.
        """
        self.micro_batches = check_count("micro_batches", micro_batches)
        if micro_batches > 1 and keras.backend.backend() != "tensorflow":
            raise ValueError(f"`micro_batches`: expected 1 on {keras.backend.backend()}. Received: {micro_batches}")
        optimizer = _found("optimizer", keras.optimizers.get, optimizer)
        _check_accumulation(optimizer)
        _check_loss(loss)
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        if kwargs.get("auto_scale_loss", True) and not scaled and self._is_float16():
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        check_count("steps_per_execution", kwargs.get("steps_per_execution", 1))
        if kwargs.get("jit_compile", "auto") not in (True, False, "auto"):
            raise TypeError(f'`jit_compile`: expected True, False or "auto". Received: {kwargs["jit_compile"]!r}')
        super().compile(optimizer=optimizer, loss=loss, **kwargs)

    def _is_float16(self) -> bool:
        """Whether any layer is: Keras looks at the model's own policy alone, and a network may have another."""
        return any(layer.compute_dtype == "float16" for layer in self._flatten_layers())

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *args: Any,
        callbacks: Any = None,
        validation_data: Any = None,
        class_weight: Any = None,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """As in Keras, where `x` are clips and `y` their conditions, and with averages, where the optimizer keeps some.

        Validation, callbacks at the end of an epoch and all that comes after `fit`, even after Ctrl-C, have the
        averaged weights; training steps have the raw ones, and so does a further `fit`.

        `sample_weight` is [clips] or [clips, frames]; a data set holds it: (clips, conditions or {}, weights).
        Callbacks are closed at the end, however it comes, where they have a method `close`.

        Raises:
            FloatingPointError: the gradients of an update are not finite. It was not applied.
            RuntimeError: Keras computes with neither TensorFlow nor JAX.
            TypeError, ValueError: data that is none to train on: its type, shape, range or NaN.
        """
        if keras.backend.backend() not in ("tensorflow", "jax"):
            raise RuntimeError(f"fit: expected Keras on TensorFlow or JAX. Received: {keras.backend.backend()}")
        guards = [FiniteLoss()] if self.jit_compile else []
        callbacks = [self._raw_weights, *guards, *keras.tree.flatten(callbacks or [])]
        x, y, sample_weight, class_weight = single_input(x, y, sample_weight, class_weight)
        if isinstance(validation_data, (tuple, list)) and len(validation_data) == 3:
            validation_data = single_input(*validation_data)[:3]
        weights = dict(class_weight=class_weight, sample_weight=sample_weight)
        self._batches_seen = 0
        try:
            with naming_the_step(self), naming_the_batch(self):
                return super().fit(
                    x, y, *args, callbacks=callbacks, validation_data=validation_data, **weights, **kwargs
                )
        finally:
            self._raw_weights.deliver()
            for callback in callbacks:
                getattr(callback, "close", lambda: None)()

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, sample_weight: Any = None, **kwargs: Any) -> Any:
        """As in Keras, with the weights that the model samples with, in the middle of an epoch too."""
        x, y, sample_weight, _ = single_input(x, y, sample_weight)
        with self._raw_weights.delivered(), naming_the_batch(self, "evaluation"):
            return super().evaluate(x, y, *args, sample_weight=sample_weight, **kwargs)

    def save(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras, with the weights that the model samples with, in the middle of an epoch too."""
        with self._raw_weights.delivered():
            return super().save(*args, **kwargs)

    def save_weights(self, *args: Any, **kwargs: Any) -> Any:
        """As `save`."""
        with self._raw_weights.delivered():
            return super().save_weights(*args, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as the saved model was, optimizer state included."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def get_compile_config(self) -> dict[str, Any]:
        """The arguments of `compile`; nothing of a model that was not compiled."""
        return {**super().get_compile_config(), "micro_batches": self.micro_batches} if self.compiled else {}

    def train_step(self, *args: Any) -> Any:
        """One update; on JAX `args` are Keras' state and the data, elsewhere the data alone."""
        if keras.backend.backend() != "tensorflow":
            return self._train_step_of_keras(*args)
        from kvdiff.training.update import mean_gradients

        samples = sample_numbers(_count(args[0]))
        batch = self.noised(args[0], self.optimizer.iterations, samples=samples)
        gradients = mean_gradients(self, (*batch, samples), self.micro_batches)
        with finite_or_stop(gradients, self.optimizer):
            self.optimizer.apply(gradients, self.trainable_variables)
        return self.get_metrics_result()

    def _train_step_of_keras(self, state: Any, data: Any) -> Any:
        """Keras' own step on JAX; the number of updates is in `state`, where tracing sees it change."""
        numbers = [variable is self.optimizer.iterations for variable in self.optimizer.variables]
        step, samples = state[2][numbers.index(True)], sample_numbers(_count(data))
        with self._reading(state):
            noised = self.noised(data, step, samples=samples)
        with dropout_keys(self.seed, step, samples):
            return super().train_step(state, noised)

    def test_step(self, *args: Any) -> Any:
        """The training loss with the noise of step 0 for every batch, so that epochs compare."""
        *state, data = args
        with self._reading(*state) if state else contextlib.nullcontext():
            batch = self.noised(data, 0)
        return super().test_step(*state, batch)

    def _reading(self, state: Any) -> Any:
        """A block in which variables, such as a codec's, have the values of Keras' state on JAX."""
        variables = [*self.trainable_variables, *self.non_trainable_variables]
        return keras.StatelessScope(state_mapping=list(zip(variables, [*state[0], *state[1]], strict=True)))

    def weighted_loss(self, inputs: Any, target: Any, weight: Any) -> Any:
        """The mean loss of a training batch, a scalar; updates the metrics."""
        import tensorflow as tf

        output = self(inputs, training=True)
        loss = self.compute_loss(x=inputs, y=target, y_pred=output, sample_weight=weight, training=True)
        loss *= tf.distribute.get_strategy().num_replicas_in_sync  # Keras divides by it.
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(target)[0])
        self.compute_metrics(inputs, target, output, sample_weight=weight)
        return loss

    def _make_function(self, step_function: Any, **kwargs: Any) -> Any:
        """Keras', but for a single step: in TensorFlow the iterator is asked outside of the graph.

        Keras puts the step's function into another one that asks it, so that a step's graph is copied and rewritten
        with one more of its kind around it: a fifth of the time to the first step.
        """
        function = super()._make_function(step_function, **kwargs)
        if keras.backend.backend() != "tensorflow":
            return lambda state, iterator: function(state, map(self._seen, iterator))
        if self.steps_per_execution > 1:
            return function
        return lambda iterator: function(iter([self._seen(next(iterator))]))

    def _seen(self, data: Any) -> Any:
        """`data`; the first batches are looked at here, where the graph cannot look at them."""
        if self._batches_seen == 0:
            self.note_batch(data)
        if self._batches_seen < FIRST_BATCHES:
            self._batches_seen += 1
            if self.jit_compile or keras.backend.backend() != "tensorflow":
                self.check_batch(data)
        return data

    # What Keras cannot do under `tf.distribute`.

    def make_train_function(self, force: bool = False) -> Any:
        """The function that `fit` and `train_on_batch` call."""
        if getattr(self, "_distribute_strategy", None) is None:
            metrics = self._compile_metrics
            if not self.optimizer.built or (metrics is not None and not metrics.built):
                # Not in the first step's graph, which may be given up; and one that makes variables is traced twice.
                self._symbolic_build()
            return super().make_train_function(force)
        from kvdiff.training.update import distributed_function, leave_reduction_to_us

        if self.train_function is None or force:
            leave_reduction_to_us(self.optimizer)
            self.train_function = distributed_function(self, self.train_step)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        """The function that `evaluate` calls."""
        if getattr(self, "_distribute_strategy", None) is None:
            return super().make_test_function(force)
        from kvdiff.training.update import distributed_function

        if self.test_function is None or force:
            self.test_function = distributed_function(self, self.test_step)
        return self.test_function

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Keep Keras from taking (and losing) the first batch of data to see it."""
        if self._distribute_strategy is not None:
            with self._distribute_strategy.scope():
                self._symbolic_build()

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Build loss, metrics and optimizer from what `noised` makes, not from raw data."""
        batch = self.noised(self.blank_batch(), 0)
        loss = self._compile_loss
        if self._compile_metrics is None and loss is not None and not loss.built:
            loss.build(batch[1], batch[1])  # Keras would trace the whole network to see what it returns.
        super()._symbolic_build(data_batch=batch)


def _count(data: Any) -> Any:
    """How many samples a batch of data holds."""
    return ops.shape(keras.tree.flatten(data)[0])[0]


def _check_accumulation(optimizer: Any) -> None:
    """Refuse Keras' own accumulation: it averages weights between updates, and cannot train on replicas."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if steps := getattr(inner, "gradient_accumulation_steps", None):
        raise ValueError(
            "`optimizer`: expected no `gradient_accumulation_steps`; use `compile(…, micro_batches=…)` with a batch "
            f"so many times larger. Received: {steps}"
        )


def _check_loss(loss: Any) -> None:
    """Refuse what is no loss, and what is no mean over samples and so would depend on how they are spread."""
    if isinstance(loss, (list, tuple, Mapping)):
        raise TypeError(f"`loss`: expected one loss, for the model has one output. Received: {loss!r}")
    reduction = getattr(_found("loss", keras.losses.get, loss), "reduction", "mean")
    if reduction not in ("mean", "sum_over_batch_size"):
        raise ValueError(f"`loss`: expected the reduction 'sum_over_batch_size'. Received: {reduction!r}")


def _found(name: str, find: Callable[[Any], Any], choice: Any) -> Any:
    """What `find` makes of a name, a configuration or an object of Keras'."""
    try:
        return find(choice)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}`: expected a name that Keras knows, or such an object. Received: {choice!r}"
        ) from error
