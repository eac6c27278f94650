"""The peer's network in every exported form: the same clips as Keras, with a condition and guidance."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion.conditions import ClipVector
from kvdiff.export import export_litert, export_onnx, export_onnx_sampler, export_saved_model
from kvdiff.runtime import FusedOrtSampler, LiteRtSampler, OrtSampler, SavedModelSampler
from tests.export.test_litert import assert_all_delegated, assert_builtin_and_flat

pytestmark = pytest.mark.slow
CHOSEN = dict(num_steps=4, seed=2, conditions={"text": [0.1, -1.0, 2.0]}, guidance=2.0)


@pytest.fixture(scope="module")
def model() -> kvdiff.VideoDiffusion:
    keras.utils.set_random_seed(3)
    denoiser = kvdiff.FactorisedUNet3D(1, width=8, multipliers=(1, 2), heads=2, conditions={"text": ClipVector(3)})
    rng = np.random.default_rng(3)
    for variable in denoiser.trainable_variables:
        variable.assign_add(0.1 * rng.standard_normal(variable.shape).astype(np.float32))
    return kvdiff.VideoDiffusion((4, 8, 8, 1), denoiser, prediction="eps")


def assert_the_same_clips(sampler, model: kvdiff.VideoDiffusion) -> None:
    expected = model.generate(2, **CHOSEN)
    assert np.abs(expected - model.generate(2, num_steps=4, seed=2)).max() > 0.01, "the condition changes nothing"
    np.testing.assert_allclose(sampler.generate(2, **CHOSEN), expected, atol=2e-5)


def test_onnx(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    export_onnx_sampler(export_onnx(model, tmp_path), tmp_path)
    for kind in (OrtSampler, FusedOrtSampler):
        assert_the_same_clips(kind(tmp_path, threads=1), model)


def test_litert_on_four_axes_and_all_in_xnnpack(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    file = export_litert(model, tmp_path)
    assert_builtin_and_flat(file)
    assert_all_delegated(file)
    assert_the_same_clips(LiteRtSampler(file, threads=1), model)


@pytest.mark.parametrize("precision", ["int8", "int8-weights"])
def test_litert_in_int8(model: kvdiff.VideoDiffusion, tmp_path: Path, precision: str) -> None:
    wide = export_litert(model, tmp_path)
    file = export_litert(model, tmp_path, precision=precision)
    assert file.stat().st_size < 0.8 * wide.stat().st_size
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((1, 4, 8, 8, 1), np.float32), np.full((1, 4), 0.3, np.float32)]
    told = {"text": np.array([[0.1, -1.0, 2.0]], np.float32), "told": np.ones((1, 1), np.float32)}
    expected = model.sampler.engine.denoise(*inputs, told)
    error = LiteRtSampler(file, threads=1).engine.denoise(*inputs, told) - expected
    assert 0 < np.sqrt(np.mean(error**2) / np.mean(expected**2)) < 0.1


def test_saved_model(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    version = export_saved_model(model, tmp_path / "clips", pixels="float32", num_steps=4)
    assert_the_same_clips(SavedModelSampler(version.parent), model)
