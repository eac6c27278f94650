"""One exported model for all tests of exports: conversion takes longer than everything done with the result."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion import Sampler
from kvdiff.export import export_onnx
from kvdiff.runtime import OrtSampler


@pytest.fixture(scope="session")
def model() -> kvdiff.VideoDiffusion:
    """A tiny model with every weight far from its start: a new U-Net answers 0, with which anything agrees."""
    keras.utils.set_random_seed(7)
    model = kvdiff.VideoDiffusion((4, 8, 8, 1), kvdiff.UNet3D(1, widths=(24, 24), blocks=1))
    rng = np.random.default_rng(7)
    for variable in model.denoiser.trainable_variables:
        variable.assign_add(0.1 * rng.standard_normal(variable.shape).astype(np.float32))
    return model


@pytest.fixture(scope="session")
def exported(model: kvdiff.VideoDiffusion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of its `denoiser.onnx`. Tests that change files change a copy."""
    return export_onnx(model, tmp_path_factory.mktemp("exported") / "new" / "folder")


@pytest.fixture(scope="session")
def sampler(exported: Path) -> Sampler:
    return OrtSampler(exported, providers=["CPUExecutionProvider"], threads=1)


@pytest.fixture(scope="session")
def trivial() -> kvdiff.VideoDiffusion:
    """A model that is traced at once."""
    shapes = {"noisy_clip": (None, None, None, 1), "noise_label": (None,)}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    answer = keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(0.7))(inputs["noisy_clip"])
    return kvdiff.VideoDiffusion((4, 8, 8, 1), keras.Model(inputs, answer))


@pytest.fixture(scope="session")
def served_models(trivial: kvdiff.VideoDiffusion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `produce.py` of the TensorFlow Serving kit makes of it: `clips/1` and `clips_png/1`, DDPM in 3 steps."""
    folder = tmp_path_factory.mktemp("served")
    trivial.save(folder / "model.keras")
    program = Path(kvdiff.__file__).parents[1] / "export" / "tf_serving" / "produce.py"
    arguments = [str(folder / "model.keras"), str(folder / "models"), "--solver", "ddpm", "--num-steps", "3"]
    with mock.patch.object(sys, "argv", [str(program), *arguments]):
        runpy.run_path(str(program), run_name="__main__")
    return folder / "models"
