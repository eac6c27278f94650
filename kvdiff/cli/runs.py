"""A run is a folder with a trained model: model.keras or a preset, denoiser.onnx with its manifest, or both."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from kvdiff.diffusion import Sampler
from kvdiff.models.preset_folder import WEIGHTS, is_preset, presets
from kvdiff.runtime import FORMATS

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion

KERAS = "keras"
KERAS_FILE = "model.keras"
ONNX_FILE = "denoiser.onnx"
TRAINING = "training"
CHECKPOINTS = f"{TRAINING}/checkpoints"


def open_run(run: pathlib.Path, runtime: str | None = None, precision: str | None = None) -> Sampler:
    """The sampler of a run: a folder with a model or exports, or one such file; or of a preset. Prints what it chose.

    Args:
        run: the folder or file, or the name of a preset that ships.
        runtime: "keras", or the name of an export's format. By default ONNX Runtime, which starts in a second and needs
            no TensorFlow, where it is exported and installed, else Keras, else another export.
        precision: of the export.

    Raises:
        FileNotFoundError: no such folder or file, or none that the runtime could take.
        ArtefactError: an export that is missing, foreign or changed.
    """
    from kvdiff.runtime import ArtefactError, open_sampler
    from kvdiff.runtime.opening import choose

    if not run.exists() and str(run) not in presets():
        raise FileNotFoundError(f"{run}: expected a folder with {KERAS_FILE} or {ONNX_FILE}. Received: no such folder")
    keras_file = run if run.suffix == ".keras" else run / KERAS_FILE
    has_keras, chosen = keras_file.exists() or is_preset(run), None
    if runtime != KERAS and run != keras_file:
        try:
            chosen = choose(run, runtime, precision)
        except ArtefactError:
            if runtime is not None or precision is not None:
                raise
    if chosen is not None and runtime is None and precision is None and has_keras:
        first = next(iter(FORMATS.values()))
        chosen = chosen if chosen[0] is first and first.is_installed else None
    if chosen is None:
        sampler = load_keras(run).sampler
        typer.echo(f"Runtime: keras, {keras_path(run).name}.", err=True)
        return sampler
    form, path = chosen
    if keras_file.exists() and keras_file.stat().st_mtime > path.stat().st_mtime:
        typer.echo(f"Note: {path.name} is older than {KERAS_FILE}; `kvdiff export --overwrite` renews it.", err=True)
    typer.echo(f"Runtime: {form.name}, {path.name}.", err=True)
    return open_sampler(path)


def load_keras(run: pathlib.Path) -> VideoDiffusion:
    """The Keras model of a run, for sampling and export; of a training that has not ended, its newest checkpoint's.

    Raises:
        FileNotFoundError: the run has neither.
        ImportError: no Keras.
    """
    require("keras")
    with quiet_tensorflow():
        from kvdiff.models.loading import load_model
    path = keras_path(run)
    if path.suffix == ".npz":
        step = int(path.stem.removeprefix("step-"))
        note = f"no {KERAS_FILE} yet; this is the checkpoint after {step} training steps, which --resume goes on from"
        typer.echo(f"Note: {run}: {note}.", err=True)
    elif any(file.stat().st_mtime > path.stat().st_mtime for file in (run / CHECKPOINTS).glob("step-*.npz")):
        typer.echo(f"Note: {run}: this is the {KERAS_FILE} from before a training that has not ended.", err=True)
    return load_model(path.parent if path.name == WEIGHTS else path, compile=False)


def keras_path(run: pathlib.Path) -> pathlib.Path:
    """Where a run's Keras model is: model.keras, `run` itself or in it; a preset's weights; or the newest checkpoint.

    Raises:
        FileNotFoundError: the run has none, and no preset that ships has its name.
    """
    path = run if run.suffix == ".keras" else run / KERAS_FILE
    if path.is_file():
        return path
    if is_preset(run):
        return run / WEIGHTS
    from kvdiff.models.loading import newest_checkpoint

    if found := newest_checkpoint(run / CHECKPOINTS):
        return found[0]
    if preset := presets().get(str(run)):
        return preset.folder / WEIGHTS
    raise FileNotFoundError(f"{path}: no such file; `kvdiff train` writes it, and checkpoints before")


def require(*packages: str) -> None:
    """Raise ImportError, with what to install, where one of the packages is missing that Keras models need."""
    if missing := [name for name in packages if not importlib.util.find_spec(name)]:
        raise ImportError(
            f"expected {' and '.join(missing)}, to train or to open a Keras model. Received: an environment without. "
            'Write: pip install "keras-video-diffusion[train]"'
        )


def save_keras(model: VideoDiffusion, run: pathlib.Path) -> pathlib.Path:
    """Write model.keras, whole or not at all; returns its path."""
    unfinished = run / f".unfinished-{KERAS_FILE}"
    try:
        model.save(unfinished)
        return unfinished.replace(run / KERAS_FILE)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Import TensorFlow without the lines it writes on stderr before its log level counts."""
    try:
        saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # A process without stderr has nothing to quieten.
        yield
        return
    os.dup2(null, 2)
    try:
        if importlib.util.find_spec("tensorflow"):
            import tensorflow  # noqa: F401
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
