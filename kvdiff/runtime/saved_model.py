"""The SavedModel engine: an exported version, with NumPy and TensorFlow alone."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from kvdiff.diffusion.conditions.condition import CONDITION_MASK
from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.sampling.engine import DenoiserEngine, Draws
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.runtime.codec_files import PairCodec
from kvdiff.runtime.fixed_shape import check_shape
from kvdiff.runtime.format import MEMORY, SERVED_COLUMNS, Format, packed_rows
from kvdiff.runtime.manifest import Artefact, ArtefactError
from kvdiff.runtime.saved_model_file import check_loaded, check_saved_model


class SavedModelEngine(DenoiserEngine):
    """Runs a version that `kvdiff.export.export_saved_model` wrote, without Keras.

    The signature `sample` runs a whole window in TensorFlow. What it does not take (more calls than it was exported
    for, learned variance, guidance at some noise levels only, plans whose windows hand on unfinished frames) runs here,
    around the signature `denoise`.

    Args:
        artefact: the version's folder.

    Raises:
        ArtefactError: a folder that is not what its manifest says.
        ImportError: no TensorFlow.
    """

    def __init__(self, artefact: Artefact) -> None:
        tf = _tensorflow()
        super().__init__(self._denoise)
        self.artefact = artefact
        self.max_calls = check_saved_model(artefact)
        try:
            self._model = tf.saved_model.load(str(artefact.path))  # Keeps the variables that the signatures read.
            own = ("encode", "decode") if isinstance(artefact.spec.codec, Autoencoder) else ()
            self._signatures = {name: self._model.signatures[name] for name in ("denoise", "sample", *own)}
        except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
            raise ArtefactError(artefact.path, f"which TensorFlow {tf.__version__} cannot open ({error})") from error
        check_loaded(artefact, self._model)
        self.codec = self._pair() if own else None

    def _pair(self) -> PairCodec:
        """The autoencoder's two signatures."""
        return PairCodec(
            lambda clip: self._call("encode", {"clip": clip}), lambda latent: self._call("decode", {"latent": latent})
        )

    def _denoise(self, noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any] | None = None) -> np.ndarray:
        """The network's raw output, float32 [batch, frames, height, width, channels]; clips of the exported shape."""
        check_shape("SavedModelSampler", self.artefact.spec.latent.shape, np.shape(noisy_clip))
        return self._call("denoise", {"noisy_clip": noisy_clip, "noise_label": noise_label, **(inputs or {})})

    def run_window(
        self, table: StepTable, x: np.ndarray, history: np.ndarray, draws: Draws
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in `Engine`, inside TensorFlow where the signature takes it."""
        check_shape("SavedModelSampler", self.artefact.spec.latent.shape, x.shape)
        conditioning, batch = draws.conditioning, len(x)
        if not (self._fits(table) and _remembers_nothing(table, history) and _acts_throughout(conditioning)):
            return super().run_window(table, x, history, draws)
        feed = table_inputs(table, batch, x.shape[1], self.max_calls) | dict(conditioning.inputs)
        feed |= {
            "start": x,
            "start_std": np.zeros(x.shape[:2], np.float32),
            "first_draw": np.full(batch, draws.first, np.int32),
            "seed": np.full(batch, draws.seed, np.uint64).astype(np.int64),
            "sample": np.asarray(draws.samples, np.int64),
        }
        if CONDITION_MASK in conditioning.inputs:
            weights = conditioning.guidance
            feed["guidance"] = np.ones(batch, np.float32) if weights is None else weights
        cleaner = self._call("sample", feed)
        draws.report(table.num_steps)
        return cleaner, history

    def _fits(self, table: StepTable) -> bool:
        return type(table) is StepTable and table.num_steps <= self.max_calls and table.memory <= MEMORY

    def _call(self, signature: str, feed: Mapping[str, Any]) -> np.ndarray:
        tf, function = _tensorflow(), self._signatures[signature]
        specs = function.structured_input_signature[1]
        (output,) = function(**{name: tf.constant(feed[name], spec.dtype) for name, spec in specs.items()}).values()
        return output.numpy()


def versions(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """The versions of a model by number: the folders inside `folder` that are named by one."""
    return {int(entry.name): entry for entry in folder.glob("*") if entry.name.isdecimal() and entry.is_dir()}


def newest_version(folder: pathlib.Path) -> pathlib.Path:
    """`folder`, or of the versions inside it the one with the highest number, as TensorFlow Serving chooses."""
    found = {} if (folder / SAVED_MODEL.file).is_file() else versions(folder)
    return found[max(found)] if found else folder


def table_inputs(table: StepTable, batch: int, frames: int, max_calls: int) -> dict[str, np.ndarray]:
    """The inputs of the signature `sample` that say what to do.

    Args:
        table: one with rows of each frame, as `with_known` makes: [num_steps, frames] or [num_steps, batch, frames].
        batch, frames: how many clips, of how many frames.
        max_calls: how many rows the signature takes.

    Returns:
        `table` float32 [batch, max_calls, columns, frames] and `b` float32 [batch, max_calls, MEMORY, frames], filled
        up with zeros, and `num_calls` int32 [batch], how many of their rows count.
    """
    inputs = {"num_calls": np.full(batch, table.num_steps, np.int32)}
    for name, rows in zip(("table", "b"), packed_rows(table, SERVED_COLUMNS, batch, frames), strict=True):
        padding = np.zeros((max_calls - len(rows), *rows.shape[1:]), np.float32)
        inputs[name] = np.moveaxis(np.concatenate([rows, padding]), 2, 0)
    return inputs


def _remembers_nothing(table: StepTable, history: np.ndarray) -> bool:
    """Whether no earlier window's prediction is used, and none of this one's will be: frames go from noise to clean."""
    moves = np.broadcast_to(table.b.any(axis=(0, 1)), history.shape[1:3])
    unfinished = np.broadcast_to(table.sigma[-1], moves.shape)[moves].any()
    return table.memory == 1 or not (unfinished or history[:, moves].any())


def _acts_throughout(conditioning: Conditioning) -> bool:
    """Whether guidance is as the signature has it: at all noise levels, without rescaling."""
    return conditioning.guidance is None or (conditioning.interval == (0.0, 1.0) and conditioning.rescale == 0.0)


def _tensorflow() -> ModuleType:
    try:
        import tensorflow
    except ImportError as error:
        raise ImportError(
            'SavedModelSampler needs TensorFlow: pip install "keras-video-diffusion[tensorflow]"'
        ) from error
    return tensorflow


SAVED_MODEL = Format(
    name="saved-model",
    kind="saved-model",
    file="saved_model.pb",
    precisions=("float32",),
    package="tensorflow",
    engine=SavedModelEngine,
    export="kvdiff.export.saved_model:export_saved_model",
    operators="kvdiff.export.operators:of_saved_model",
    folder="serving",
)
