"""The record of a training: what was run, on what, with which result, and how fast."""

from __future__ import annotations

import csv
import io
import os
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import keras

from kvdiff.diffusion.checks import check_count
from kvdiff.media import write_bytes
from kvdiff.system.environment import machine
from kvdiff.training.environment import arithmetic, warning_if_unwritten, write_json
from kvdiff.training.replicas import updates_done


class Throughput(keras.callbacks.Callback):
    """Adds `seconds`, `clips_per_second` and `peak_memory_mib` of the process to every epoch's logs.

    Callbacks after it see them: the progress bar, `RunRecord`, `keras.callbacks.TensorBoard`. Seconds are those of
    training steps alone, without validation and other callbacks at the epoch's end, and in an epoch that went on after
    a crash those before it too, where a `TrainingCheckpoint` has this callback.

    Args:
        batch_size: clips a step, on all devices together.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = check_count("batch_size", batch_size)
        self._began = self._now = 0.0
        self._before = (0.0, 0)  # Seconds and steps of this epoch before the training was cut off.
        self._steps = 0

    def get_state(self) -> dict[str, Any]:
        """Seconds and steps of the epoch so far."""
        return {"seconds": self._seconds(), "steps": self._before[1] + self._steps}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on counting from there."""
        self._before = (state["seconds"], state["steps"])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._before, self._steps = (0.0, 0), 0
        self._began = self._now = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the step."""
        self._steps, self._now = batch + 1, time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add to the logs."""
        if logs is not None:
            seconds = self._seconds()
            clips = (self._before[1] + self._steps) * self.batch_size
            logs.update(seconds=seconds, clips_per_second=clips / seconds, peak_memory_mib=peak_memory_mib())

    def _seconds(self) -> float:
        return self._before[0] + self._now - self._began


class RunRecord(keras.callbacks.Callback):
    """Writes `config.json`, `environment.json` and `metrics.csv`, a row an epoch, into a folder.

    In a `TrainingCheckpoint` too, it keeps one row an epoch however often the training was cut off. A row that
    cannot be written, on a full disk for example, is warned of, and written with the next.

    Args:
        folder: created if need be.
        **config: what else decided the training, JSON-able, for `config.json`; model and optimizer are there anyway.

    Attributes:
        rows: the logs of every epoch, with its number as "epoch" and the updates so far as "step".
    """

    def __init__(self, folder: str | os.PathLike[str], **config: Any) -> None:
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.config = config
        self.rows: list[dict[str, Any]] = []

    def get_state(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def set_state(self, state: dict[str, Any]) -> None:
        """Forget rows of epochs that were cut off before they were saved."""
        self.rows = [dict(row) for row in state["rows"]]

    def on_train_begin(self, logs: Any = None) -> None:
        """Write what is known from the start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        model = {
            "model": self.model.get_config(),
            "optimizer": keras.saving.serialize_keras_object(self.model.optimizer),
        }
        write_json(self.folder / "config.json", {**self.config, "fit": self.params, **model})
        write_json(self.folder / "environment.json", {"machine": machine(), "arithmetic": arithmetic()})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write `metrics.csv` with this epoch's row."""
        row = {"epoch": epoch + 1, "step": updates_done(self.model)}
        self.rows.append({**row, **{name: float(value) for name, value in (logs or {}).items()}})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        with warning_if_unwritten(f"row of metrics for epoch {epoch + 1}"):
            write_bytes(self.folder / "metrics.csv", text.getvalue().encode())


def peak_memory_mib() -> float:
    """The most memory that this process has had: of the first GPU where there is one, else in main memory."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if tf.config.list_logical_devices("GPU"):
            return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    try:
        import resource
    except ImportError:  # Windows.
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
