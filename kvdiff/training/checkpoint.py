"""Exact resume: a training that was killed goes on as if nothing had happened, bit for bit."""

from __future__ import annotations

import json
import os
import pathlib
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import keras

from kvdiff.diffusion.checks import check_count
from kvdiff.training.callback_state import get_state
from kvdiff.training.checkpoint_facts import check_data, check_facts, check_place, differences
from kvdiff.training.checkpoint_file import TrainingState
from kvdiff.training.checkpoint_folder import CheckpointFolder
from kvdiff.training.cluster import num_workers
from kvdiff.training.interruption import Interruption
from kvdiff.training.model_state import check_same, described, gathered, put_back

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

    A callback that sets `model.stop_training` at the end of an epoch ends the training: run again, it stays ended until
    `fit` is asked for more epochs. One that does so in mid-epoch interrupts it, as a signal does.

    Each checkpoint is a usable model: `kvdiff.load_model` takes the file, or the folder for its newest.

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
        if missing := [name for name in ("config", "steps_per_epoch", "dataset") if not hasattr(batches, name)]:
            raise TypeError(
                f"`batches`: expected a ClipBatches, or an object with config, steps_per_epoch and dataset. Received: "
                f"{type(batches).__name__}, without {', '.join(missing)}"
            )
        self.batches = batches
        self.every = batches.steps_per_epoch if every is None else check_count("every", every)
        if not isinstance(callbacks, (tuple, list)):
            raise TypeError(f"`callbacks`: expected a list of them. Received: {callbacks!r}")
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
        self._start = self._epoch = self._first_batch = self._done = 0
        self._described: dict[str, Any] = {}
        self._saved_step: int | None = None
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
        self._described = described(self.model)
        if self._state is not None:
            check_same(self._folder.folder, self._state, self.model, self.callbacks, self._described)
            put_back(self.model, self.callbacks, self._state, self._described)
            epochs = self.params["epochs"]
            ended = self._state.facts["ended"] == epochs  # A callback has stopped the same training.
            # As keras.callbacks.BackupAndRestore does.
            self.model._initial_epoch = epochs if ended else self._state.facts["epoch"]
            if self.model._initial_epoch >= epochs:
                why = "a callback stopped it" if ended else "all epochs are done"
                self._say(f"Nothing is left to train after step {self.step}: {why}; more than {epochs} epochs go on")
        if num_workers() == 1:  # Several do not hear a signal at the same step, and would wait for each other.
            self._interruption.listen()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """In an epoch to go on with, put the state back once more: `fit` and other callbacks have begun it afresh."""
        self._epoch, self._first_batch, self._saved_step = epoch, 0, None
        if self._state is not None and self._state.facts["batch"]:
            put_back(self.model, self.callbacks, self._state, self._described)
            self._first_batch = self._state.facts["batch"]
        self._state = self.model._initial_epoch = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save where it is time; end an epoch that did not begin at its first batch."""
        self._done = done = self._first_batch + batch + 1
        if done >= self.batches.steps_per_epoch:  # `on_epoch_end` saves, after other callbacks and validation.
            if self._first_batch and not self.model.stop_training:
                self.model.stop_training = _EPOCH_IS_OVER
        elif self._interruption.received or self.model.stop_training or self._step(done) % self.every == 0:
            self._save(self._epoch, done)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save where it is time."""
        if self.model.stop_training is _EPOCH_IS_OVER:
            self.model.stop_training = False
        if self._done < self.batches.steps_per_epoch:  # Stopped in mid-epoch.
            if self._saved_step != self._step(self._done):
                self._save(epoch, self._done)
            self._say(f"Stopped after step {self._step(self._done)}, in mid-epoch; run again to go on from it")
            return
        self._epoch, self._first_batch = epoch + 1, 0
        is_last = self.model.stop_training or epoch + 1 == self.params["epochs"]
        if is_last or self._interruption.received or self._step(0) % self.every == 0:
            self._save(epoch + 1, 0)

    def on_train_end(self, logs: Any = None) -> None:
        """Release the directory."""
        self.close()

    # What is saved.

    def _save(self, epoch: int, batch: int) -> None:
        """Write a checkpoint, then leave if a signal asks for it.

        Where the disk is full, training goes on with a warning, to its end: the newest checkpoint is still there, and
        what was trained is in the model. A signal is another matter: what it ends would be lost in silence.
        """
        state = self._gathered(epoch, batch)  # On every worker: reading a metric may need them all.
        received = self._interruption.received
        try:
            if self.writes:
                self._folder.save(self._step(batch), state)
        except OSError as error:
            if received:
                raise
            warnings.warn(f"no checkpoint of step {self._step(batch)}, training goes on: {error}", stacklevel=2)
        else:
            self._saved_step = self._step(batch)
        if received:
            self._say(f"\n{received.name}: saved training step {self._step(batch)}; run again to go on from it")
            self._interruption.leave()

    def _gathered(self, epoch: int, batch: int) -> TrainingState:
        ended = self.params["epochs"] if self.model.stop_training and not batch else None
        place = {"step": self._step(batch), "epoch": epoch, "batch": batch, "ended": ended}
        return gathered(self.model, self.callbacks, {**place, "data": self._data, **self._described})

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
            found = None if anew else self._folder.newest(self._check_usable)  # Another worker may be clearing it.
            if found:
                for text in check_data(found[0], found[1].facts["data"], self._data):
                    warnings.warn(f"going on after {found[0]}: {text}", stacklevel=2)
        except BaseException:
            self._folder.unlock()
            raise
        self._state = found[1] if found else None
        self._start = self._state.facts["step"] if self._state else 0
        self._is_open = True

    def _check_usable(self, path: pathlib.Path, state: TrainingState) -> None:
        """Raise DamagedCheckpointError where a checkpoint contradicts itself."""
        check_facts(path, state.facts)
        if not differences("", state.facts["data"], self._data):
            check_place(path, state.facts, self.batches.steps_per_epoch)

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

    def _build(self) -> None:
        """Make the variables that Keras would make in the first step: the optimizer's, and those of metrics."""
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        if any(not metric.variables for metric in self.model.metrics):
            self.model._symbolic_build()

    def _say(self, text: str) -> None:
        if self.writes:
            print(f"{text}.", file=sys.stderr, flush=True)
