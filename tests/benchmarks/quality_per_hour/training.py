"""Training of one variant: so many steps, in a process of its own, that can be cut off and goes on."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import kvdiff
from kvdiff.training import ClipBatches, TrainingCheckpoint
from tests.benchmarks.quality_per_hour.digits import clips
from tests.benchmarks.quality_per_hour.variants import Variant

__all__ = ["ProcessorClock", "steps_in", "train"]

_EPOCH = 100
_TIMED = 12


class ProcessorClock(keras.callbacks.Callback):
    """Counts a training's processor time, over all of its runs."""

    def __init__(self, report: Callable[[str], None]) -> None:
        super().__init__()
        self.report = report
        self.seconds: list[float] = []

    def get_state(self) -> dict[str, Any]:
        return {"seconds": list(self.seconds)}

    def set_state(self, state: dict[str, Any]) -> None:
        self.seconds = list(state["seconds"])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.process_time() - self._began)
        self.report(f"epoch {epoch + 1}: loss {logs['loss']:.4f}, {self.seconds[-1]:.1f} s of processor time")


def steps_in(variant: Variant, minutes: float) -> int:
    """How many training steps take so many minutes of processor time, in hundreds; measured, compilation left out."""
    model = variant.build(_EPOCH)
    batch, seconds = clips(variant.batch_size, "train")[0], []
    for _ in range(_TIMED):
        began = time.process_time()
        model.train_on_batch(batch)
        seconds.append(time.process_time() - began)
    return max(1, round(60.0 * minutes / float(np.median(seconds)) / _EPOCH)) * _EPOCH


def train(
    variant: Variant, steps: int, folder: pathlib.Path, *, seed: int = 0, report: Callable[[str], None] = print
) -> tuple[kvdiff.VideoDiffusion, float]:
    """Train `variant` for `steps` (rounded to hundreds): (the model with averaged weights, processor seconds)."""
    epochs = max(1, round(steps / _EPOCH))
    model = variant.build(epochs * _EPOCH, seed=seed)
    data, _ = clips(60_000, "train", seed=seed)
    batches = ClipBatches(data, variant.batch_size, steps_per_epoch=_EPOCH, seed=seed)
    clock = ProcessorClock(report)
    checkpoint = TrainingCheckpoint(folder, batches, every=500, keep=1, callbacks=[clock])
    options: dict[str, Any] = dict(epochs=epochs, steps_per_epoch=_EPOCH, shuffle=False, verbose=0)
    model.fit(checkpoint.dataset(), callbacks=[clock, checkpoint], **options)
    return model, float(np.sum(clock.seconds))
