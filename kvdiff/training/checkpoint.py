"""Exact resume: a training that was killed goes on as if nothing had happened, bit for bit."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kvdiff.diffusion.checks import check_count
from kvdiff.training.callback_state import get_state, pack, set_state, unpack
from kvdiff.training.checkpoint_file import TrainingState
from kvdiff.training.checkpoint_folder import CheckpointFolder
from kvdiff.training.cluster import num_workers
from kvdiff.training.environment import arithmetic
from kvdiff.training.interruption import Interruption

__all__ = ["TrainingCheckpoint"]

_EPOCH_IS_OVER = object()
"""What `model.stop_training` holds when an epoch that was resumed half-way is over: true, yet nobody's wish to stop."""


class TrainingCheckpoint(keras.callbacks.Callback):
    """Saves everything the next training step depends on, and goes on from there.

    ```python
    batches = kvdiff.training.ClipBatches(clips, 16)
    checkpoint = kvdiff.training.TrainingCheckpoint("runs/mine/checkpoints", batches)
    model.fit(checkpoint.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=50, callbacks=[checkpoint])
    ```

    The same program, run again after a crash, goes on at the step of the newest whole checkpoint; every later loss and
    weight is the one that the uninterrupted run would have had, on the same machine with the same number of threads.
    Saved are all variables of model, optimizer (averages and loss scale among them) and metrics, the place in the data,
    and the state of `callbacks`. A checkpoint appears whole or not at all; a damaged one is passed over with a warning.

    SIGTERM and Ctrl-C are heeded after the step at hand: the training is saved, and the process ends with exit code 0
    after SIGTERM, with `KeyboardInterrupt` after Ctrl-C. A second signal acts at once. Of several workers (`TF_CONFIG`)
    none waits for a step to end: the training goes on from the newest checkpoint.

    Args:
        directory: of the checkpoints, for one training at a time.
        batches: the data: a `ClipBatches`, or another object with its `config`, `steps_per_epoch` and `dataset`.
        every: steps between checkpoints; by default an epoch's. The last step of `fit` is always saved.
        keep: how many checkpoints stay.
        callbacks: those of `fit`'s other callbacks that remember something between epochs, such as `EarlyStopping`.
            Give them to `fit` too, before this one.
        resume: False removes the checkpoints that are there, to begin anew.
        writes: False on every worker of several but the first: it goes on from the same checkpoints and writes none.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        batches: Any,
        *,
        every: int | None = None,
        keep: int = 3,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        resume: bool = True,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self.batches = batches
        self.every = batches.steps_per_epoch if every is None else check_count("every", every)
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            get_state(callback)  # Refuses, here and not in the first save.
        self.writes = writes
        self._folder = CheckpointFolder(directory, keep=keep)
        self._interruption = Interruption()
        self._data = json.loads(json.dumps(batches.config))
        self._state: TrainingState | None = None  # The one to go on from.
        self._is_open = False
        self._dataset_step: int | None = None
        self._start = self._epoch = self._first_batch = 0
        self._optimizer: dict[str, Any] = {}
        self._open(anew=not resume)

    @property
    def step(self) -> int:
        """How many training steps are done where `fit` begins: 0, or those of the newest checkpoint."""
        self._open()
        return self._start

    def dataset(self) -> Any:
        """The data for `fit`, beginning where the training goes on."""
        self._dataset_step = self.step
        return self.batches.dataset(self._dataset_step)

    def close(self) -> None:
        """Let other trainings use the directory, and leave signals alone. `VideoDiffusion.fit` calls it at its end."""
        self._interruption.restore()
        if self.model is not None:
            self.model._initial_epoch = None
        self._state, self._is_open, self._dataset_step = None, False, None
        self._folder.unlock()

    # What `fit` calls.

    def on_train_begin(self, logs: Any = None) -> None:
        """Put back the state of the newest checkpoint."""
        self._check_use()
        self._build()
        self._optimizer = json.loads(json.dumps(keras.saving.serialize_keras_object(self.model.optimizer)))
        if self._state is not None:
            self._check_state(self._state)
            self._put_back(self._state)
            ended = self._state.facts["ended"] == self.params["epochs"]  # A callback has stopped the same training.
            # As keras.callbacks.BackupAndRestore does.
            self.model._initial_epoch = self.params["epochs"] if ended else self._state.facts["epoch"]
        if num_workers() == 1:  # Several do not hear a signal at the same step, and would wait for each other.
            self._interruption.listen()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """In an epoch to go on with, put the state back once more: `fit` and other callbacks have begun it afresh."""
        self._epoch, self._first_batch = epoch, 0
        if self._state is not None and self._state.facts["batch"]:
            self._put_back(self._state)
            self._first_batch = self._state.facts["batch"]
        self._state = self.model._initial_epoch = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save where it is time; end an epoch that did not begin at its first batch."""
        done = self._first_batch + batch + 1
        if done >= self.batches.steps_per_epoch:  # `on_epoch_end` saves, after other callbacks and validation.
            if self._first_batch and not self.model.stop_training:
                self.model.stop_training = _EPOCH_IS_OVER
        elif self._interruption.received or self._step(done) % self.every == 0:
            self._save(self._epoch, done)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save where it is time."""
        if self.model.stop_training is _EPOCH_IS_OVER:
            self.model.stop_training = False
        self._epoch, self._first_batch = epoch + 1, 0
        is_last = self.model.stop_training or epoch + 1 == self.params["epochs"]
        if is_last or self._interruption.received or self._step(0) % self.every == 0:
            self._save(epoch + 1, 0, required=is_last)

    def on_train_end(self, logs: Any = None) -> None:
        """Release the directory."""
        self.close()

    # What is saved.

    def _save(self, epoch: int, batch: int, *, required: bool = False) -> None:
        """Write a checkpoint, then leave if a signal asks for it.

        Where the disk is full, training goes on with a warning: the checkpoints before are still there.
        """
        state = self._gathered(epoch, batch)  # On every worker: reading a metric may need them all.
        received = self._interruption.received
        try:
            if self.writes:
                self._folder.save(self._step(batch), state)
        except OSError as error:
            if required or received:
                raise
            warnings.warn(f"no checkpoint of step {self._step(batch)}, training goes on: {error}", stacklevel=2)
        if received:
            print(f"\n{received.name}: saved training step {self._step(batch)}.", file=sys.stderr, flush=True)
            self._interruption.leave()

    def _gathered(self, epoch: int, batch: int) -> TrainingState:
        arrays = {name: keras.ops.convert_to_numpy(variable) for name, variable in self._variables().items()}
        bad = [name for name, array in arrays.items() if name.startswith("model/") and not _is_finite(array)]
        if bad:
            raise FloatingPointError(f"training step {self._step(batch)}: {bad[0]} is not finite; not saved")
        states = [pack(get_state(callback), arrays, f"callback/{i}") for i, callback in enumerate(self.callbacks)]
        facts = {
            "step": self._step(batch),
            "epoch": epoch,
            "batch": batch,
            "ended": self.params["epochs"] if self.model.stop_training else None,
            "data": self._data,
            "model": _comparable(self.model.get_config()),
            "optimizer": self._optimizer,
            "arithmetic": arithmetic(),
            "callbacks": [{"class": type(c).__name__, "state": s} for c, s in zip(self.callbacks, states, strict=True)],
        }
        return TrainingState(arrays, facts)

    def _variables(self) -> dict[str, Any]:
        """Every variable by a name that is the same in each run."""
        model = self.model
        owners = {"model": model.variables, "optimizer": model.optimizer.variables, "metric": model.metrics_variables}
        if hasattr(model, "timestep_draw"):
            owners["timestep_draw"] = model.timestep_draw.variables
        return {f"{who}/{i:04d}": variable for who, owned in owners.items() for i, variable in enumerate(owned)}

    def _step(self, batch: int) -> int:
        return self._epoch * self.batches.steps_per_epoch + batch

    # What is put back.

    def _open(self, *, anew: bool = False) -> None:
        """Take hold of the directory, and read where the training goes on."""
        if self._is_open:
            return
        if self.writes:
            self._folder.lock()
            if anew:
                self._folder.clear()
        try:
            found = None if anew else self._folder.newest()  # Another worker may still be at clearing it.
            if found and found[1].facts["data"] != self._data:
                raise ValueError(
                    f"`batches`: expected those of {found[0]}, {found[1].facts['data']}. Received: {self._data}"
                )
        except BaseException:
            self._folder.unlock()
            raise
        self._state = found[1] if found else None
        self._start = self._state.facts["step"] if self._state else 0
        self._is_open = True

    def _check_use(self) -> None:
        """Refuse a `fit` that would not go on where the checkpoint ends."""
        if self._dataset_step != self.step:
            raise ValueError(
                f"`x`: expected `checkpoint.dataset()`, which begins at step {self.step}, made for this `fit`"
            )
        steps, expected = self.params["steps"], self.batches.steps_per_epoch
        if steps != expected:
            raise ValueError(f"`steps_per_epoch`: expected {expected}, that of the batches. Received: {steps}")
        together = self.model.steps_per_execution
        if expected % together or self.every % together:
            raise ValueError(
                f"`steps_per_execution`: expected a divisor of {expected} and {self.every}. Received: {together}"
            )
        for callback in self.callbacks:
            if callback.model is not self.model:
                raise ValueError(f"`callbacks`: expected callbacks that `fit` has too. Received: {callback!r}")

    def _check_state(self, state: TrainingState) -> None:
        """Refuse a checkpoint of another model; warn of what changes the rest of the training."""
        facts, variables = state.facts, self._variables()
        expected = {name: (list(v.shape), keras.backend.standardize_dtype(v.dtype)) for name, v in variables.items()}
        saved = {
            name: (list(a.shape), a.dtype.name) for name, a in state.arrays.items() if not name.startswith("callback")
        }
        changed = [name for name in {**expected, **saved} if expected.get(name) != saved.get(name)]
        changed += _differences("", facts["model"], _comparable(self.model.get_config()))
        if [entry["class"] for entry in facts["callbacks"]] != [type(c).__name__ for c in self.callbacks]:
            changed.append("callbacks")
        if changed:
            raise ValueError(
                f"{self._folder.folder}: expected a checkpoint of this model and optimizer. "
                f"Received: one with another {', '.join(changed[:5])}"
            )
        for what, now in (("optimizer", self._optimizer), ("arithmetic", arithmetic())):
            if names := _differences("", facts[what], now):
                text = f"going on with another {what} ({', '.join(names)}): the rest of the training may differ"
                warnings.warn(text, stacklevel=2)

    def _build(self) -> None:
        """Make the variables that Keras would make in the first step: the optimizer's, and those of metrics."""
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        if any(not metric.variables for metric in self.model.metrics):
            self.model._symbolic_build()

    def _put_back(self, state: TrainingState) -> None:
        for name, variable in self._variables().items():
            variable.assign(state.arrays[name])
        for callback, entry in zip(self.callbacks, state.facts["callbacks"], strict=True):
            set_state(callback, unpack(entry["state"], state.arrays))


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's configuration without names, which count up in a process; variables tell the networks apart."""
    return {name: value for name, value in json.loads(json.dumps(config)).items() if name not in ("name", "denoiser")}


def _differences(path: str, before: Any, now: Any) -> list[str]:
    """The names of entries in which two configurations differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [name for name in {**before, **now} if name not in ("name", "shared_object_id")]
        return [found for name in names for found in _differences(f"{path}.{name}", before.get(name), now.get(name))]
    return [] if before == now else [path.lstrip(".")]


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind not in "fV" or bool(np.isfinite(array.astype(np.float32)).all())
