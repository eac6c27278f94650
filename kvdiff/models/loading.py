"""Opening a saved model."""

from __future__ import annotations

import os
import pathlib

import keras

import kvdiff.models.factorised_unet3d  # noqa: F401 - Keras finds the classes that were imported.
from kvdiff.models.video_diffusion import VideoDiffusion

__all__ = ["load_model"]


def load_model(path: str | os.PathLike[str], *, compile: bool = True) -> VideoDiffusion:
    """The model that `model.save(path)` wrote: network, weights, noise schedule.

    `keras.saving.load_model` with the package's classes registered, and with errors that name the file.

    Args:
        path: a `.keras` file.
        compile: also restore the optimizer and its state, where the file has them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is not a saved `VideoDiffusion`, or a damaged one.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"`path`: expected a .keras file. Received: {path}, which does not exist")
    try:
        model = keras.saving.load_model(path, compile=compile)
    except Exception as error:  # A foreign or damaged archive makes Keras raise almost anything.
        raise ValueError(f"`path`: expected a model that kvdiff saved. Received: {path} ({error})") from error
    if not isinstance(model, VideoDiffusion):
        raise ValueError(f"`path`: expected a VideoDiffusion model. Received: {path}, a {type(model).__name__}")
    return model
