"""Files of fixed shape: the clips of the dynamic ones, without a node that computes a shape, and nothing else."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest

import kvdiff
from kvdiff.diffusion.conditions import FrameVectors
from kvdiff.export import export_litert, export_onnx, export_onnx_sampler, verify
from kvdiff.export.operators import of_onnx
from kvdiff.layers.known_context import KnownContext
from kvdiff.models.denoiser import condition_inputs
from kvdiff.runtime import ArtefactError, FusedOrtSampler, LiteRtSampler, OrtSampler, open_sampler
from kvdiff.runtime.manifest import manifest_path
from tests.export.test_latent import autoencoder, network

CONDITIONS = {"push": FrameVectors(2)}
GIVEN = {"push": np.sin(np.arange(24)).reshape(3, 4, 2)}
CLIPS = np.random.default_rng(3).uniform(-1, 1, (3, 4, 8, 8, 1)).astype(np.float32)
CPU: dict[str, Any] = dict(providers=["CPUExecutionProvider"], threads=1)
RUNTIMES = {"onnx": OrtSampler, "onnx-sampler": FusedOrtSampler}
OF_SHAPES = {"Shape", "Range", "ConstantOfShape", "Expand", "Gather"}


@pytest.fixture(scope="module")
def model() -> kvdiff.VideoDiffusion:
    """A model of a condition whose network looks for known frames, which takes shape arithmetic."""
    inputs = {
        "noisy_clip": keras.Input((None, None, None, 1), name="noisy_clip"),
        "noise_label": keras.Input((None,), name="noise_label"),
    }
    kernel = keras.initializers.RandomNormal(stddev=0.4, seed=1)
    seen = KnownContext()(*inputs.values())
    inputs |= condition_inputs(CONDITIONS, 1)
    pushed = keras.layers.Dense(1, kernel_initializer=kernel)(inputs["push"] * inputs["told"][:, None])
    raw = keras.layers.Dense(1, kernel_initializer=kernel)(seen) * (1.0 + pushed[..., None, None])
    denoiser = keras.Model(inputs, raw)
    denoiser.conditions = CONDITIONS
    return kvdiff.VideoDiffusion((4, 8, 8, 1), denoiser)


@pytest.fixture(scope="module")
def runs(model: kvdiff.VideoDiffusion, tmp_path_factory: pytest.TempPathFactory) -> dict[bool | str, Path]:
    """Folders with both ONNX files, by what is fixed."""
    folders = {}
    for static in (False, "size", True):
        folders[static] = tmp_path_factory.mktemp("run")
        export_onnx_sampler(export_onnx(model, folders[static], static=static), folders[static])
    return folders


def shapes(path: Path) -> dict[str, list[Any]]:
    manifest = json.loads(manifest_path(path).read_text())
    return {name: each["shape"] for name, each in {**manifest["inputs"], **manifest["outputs"]}.items()}


def test_manifest_says_what_is_fixed(runs: dict[bool | str, Path]) -> None:
    found = shapes(runs[True] / "denoiser.onnx")
    assert found["noisy_clip"] == found["raw_output"] == [1, 4, 8, 8, 1]
    assert (found["noise_label"], found["push"], found["told"]) == ([1, 4], [1, 4, 2], [1, 1])
    assert shapes(runs["size"] / "denoiser.onnx")["noisy_clip"] == ["batch", "frames", 8, 8, 1]
    fused = shapes(runs[True] / "sampler.onnx")
    assert fused["start"] == fused["clip"] == [1, 4, 8, 8, 1] and fused["guidance"] == ["calls", 1]
    assert fused["table"] == ["calls", 8, 1, 4] and fused["history_out"] == [4, 1, 4, 8, 8, 1]


def test_no_node_computes_a_shape(runs: dict[bool | str, Path]) -> None:
    counts = {static: collections.Counter(of_onnx(folder / "denoiser.onnx")) for static, folder in runs.items()}
    assert OF_SHAPES & set(counts[False]) and not OF_SHAPES & set(counts[True])
    total = [sum(counts[static].values()) for static in (False, "size", True)]
    assert total[0] >= total[1] > total[2]
    onnx.checker.check_model(onnx.load(runs[True] / "sampler.onnx"), full_check=True)


@pytest.mark.parametrize("static", ["size", True])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_static_samples_are_those_of_the_dynamic_file(
    runs: dict[bool | str, Path], runtime: str, static: bool | str
) -> None:
    ours, theirs = (RUNTIMES[runtime](runs[which], **CPU) for which in (static, False))
    for how in (
        {},
        {"solver": "ddpm", "conditions": GIVEN},
        {"conditions": GIVEN, "guidance": [0.5, 3.0, 1.0], "guidance_interval": (0.2, 0.8), "guidance_rescale": 0.5},
    ):
        sampling = dict(num_steps=4, seed=2, **how)
        np.testing.assert_allclose(ours.generate(3, **sampling), theirs.generate(3, **sampling), atol=2e-6)
    known = np.array([[True, False, False, True], [False] * 4, [False, True, True, False]])
    found, expected = (sampler.infill(CLIPS, known, num_steps=4, solver="dpmpp_2m") for sampler in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found[known].tobytes() == CLIPS[known].tobytes()
    rolled = dict(num_steps=3, plan="rolling", conditions={"push": np.ones((1, 10, 2))})
    np.testing.assert_allclose(ours.rollout(10, **rolled), theirs.rollout(10, **rolled), atol=2e-6)


def test_a_device_loop_of_one_clip(runs: dict[bool | str, Path]) -> None:
    bound, host = (OrtSampler(runs[True], io_binding=binds, **CPU) for binds in (True, False))
    for batch in (1, 2):
        np.testing.assert_allclose(bound.generate(batch, num_steps=3), host.generate(batch, num_steps=3), atol=2e-6)


@pytest.mark.parametrize("binds", [False, True])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_other_shapes_are_refused_by_name(runs: dict[bool | str, Path], runtime: str, binds: bool) -> None:
    options = {**CPU, **({"io_binding": True} if binds and runtime == "onnx" else {})}
    wanted = (
        r"Sampler: expected clips of \[4, 8, 8, 1\], the shape this model was exported for. Received: \[3, 8, 8, 1\]"
    )
    with pytest.raises(ValueError, match=wanted):
        RUNTIMES[runtime](runs[True], **options).generate(1, num_frames=3, num_steps=2)
    of_size = RUNTIMES[runtime](runs["size"], **options)
    assert of_size.generate(2, num_frames=7, num_steps=2).shape == (2, 7, 8, 8, 1)
    with pytest.raises(ValueError, match=r"expected clips of \['frames', 8, 8, 1\]"):
        of_size.engine.run_window(None, np.zeros((1, 4, 16, 16, 1), np.float32), None, None)


def test_litert_takes_the_same_shape_and_says_so(trivial: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    sampler = LiteRtSampler(export_litert(trivial, tmp_path))
    with pytest.raises(ValueError, match=r"LiteRtSampler: expected clips of \[4, 8, 8, 1\].*Received: \[3, 8, 8, 1\]"):
        sampler.generate(1, num_frames=3, num_steps=2)


def test_a_model_whose_own_plan_has_shorter_windows_is_verified(trivial: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    own = {"predict": {"at_a_time": 1}}
    model = kvdiff.VideoDiffusion((4, 8, 8, 1), trivial.denoiser, sampling=own)
    files = [export_onnx(model, tmp_path, static=True), export_litert(model, tmp_path)]
    assert all(verdict.passes for verdict in verify(model, tmp_path, num_steps=2, batches=(2,), solvers=("ddim",)))
    past = CLIPS[:, :2]
    for path in files:
        with pytest.raises(ValueError, match=r"Received: \[3, 8, 8, 1\]"):
            open_sampler(path).predict_frames(past, num_steps=2)
        assert open_sampler(path).predict_frames(past, num_steps=2, plan=None).shape == (3, 2, 8, 8, 1)


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "int8"])
def test_other_precisions(trivial: kvdiff.VideoDiffusion, tmp_path: Path, precision: str) -> None:
    path = export_onnx(trivial, tmp_path, precision=precision, static=True)
    assert shapes(path)["noisy_clip"] == [1, 4, 8, 8, 1]
    assert np.isfinite(OrtSampler(path, **CPU).generate(2, num_steps=2)).all()


def test_a_static_denoiser_of_latent_clips(tmp_path: Path) -> None:
    """Its autoencoder takes any number of frames; a graph that contains it can therefore not be static."""
    model = kvdiff.VideoDiffusion((4, 8, 8, 1), network(3), codec=autoencoder())
    path = export_onnx(model, tmp_path, static=True)
    assert shapes(path)["noisy_clip"] == [1, 4, 2, 2, 3]
    ours, theirs = (each.predict_frames(CLIPS[:, :2], num_steps=3) for each in (OrtSampler(path, **CPU), model))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    with pytest.raises(ValueError, match="`denoiser`: expected one that is not `static`"):
        export_onnx_sampler(path, tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_wrong_arguments_are_named(trivial: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    for wrong in ("clip", 1, None):
        with pytest.raises(ValueError, match=f'`static`: expected True, False or "size". Received: {wrong!r}'):
            export_onnx(trivial, tmp_path / "new", static=wrong)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ArtefactError):
        OrtSampler(tmp_path)
