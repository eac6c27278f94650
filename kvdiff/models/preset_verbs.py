"""Saving a Keras model as a preset, and opening one."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import pkgutil
import tempfile
from collections.abc import Mapping
from typing import Any, Self

import keras

from kvdiff.diffusion.checks import built_from, check_flag, check_path
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.models.preset_card import PresetCard
from kvdiff.models.preset_folder import (
    CONFIG,
    METADATA,
    README,
    WEIGHTS,
    Preset,
    found_preset,
    metadata_of,
    read_preset,
)


class PresetVerbs:
    """`from_preset` and `save_to_preset`, as KerasHub's models have them."""

    spec: ModelSpec

    @classmethod
    def from_preset(
        cls,
        preset: str | os.PathLike[str],
        *,
        digest: str | None = None,
        load_weights: bool = True,
        safe_mode: bool = True,
    ) -> Self:
        """A model with trained weights, uncompiled.

        ```python
        model = kvdiff.VideoDiffusion.from_preset("moving_digits")
        future = model.predict_frames(past)
        ```

        Nothing is downloaded but for an address on a hub. Weights and configuration are HDF5 and JSON; no pickle is
        read.

        Args:
            preset: a name of `kvdiff.presets()`; a folder that `save_to_preset` wrote; or
                "hf://owner/repository@commit", which needs the extra `hub`. The commit is its 40 digits.
            digest: `kvdiff.models.Preset.digest`, SHA-256 of `metadata.json`, which has those of the other files:
                whatever a hub sends, these weights are opened or none.
            load_weights: False for the same network with new weights.
            safe_mode: refuse configurations with Python code in them, as `keras.layers.Lambda` keeps it.

        Raises:
            TypeError, ValueError: a name, folder, commit or digest that is none, files that have changed, or a
                configuration that is not of this class.
            ImportError: a hub without `huggingface_hub`.
            OSError: the hub cannot be reached.
        """
        for name, flag in {"load_weights": load_weights, "safe_mode": safe_mode}.items():
            check_flag(name, flag)
        found = found_preset(preset, digest)
        load_classes()
        try:
            config = json.loads((found.folder / CONFIG).read_bytes())
            kind = keras.saving.get_registered_object(config["registered_name"])
            if not (isinstance(kind, type) and issubclass(kind, cls)):
                raise ValueError(f"expected a {cls.__name__}, not {config['registered_name']}")
            model = keras.saving.deserialize_keras_object(config, safe_mode=safe_mode)
            if load_weights:
                model.load_weights(found.folder / WEIGHTS)
        except Exception as error:  # What is foreign or hostile makes Keras raise almost anything.
            raise ValueError(
                f"`preset`: expected a preset of a {cls.__name__}. Received: {found.folder} ({error})"
            ) from error
        return model

    def save_to_preset(
        self,
        folder: str | os.PathLike[str],
        *,
        card: PresetCard | Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> Preset:
        """Write weights, configuration with autoencoder and defaults of sampling, and a card, for `from_preset`.

        The files are KerasHub's: `config.json`, `model.weights.h5`, `metadata.json` with card and digests, and the card
        as `README.md`. The optimizer's state is not among them. In the middle of a training the weights are those that
        the model samples with.

        Args:
            folder: where to; created if need be. Its name is the preset's. Other files in it are left alone.
            card: what others should know of the weights; a dict of `PresetCard`'s arguments does too.
            overwrite: replace a preset that is there, its README too.

        Returns:
            The preset, with its digest.

        Raises:
            FileExistsError: files of these names are there, and `overwrite` is False or they are not a preset's.
            TypeError, ValueError: arguments that are none, or a card that is none.
            OSError: nothing can be written there.
        """
        folder = check_path("folder", folder)
        check_flag("overwrite", overwrite)
        if not isinstance(card, PresetCard):
            card = built_from("card", {} if card is None else card, PresetCard)
        _check_free(folder, overwrite)
        model = without_optimizer(self)
        clip = self.spec.clip
        facts = (
            f"Clips of {clip.num_frames} frames of {clip.height} × {clip.width} × {clip.channels}; "
            f"{model.count_params():,} weights."
        )
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".preset-", dir=folder) as name:
            stage = pathlib.Path(name)
            model.save_weights(stage / WEIGHTS)
            (stage / CONFIG).write_text(json.dumps(_config(model), indent=1) + "\n", "utf-8")
            (stage / README).write_text(card.readme(folder.resolve().name, facts), "utf-8")
            (stage / METADATA).write_text(metadata_of(stage, card, model.count_params()), "utf-8")
            for each in (WEIGHTS, CONFIG, README, METADATA):  # Its digests are the last, so half a preset is none.
                os.replace(stage / each, folder / each)
        return read_preset(folder)


def without_optimizer(model: Any) -> Any:
    """An uncompiled copy with the weights that the model samples with; the optimizer has two thirds of a file."""
    copy = keras.saving.deserialize_keras_object(
        _config(model), safe_mode=False
    )  # Code of one's own is not a stranger's.
    with model._raw_weights.delivered():
        copy.set_weights(model.get_weights())
    return copy


def _config(model: Any) -> dict[str, Any]:
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    return config


def load_classes() -> None:
    """Import every file of this room: Keras finds classes that were imported."""
    for module in pkgutil.iter_modules([str(pathlib.Path(__file__).parent)]):
        importlib.import_module(f"kvdiff.models.{module.name}")


def _check_free(folder: pathlib.Path, overwrite: bool) -> None:
    """Raise unless nothing of a user's is replaced unasked."""
    there = [name for name in (CONFIG, WEIGHTS, METADATA, README) if (folder / name).exists()]
    if not there:
        return
    wanted = f"a folder without {' and '.join(there)}"
    if not overwrite:
        raise FileExistsError(f"`folder`: expected {wanted}, or `overwrite=True`. Received: {folder}")
    try:
        read_preset(folder)
    except ValueError as error:
        raise FileExistsError(
            f"`folder`: expected {wanted}, or a preset, which `overwrite=True` replaces. Received: {folder} ({error})"
        ) from error
