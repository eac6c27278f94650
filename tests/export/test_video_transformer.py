"""The transformer in every exported form: the same clips as Keras, with conditions and guidance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion import Sampler
from kvdiff.diffusion.conditions import ClipVector, FrameTimes
from kvdiff.export import export_litert, export_onnx, export_onnx_sampler, export_saved_model
from kvdiff.runtime import FusedOrtSampler, LiteRtSampler, OrtSampler, SavedModelSampler
from tests.export.test_litert import assert_all_delegated, assert_builtin_and_flat

CHOSEN: dict[str, Any] = dict(num_steps=2, seed=2, conditions={"text": [0.1, -1.0, 2.0]}, guidance=2.0)


@pytest.fixture(scope="module")
def model() -> kvdiff.VideoDiffusion:
    keras.utils.set_random_seed(3)
    conditions = {"text": ClipVector(3), "when": FrameTimes()}
    options: dict[str, Any] = dict(width=12, heads=2, blocks=3, attention=("space_time", "space", "time"))
    denoiser = kvdiff.VideoTransformer(1, conditions=conditions, **options)
    rng = np.random.default_rng(3)
    for variable in denoiser.trainable_variables:
        variable.assign_add(0.1 * rng.standard_normal(variable.shape).astype(np.float32))
    return kvdiff.VideoDiffusion((4, 8, 8, 1), denoiser, prediction="x0")


def assert_the_same_clips(sampler: Sampler, model: kvdiff.VideoDiffusion) -> None:
    past = np.random.default_rng(1).uniform(-1.0, 1.0, (2, 2, 8, 8, 1)).astype(np.float32)
    expected = model.predict_frames(past, **CHOSEN)
    assert np.abs(expected - model.predict_frames(past, num_steps=2, seed=2)).max() > 0.01, "no condition counts"
    np.testing.assert_allclose(sampler.predict_frames(past, **CHOSEN), expected, atol=1e-4)


def test_onnx(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    export_onnx_sampler(export_onnx(model, tmp_path), tmp_path)
    for kind in (OrtSampler, FusedOrtSampler):
        assert_the_same_clips(kind(tmp_path, threads=1), model)


@pytest.mark.slow
def test_litert_on_four_axes_and_all_in_xnnpack(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    file = export_litert(model, tmp_path)
    assert_builtin_and_flat(file, made_of="FULLY_CONNECTED")
    assert_all_delegated(file)
    assert_the_same_clips(LiteRtSampler(file, threads=1), model)


@pytest.mark.slow
def test_saved_model(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    version = export_saved_model(model, tmp_path / "clips", pixels="float32", num_steps=2)
    assert_the_same_clips(SavedModelSampler(version.parent), model)
