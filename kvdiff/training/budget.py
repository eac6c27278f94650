"""A training of so many steps: a learning rate that ends with them, and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_count, check_real
from kvdiff.training.estimate import PROFILED, TrainingEstimate, in_words
from kvdiff.training.replicas import updates_done


@keras.saving.register_keras_serializable(package="kvdiff")
class Annealed(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up to `peak`, then a cosine to 0 at the last of `steps`.

    Unlike `keras.optimizers.schedules.CosineDecay`, its length may be set after the training step was traced, for it is
    known only once a step has been timed.

    Args:
        peak: the highest learning rate.
        warmup_steps: to get there; at most a quarter of all steps.
        steps: of the whole training.
    """

    def __init__(self, peak: float, warmup_steps: int = 100, steps: int = 1000) -> None:
        super().__init__()
        self.peak = check_real("peak", peak, above=0.0)
        self.warmup_steps = check_count("warmup_steps", warmup_steps, at_least=0)
        self._steps = keras.Variable(float(check_count("steps", steps)), trainable=False, dtype="float32")

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return round(float(ops.convert_to_numpy(self._steps)))  # `float` reads no variable that every replica has.

    @steps.setter
    def steps(self, steps: int) -> None:
        if keras.backend.backend() != "tensorflow":  # A compiled step elsewhere would go on with the old number.
            raise RuntimeError(f"Annealed.steps: expected Keras on TensorFlow. Received: {keras.backend.backend()}")
        self._steps.assign(float(check_count("steps", steps)))

    def __call__(self, step: Any) -> Any:
        """The rate at `step`."""
        steps, step = ops.convert_to_tensor(self._steps), ops.cast(step, "float32")
        warmup = ops.maximum(ops.minimum(float(self.warmup_steps), ops.floor(steps / 4.0)), 1.0)
        done = ops.clip((step - warmup) / ops.maximum(steps - warmup, 1.0), 0.0, 1.0)
        return self.peak * ops.minimum((step + 1.0) / warmup, 0.5 * (1.0 + ops.cos(np.pi * done)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "steps": self.steps}


class StepBudget(keras.callbacks.Callback):
    """Ends a training after so many steps, in the middle of an epoch if need be, and says how long it will take.

    After the first steps it says besides how much memory that takes: see `TrainingEstimate`.

    Args:
        steps: of the whole training, those before it was cut off included.
        report: called with a line of text every `every` seconds.
        every: seconds between lines.
    """

    def __init__(self, steps: int, report: Callable[[str], None], *, every: float = 60.0) -> None:
        super().__init__()
        self.steps, self.report = check_count("steps", steps), report
        self.every = check_real("every", every, above=0.0, closed=True)

    def on_train_begin(self, logs: Any = None) -> None:
        """Start the clock."""
        self._first, self._began = updates_done(self.model), time.monotonic()
        self._said, self._ends = self._began, [self._began]
        if self._first >= self.steps:
            self.model.stop_training = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Say how long it will take, and stop where it is time."""
        done, now = updates_done(self.model), time.monotonic()
        self._profile(now)
        if done >= self.steps:
            self.model.stop_training = True
        elif now - self._said >= self.every:
            self._said = now
            left = (now - self._began) / max(done - self._first, 1) * (self.steps - done)
            self.report(f"{done} of {self.steps} steps; about {in_words(left)} left.")

    def _profile(self, now: float) -> None:
        """Count the first steps, and say once what the training takes."""
        if len(self._ends) > 1 + PROFILED:
            return
        self._ends.append(now)
        if len(self._ends) == 2 + PROFILED:
            found, steps = TrainingEstimate.of(np.diff(self._ends).tolist()), self.steps - self._first
            self.report(f"{found} {steps} steps take about {in_words(found.seconds(steps))}.")
