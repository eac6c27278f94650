"""A run is a folder with a trained model: model.keras, denoiser.onnx with its manifest, or both."""

from __future__ import annotations

import contextlib
import enum
import importlib.util
import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from kvdiff.diffusion import ClipSampler

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion

__all__ = ["KERAS_FILE", "ONNX_FILE", "Runtime", "load_keras", "open_run", "quiet_tensorflow", "save_keras"]

KERAS_FILE = "model.keras"
ONNX_FILE = "denoiser.onnx"


class Runtime(enum.StrEnum):
    """What computes the network."""

    auto = "auto"
    keras = "keras"
    onnx = "onnx"


def open_run(run: pathlib.Path, runtime: Runtime = Runtime.auto) -> ClipSampler:
    """A sampler over a run's model.

    `auto` takes ONNX Runtime, which starts in a second and needs no TensorFlow, where denoiser.onnx and onnxruntime are
    there, and Keras otherwise.

    Raises:
        FileNotFoundError: no such folder, or no model in it that the runtime could take.
    """
    keras_file, onnx_file = run / KERAS_FILE, run / ONNX_FILE
    if not run.is_dir():
        raise FileNotFoundError(f"{run}: expected a folder with {KERAS_FILE} or {ONNX_FILE}. Received: no such folder")
    if runtime is Runtime.auto:
        onnx = onnx_file.exists() and (importlib.util.find_spec("onnxruntime") or not keras_file.exists())
        runtime = Runtime.onnx if onnx else Runtime.keras
    if runtime is Runtime.keras:
        return load_keras(run).sampler
    _require(onnx_file, "`kvdiff export` writes it")
    if keras_file.exists() and keras_file.stat().st_mtime > onnx_file.stat().st_mtime:
        typer.echo(f"Note: {ONNX_FILE} is older than {KERAS_FILE}; `kvdiff export --overwrite` renews it.", err=True)
    from kvdiff.runtime import OrtSampler

    return OrtSampler(onnx_file)


def load_keras(run: pathlib.Path) -> VideoDiffusion:
    """The Keras model of a run, for sampling and export."""
    path = run / KERAS_FILE
    _require(path, "`kvdiff train` writes it")
    with quiet_tensorflow():
        from kvdiff.models.loading import load_model
    return load_model(path, compile=False)


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
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        if importlib.util.find_spec("tensorflow"):
            import tensorflow  # noqa: F401
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def _require(path: pathlib.Path, hint: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {hint}")
