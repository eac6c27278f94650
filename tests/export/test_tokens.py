"""Denoisers that attend to tokens, exported: the same clips for the same text as in Keras, on every runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion.conditions import ClassLabel, TokenIds, TokenSequence
from kvdiff.export import export_litert, export_onnx, export_onnx_sampler, export_saved_model
from kvdiff.runtime import FusedOrtSampler, LiteRtSampler, OrtSampler, SavedModelSampler

WORDS = ("", "a", "seven", "three", "moves", "up", "and", "left")
CONDITIONS = {"kind": ClassLabel(3), "caption": TokenIds(6, WORDS, blocks=1), "features": TokenSequence(4, 5)}
GIVEN = {
    "caption": ["a seven moves up", "A three moves up, and left."],
    "features": np.cos(np.arange(40)).reshape(2, 4, 5) * (np.arange(4) < [[2], [4]])[..., None],
}
NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "UNet3D": lambda: kvdiff.UNet3D(1, widths=(12,), blocks=1, groups=4, heads=2, conditions=CONDITIONS),
    "VideoTransformer": lambda: kvdiff.VideoTransformer(1, width=24, blocks=2, heads=2, conditions=CONDITIONS),
}


@pytest.fixture(scope="module", params=list(NETWORKS))
def model(request: pytest.FixtureRequest) -> kvdiff.VideoDiffusion:
    keras.utils.set_random_seed(3)
    network = NETWORKS[request.param]()
    rng = np.random.default_rng(3)
    for variable in network.trainable_variables:
        variable.assign_add(0.1 * rng.standard_normal(variable.shape).astype(np.float32))
    return kvdiff.VideoDiffusion((2, 4, 4, 1), network)


@pytest.fixture(scope="module")
def folder(model: kvdiff.VideoDiffusion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    export_onnx_sampler(export_onnx(model, folder), folder)
    return folder


CPU: dict[str, Any] = dict(providers=["CPUExecutionProvider"], threads=1)
RUNTIMES: dict[str, Callable[..., Any]] = {
    "ONNX Runtime": lambda model, folder: OrtSampler(folder, **CPU),
    "fused graph": lambda model, folder: FusedOrtSampler(folder, **CPU),
    "LiteRT": lambda model, folder: LiteRtSampler(export_litert(model, folder), threads=1),
    "SavedModel": lambda model, folder: SavedModelSampler(
        export_saved_model(model, folder / "serving", pixels="float32", num_steps=2, max_calls=9)
    ),
    "a file": lambda model, folder: saved(model, folder).sampler,
}


SLOW = ("LiteRT", "SavedModel")


def saved(model: kvdiff.VideoDiffusion, folder: Path) -> Any:
    model.save(folder / "model.keras")
    return kvdiff.load_model(folder / "model.keras")


@pytest.mark.parametrize(
    "runtime", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in RUNTIMES]
)
def test_text_and_guidance_are_those_of_keras(model: kvdiff.VideoDiffusion, folder: Path, runtime: str) -> None:
    sampler = RUNTIMES[runtime](model, folder)
    assert sampler.spec.conditions == CONDITIONS
    sampling: dict[str, Any] = dict(num_steps=3, seed=2)
    for how in ({}, {"conditions": {"caption": "a three"}}, {"conditions": GIVEN, "guidance": [0.5, 4.0]}):
        expected, found = model.generate(2, **sampling, **how), sampler.generate(2, **sampling, **how)
        np.testing.assert_allclose(found, expected, atol=1e-4)
        if how:
            assert np.abs(expected - model.generate(2, **sampling)).max() > 0.01, "the text changes nothing"
    with pytest.raises(ValueError, match=r"`conditions\['caption'\]`: expected words of .*'seven'.* Received: .*nine"):
        sampler.generate(1, conditions={"caption": "a nine"}, **sampling)
