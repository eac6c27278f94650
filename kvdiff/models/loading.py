"""Opening a saved model, or the model of a checkpoint."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import keras

from kvdiff.models.latent_model import LatentModel
from kvdiff.models.preset_folder import is_preset, presets
from kvdiff.models.preset_verbs import load_classes
from kvdiff.models.video_diffusion import VideoDiffusion
from kvdiff.training.averaging import averages
from kvdiff.training.checkpoint_facts import check_facts
from kvdiff.training.checkpoint_file import TrainingState, read_checkpoint
from kvdiff.training.checkpoint_folder import CheckpointFolder


def load_model(path: str | os.PathLike[str], *, compile: bool = True) -> VideoDiffusion:
    """The model that `model.save(path)` wrote, or that of a checkpoint: network, weights, noise schedule.

    `keras.saving.load_model` with the package's classes registered, and with errors that name the file.

    Args:
        path: a `.keras` file; a checkpoint of a `TrainingCheckpoint`; a folder of checkpoints, for the newest; or a
            preset's folder or name. A checkpoint's model has the averaged weights, where the training keeps some; it
            and a preset's are not compiled.
        compile: also restore the optimizer and its state, where a `.keras` file has them.

    Raises:
        FileNotFoundError: no such file, or a folder without checkpoints.
        ValueError: a file that is not a saved `VideoDiffusion`, or a damaged one.
    """
    model = _opened(path, compile)
    if not isinstance(model, VideoDiffusion):
        raise ValueError(f"`path`: expected a VideoDiffusion model. Received: {path}, a {type(model).__name__}")
    return model


def load_autoencoder(path: str | os.PathLike[str], *, compile: bool = True) -> Any:
    """The autoencoder that `autoencoder.save(path)` wrote, that of a checkpoint, or the one inside a `VideoDiffusion`.

    Args:
        path: as in `load_model`.
        compile: likewise.

    Raises:
        FileNotFoundError: no such file, or a folder without checkpoints.
        ValueError: a file without an autoencoder, or a damaged one.
    """
    model = _opened(path, compile)
    found = getattr(model, "autoencoder", model)
    if not isinstance(found, LatentModel):
        raise ValueError(f"`path`: expected a VideoAutoencoder. Received: {path}, a {type(model).__name__}")
    return found


def _opened(path: str | os.PathLike[str], compile: bool) -> Any:
    """Any model of the package that a path has."""
    load_classes()
    path = pathlib.Path(path)
    if is_preset(path) or (not path.exists() and str(path) in presets()):
        model: Any = VideoDiffusion.from_preset(path if path.is_dir() else str(path))
    elif path.is_dir() or (path.is_file() and path.suffix == ".npz"):
        model = _of_checkpoint(path)
    elif path.is_file():
        try:
            model = keras.saving.load_model(path, compile=compile)
        except Exception as error:  # A foreign or damaged archive makes Keras raise almost anything.
            raise ValueError(f"`path`: expected a model that kvdiff saved. Received: {path} ({error})") from error
    else:
        raise FileNotFoundError(f"`path`: expected a .keras file. Received: {path}, which does not exist")
    return model


def newest_checkpoint(folder: str | os.PathLike[str]) -> tuple[pathlib.Path, TrainingState] | None:
    """The newest whole checkpoint of a folder and its path; None where there is none. The folder stays as it is."""
    return CheckpointFolder(folder).newest(lambda path, state: check_facts(path, state.facts))


def _of_checkpoint(path: pathlib.Path) -> keras.Model:
    if path.is_dir():
        found = newest_checkpoint(path)
        if found is None:
            raise FileNotFoundError(f"`path`: expected a folder of checkpoints. Received: {path}, which holds none")
        path, state = found
    else:
        state = read_checkpoint(path)
        check_facts(path, state.facts)
    try:
        model = keras.saving.deserialize_keras_object(_network(path, state))
        _assign(model, state)
    except Exception as error:  # As with an archive of Keras'.
        raise ValueError(f"`path`: expected a checkpoint of a model. Received: {path} ({error})") from error
    return model


def _network(path: pathlib.Path, state: TrainingState) -> dict[str, Any]:
    """The model that was trained, serialized; of an earlier version's checkpoint it is in the record of the run."""
    if "network" in state.facts:
        return state.facts["network"]
    record = path.parent.parent / "config.json"
    if not record.is_file():
        raise ValueError(f"it is of an earlier version and has no network; expected the run's record, {record}")
    config = json.loads(record.read_text("utf-8"))["model"]
    home = {"module": VideoDiffusion.__module__, "registered_name": "kvdiff>VideoDiffusion"}
    return {**home, "class_name": "VideoDiffusion", "config": config}


def _assign(model: keras.Model, state: TrainingState) -> None:
    """Give a model the weights that it would sample with at that step."""
    names = [f"model/{index:04d}" for index in range(len(model.variables))]
    for variable, name in zip(model.variables, names, strict=True):
        variable.assign(state.arrays[name])
    means = state.facts["averages"] if "averages" in state.facts else _names_of_averages(model, state)
    for variable, name in zip(model.trainable_variables[: len(means)], means, strict=True):
        variable.assign(state.arrays[name])


def _names_of_averages(model: keras.Model, state: TrainingState) -> list[str]:
    """Where an earlier version's checkpoint has the averages: as its optimizer's variables lie, built once more."""
    optimizer = keras.saving.deserialize_keras_object(state.facts["optimizer"])
    optimizer.build(model.trainable_variables)
    names = {id(variable): f"optimizer/{index:04d}" for index, variable in enumerate(optimizer.variables)}
    for variable in optimizer.variables:
        variable.assign(state.arrays[names[id(variable)]])
    return [names[id(variable)] for variable in averages(optimizer)]
