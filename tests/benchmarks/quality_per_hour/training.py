"""Training of one variant: so many steps, in a process of its own, that can be cut off and goes on."""

from __future__ import annotations

import pathlib
import time
from typing import Any

import keras
import numpy as np

import kvdiff
from kvdiff.training import ClipBatches, TrainingCheckpoint
from tests.benchmarks.quality_per_hour.digits import clips
from tests.benchmarks.quality_per_hour.variants import Variant

__all__ = ["train"]

_EPOCH = 100


class _Clock(keras.callbacks.Callback):
    """Counts processor time, over all runs of a training, and stops in good time for a limit on one run."""

    def __init__(self, report: Any) -> None:
        super().__init__()
        self.report, self.seconds = report, []

    def get_state(self) -> dict[str, Any]:
        return {"seconds": list(self.seconds)}

    def set_state(self, state: dict[str, Any]) -> None:
        self.seconds = list(state["seconds"])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.process_time() - self._began)
        self.report(f"epoch {epoch + 1}: loss {logs['loss']:.4f}, {self.seconds[-1]:.1f} s of processor time")


def train(
    variant: Variant, steps: int, folder: pathlib.Path, *, seed: int = 0, report: Any = print
) -> tuple[kvdiff.VideoDiffusion, float]:
    """Train `variant` for `steps` (rounded to hundreds): (the model with averaged weights, processor seconds)."""
    epochs = max(1, round(steps / _EPOCH))
    model = variant.build(epochs * _EPOCH, seed=seed)
    data, _ = clips(60_000, "train", seed=seed)
    batches = ClipBatches(data, variant.batch_size, steps_per_epoch=_EPOCH, seed=seed)
    clock = _Clock(report)
    checkpoint = TrainingCheckpoint(folder, batches, every=500, keep=1, callbacks=[clock])
    options: dict[str, Any] = dict(epochs=epochs, steps_per_epoch=_EPOCH, shuffle=False, verbose=0)
    model.fit(checkpoint.dataset(), callbacks=[clock, checkpoint], **options)
    return model, float(np.sum(clock.seconds))
