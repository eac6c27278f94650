"""What a training takes, by its first steps: time and memory, before it is begun or as it begins."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_count
from kvdiff.training.run_record import peak_memory_mib

PROFILED = 10
"""Steps that are timed, after the first, which is traced."""


@dataclasses.dataclass(frozen=True)
class TrainingEstimate:
    """What a training takes; `print` says it.

    Attributes:
        first_step: seconds of the first step, in which the network is traced.
        step: seconds of each step after it.
        memory_mib: the most memory that the process has had: of the first GPU where there is one, else main memory;
            NaN where the system does not say.
    """

    first_step: float
    step: float
    memory_mib: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> TrainingEstimate:
        """By the seconds of the first steps of this process."""
        return cls(seconds[0], float(np.median(seconds[1:])), peak_memory_mib())

    def seconds(self, steps: int) -> float:
        """Of a whole training of so many steps."""
        return self.first_step + (check_count("steps", steps) - 1) * self.step

    def steps(self, seconds: float) -> int:
        """How many steps a training of so many seconds has; at least 1."""
        return 1 + max(int((seconds - self.first_step) / self.step), 0)

    def __str__(self) -> str:
        memory = f", and {self.memory_mib / 1024:.1f} GiB of memory" if np.isfinite(self.memory_mib) else ""
        return f"A step takes {self.step:.2g} s after a first one of {self.first_step:.2g} s{memory}."


def estimate_training(model: keras.Model, batch: Any, *, steps: int = PROFILED) -> TrainingEstimate:
    """Time some steps of training on `batch`; the compiled model is as before.

    The step stays traced, so that `fit` need not trace it again. The memory is the process' peak so far, so an estimate
    wants a process in which nothing larger was computed.

    Args:
        model: a compiled model, on one device.
        batch: as `fit` takes it: for a `VideoDiffusion` clips, and their conditions.
        steps: to time, after a first one.

    Raises:
        ValueError: a model that is not compiled.
    """
    check_count("steps", steps)
    if not getattr(model, "compiled", False):
        raise ValueError("`model`: expected a compiled Keras model. Received: one that is not, or another object")
    model.optimizer.build(model.trainable_variables)  # Else its moments would be made by the first step, and stay.
    variables = [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]
    before = [ops.convert_to_numpy(variable) for variable in variables]
    seconds = []
    for _ in range(1 + steps):
        began = time.perf_counter()
        model.train_on_batch(*(batch if isinstance(batch, tuple) else (batch,)))
        seconds.append(time.perf_counter() - began)
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    return TrainingEstimate.of(seconds)


def in_words(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{round(seconds)} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
