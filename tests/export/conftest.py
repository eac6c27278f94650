"""One exported model for all tests of exports: conversion takes longer than everything done with the result."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import kvdiff
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
def sampler(exported: Path) -> OrtSampler:
    return OrtSampler(exported, providers=["CPUExecutionProvider"], threads=1)
