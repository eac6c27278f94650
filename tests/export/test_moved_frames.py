"""A network that moves known frames, in exported form: the same predictions as Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion import Sampler
from kvdiff.export import export_litert, export_onnx
from kvdiff.runtime import LiteRtSampler, OrtSampler
from tests.export.test_litert import assert_builtin_and_flat


@pytest.fixture(scope="module")
def model() -> kvdiff.VideoDiffusion:
    keras.utils.set_random_seed(3)
    options = dict(widths=(12,), blocks=1, groups=4, attention=(None,), known_per_side=2, motion_reach=1)
    denoiser = kvdiff.UNet3D(1, **options)
    rng = np.random.default_rng(3)
    for variable in denoiser.trainable_variables:
        variable.assign_add(0.1 * rng.standard_normal(variable.shape).astype(np.float32))
    return kvdiff.VideoDiffusion((4, 8, 8, 1), denoiser, prediction="x0")


def assert_the_same(open_sampler: Callable[..., Sampler], file: Path, model: kvdiff.VideoDiffusion) -> None:
    past = np.random.default_rng(1).uniform(-1.0, 1.0, (2, 2, 8, 8, 1)).astype(np.float32)
    expected = model.predict_frames(past, num_steps=2)
    np.testing.assert_allclose(open_sampler(file, threads=1).predict_frames(past, num_steps=2), expected, atol=2e-5)


def test_onnx(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    assert_the_same(OrtSampler, export_onnx(model, tmp_path), model)


@pytest.mark.slow
def test_litert(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    file = export_litert(model, tmp_path)
    assert_builtin_and_flat(file)
    assert_the_same(LiteRtSampler, file, model)
