"""The SavedModel sampler: `ClipSampler` over an exported version, with NumPy and TensorFlow alone."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.conditions.kinds import TOLD
from kvdiff.diffusion.sampling.loop import Draws
from kvdiff.diffusion.sampling.sampler import ClipSampler
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.runtime.manifest import ArtefactError, load_folder

__all__ = ["COLUMNS", "FILE", "KIND", "MEMORY", "SavedModelSampler", "newest_version", "table_inputs", "versions"]

KIND = "saved-model"
FILE = "saved_model.pb"
COLUMNS = ("c_in", "c_noise", "c_skip", "c_out", "a", "std")
"""The columns of a step table in the order of the input `table`; `b` is an input of its own."""
MEMORY = 4
"""K of the input `b`: the longest memory of any solver; shorter ones are filled up with zeros."""


class SavedModelSampler(ClipSampler):
    """Generates, predicts and interpolates with a version that `kvdiff.export.export_saved_model` wrote.

    The same verbs, keywords and videos as the Keras model, without Keras: the signature `sample` runs the whole loop in
    TensorFlow. What it does not take (more calls than it was exported for, learned variance, guidance at some noise
    levels only, plans whose windows hand on unfinished frames) is run here, around the signature `denoise`.

    Args:
        path: a version's directory, or the directory of versions, of which the newest is taken.

    Raises:
        ArtefactError: a missing, foreign or changed file.
        ImportError: no TensorFlow.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        tf = _tensorflow()
        folder = newest_version(pathlib.Path(path))
        artefact = load_folder(folder, KIND)
        super().__init__(artefact.clip_spec, artefact.schedule, artefact.prediction, conditions=artefact.conditions)
        self.manifest, self.path = artefact.manifest, folder
        self.max_calls = int(artefact.manifest["serving"]["max_calls"])
        try:
            self._model = tf.saved_model.load(str(folder))  # Keeps the variables that the signatures read.
            self._signatures = {name: self._model.signatures[name] for name in ("denoise", "sample")}
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ArtefactError(artefact.path, f"which TensorFlow {tf.__version__} cannot open ({error})") from error

    def denoise(self, noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any] | None = None) -> np.ndarray:
        """The network's raw output, float32 [batch, frames, height, width, channels]; clips of the exported shape."""
        self._check_shape(np.shape(noisy_clip))
        return self._call("denoise", {"noisy_clip": noisy_clip, "noise_label": noise_label, **(inputs or {})})

    def _window(
        self,
        table: StepTable,
        x: np.ndarray,
        history: np.ndarray,
        noise: Draws,
        told: Conditioning,
        report: Callable[[int], None],
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in `ClipSampler`, inside TensorFlow where the signature takes it."""
        self._check_shape(x.shape)
        if not (self._fits(table) and _remembers_nothing(table, history) and _acts_throughout(told)):
            return super()._window(table, x, history, noise, told, report)
        batch, frames = x.shape[:2]
        feed = table_inputs(table, batch, self.max_calls) | dict(told.inputs)
        feed |= {
            "start": x,
            "start_std": np.zeros((batch, frames), np.float32),
            "first_draw": np.full(batch, noise.first, np.int32),
            "seed": np.full(batch, noise.seed, np.uint64).astype(np.int64),
            "sample": np.asarray(noise.samples, np.int64),
        }
        if TOLD in told.inputs:
            feed["guidance"] = np.ones(batch, np.float32) if told.guidance is None else told.guidance
        made = self._call("sample", feed)
        report(table.num_steps)
        return made, history

    def _fits(self, table: StepTable) -> bool:
        return type(table) is StepTable and table.num_steps <= self.max_calls and table.memory <= MEMORY

    def _call(self, signature: str, feed: Mapping[str, Any]) -> np.ndarray:
        tf, function = _tensorflow(), self._signatures[signature]
        specs = function.structured_input_signature[1]
        (output,) = function(**{name: tf.constant(feed[name], spec.dtype) for name, spec in specs.items()}).values()
        return output.numpy()

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        expected = (self.clip_spec.num_frames, *self.clip_spec.frame_shape)
        if shape[1:] != expected:
            raise ValueError(
                f"SavedModelSampler: expected clips of {list(expected)}, the shape this model was exported for. "
                f"Received: {list(shape[1:])}"
            )


def versions(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """The versions of a model by number: the folders inside `folder` that are named by one."""
    return {int(entry.name): entry for entry in folder.glob("*") if entry.name.isdecimal() and entry.is_dir()}


def newest_version(folder: pathlib.Path) -> pathlib.Path:
    """`folder`, or of the versions inside it the one with the highest number, as TensorFlow Serving chooses."""
    found = {} if (folder / FILE).is_file() else versions(folder)
    return found[max(found)] if found else folder


def table_inputs(table: StepTable, batch: int, max_calls: int) -> dict[str, np.ndarray]:
    """The inputs of the signature `sample` that say what to do.

    Args:
        table: one with rows of each frame, as `with_known` makes: [num_steps, frames] or [num_steps, batch, frames].
        batch: how many clips.
        max_calls: how many rows the signature takes.

    Returns:
        `table` float32 [batch, max_calls, columns, frames] and `b` float32 [batch, max_calls, MEMORY, frames], filled
        up with zeros, and `num_calls` int32 [batch], how many of their rows count.
    """
    inputs = {"num_calls": np.full(batch, table.num_steps, np.int32)}
    stacked = np.stack([getattr(table, name) for name in COLUMNS], axis=1)
    for name, values, width in (("table", stacked, len(COLUMNS)), ("b", table.b, MEMORY)):
        inputs[name] = np.zeros((batch, max_calls, width, values.shape[-1]), np.float32)
        rows = np.moveaxis(values, 2, 0) if values.ndim == 4 else values
        inputs[name][:, : table.num_steps, : values.shape[1]] = rows
    return inputs


def _remembers_nothing(table: StepTable, history: np.ndarray) -> bool:
    """Whether no earlier window's prediction is used, and none of this one's will be: frames go from noise to clean."""
    moves = np.broadcast_to(table.b.any(axis=(0, 1)), history.shape[1:3])
    unfinished = np.broadcast_to(table.sigma[-1], moves.shape)[moves].any()
    return table.memory == 1 or not (unfinished or history[:, moves].any())


def _acts_throughout(told: Conditioning) -> bool:
    """Whether guidance is as the signature has it: at all noise levels, without rescaling."""
    return told.guidance is None or (told.interval == (0.0, 1.0) and told.rescale == 0.0)


def _tensorflow() -> ModuleType:
    try:
        import tensorflow
    except ImportError as error:
        raise ImportError(
            'SavedModelSampler needs TensorFlow: pip install "keras-video-diffusion[tensorflow]"'
        ) from error
    return tensorflow
