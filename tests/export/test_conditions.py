"""Denoisers of conditions, exported: the same clips for the same conditions, guidance and plans as in Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion.conditions import ClassLabel, ClipVector, FrameTimes, FrameVectors, LowResolution
from kvdiff.export import export_litert, export_onnx, export_onnx_sampler
from kvdiff.runtime import FusedOrtSampler, LiteRtSampler, OrtSampler

CONDITIONS = {
    "kind": ClassLabel(3),
    "text": ClipVector(5),
    "push": FrameVectors(2),
    "times": FrameTimes(),
    "small": LowResolution(2, max_noise=0.3),
}
GIVEN = {
    "kind": np.array([0, 2]),
    "text": np.linspace(-1, 1, 10).reshape(2, 5),
    "push": np.sin(np.arange(16)).reshape(2, 4, 2),
    "small": np.cos(np.arange(2 * 4 * 16)).reshape(2, 4, 4, 4, 1),
}


@pytest.fixture(scope="module")
def model() -> kvdiff.VideoDiffusion:
    keras.utils.set_random_seed(3)
    network = kvdiff.UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,), conditions=CONDITIONS)
    rng = np.random.default_rng(3)
    for variable in network.trainable_variables:
        variable.assign_add(0.1 * rng.standard_normal(variable.shape).astype(np.float32))
    return kvdiff.VideoDiffusion((4, 8, 8, 1), network)


@pytest.fixture(scope="module")
def folder(model: kvdiff.VideoDiffusion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conditions")
    export_onnx_sampler(export_onnx(model, folder), folder)
    return folder


@pytest.fixture(scope="module", params=[OrtSampler, FusedOrtSampler])
def sampler(request: pytest.FixtureRequest, folder: Path) -> Any:
    return request.param(folder, providers=["CPUExecutionProvider"], threads=1)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"conditions": {"kind": 1}},
        {"conditions": GIVEN, "augmentation": 0.2},
        {"conditions": GIVEN, "guidance": [0.5, 4.0], "solver": "ddpm"},
        {"conditions": GIVEN, "guidance": 3.0, "guidance_interval": (0.3, 0.7), "guidance_rescale": 0.5},
    ],
    ids=["untold", "class", "all", "guided", "interval"],
)
def test_conditions_and_guidance_are_those_of_keras(model: kvdiff.VideoDiffusion, sampler: Any, how: Any) -> None:
    sampling = dict(num_steps=6, seed=2, **how)
    expected, found = model.generate(2, **sampling), sampler.generate(2, **sampling)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    if how:
        assert np.abs(expected - model.generate(2, num_steps=6, seed=2)).max() > 0.01, "the conditions change nothing"


def test_a_long_video_by_a_plan(model: kvdiff.VideoDiffusion, sampler: Any) -> None:
    push = np.sin(np.arange(18)).reshape(1, 9, 2)
    for plan in ("autoregressive", "rolling"):
        rolled = dict(plan=plan, num_steps=6, seed=1, conditions={"push": push}, guidance=2.0, solver="dpmpp_2m")
        expected, found = model.sampler.rollout(9, **rolled), sampler.rollout(9, **rolled)
        assert found.shape == (1, 9, 8, 8, 1)
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_wrong_conditions_are_refused(sampler: Any) -> None:
    with pytest.raises(ValueError, match=r"`conditions`: expected names among .*'kind'.* Received: \['colour'\]"):
        sampler.generate(1, conditions={"colour": 1})
    with pytest.raises(ValueError, match="expected class labels from 0 to 2"):
        sampler.generate(1, conditions={"kind": 3})


@pytest.mark.slow
def test_litert_takes_conditions_too(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    lite = LiteRtSampler(export_litert(model, tmp_path), threads=1)
    sampling = dict(num_steps=6, seed=2, conditions=GIVEN, guidance=[0.5, 4.0])
    np.testing.assert_allclose(lite.generate(2, **sampling), model.generate(2, **sampling), atol=2e-4)
