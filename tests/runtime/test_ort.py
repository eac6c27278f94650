"""The ONNX Runtime sampler: what it computes, what it refuses, and when it warns."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from kvdiff.diffusion import Sampler
from kvdiff.runtime import ArtefactError, OrtSampler
from kvdiff.runtime.manifest import METADATA, canonical_json
from tests.runtime.handmade import SAMPLER, make_graph, write_artefact

PAST = np.zeros((2, 2, 8, 8, 1), np.float32)


@pytest.fixture
def sampler(artefact: Path) -> Sampler:
    return OrtSampler(artefact, providers=["CPUExecutionProvider"], threads=1)


def test_denoise_runs_the_graph(sampler: Sampler, rng: np.random.Generator) -> None:
    noisy_clip, noise_label = rng.standard_normal((3, 5, 4, 6, 1)), rng.uniform(size=(3, 5))
    out = sampler.engine.denoise(noisy_clip, noise_label)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, noisy_clip / 2 + noise_label[:, :, None, None, None], rtol=1e-6, atol=1e-6)


def test_one_step_is_the_networks_prediction_of_x_0(sampler: Sampler, rng: np.random.Generator) -> None:
    """One DDIM step from pure noise lands on D = clamp(alpha x - sigma F): equation (5) with the v-prediction."""
    alpha, sigma = sampler.spec.schedule.alpha[-1], sampler.spec.schedule.sigma[-1]
    label = np.arctan2(sigma, alpha) * 2 / np.pi
    start = []
    denoise = sampler.engine.denoise
    sampler.engine.denoise = lambda x, noise_label, inputs: start.append(x) or denoise(x, noise_label)
    clip = sampler.generate(2, num_steps=1)
    np.testing.assert_allclose(clip, np.clip(alpha * start[0] - sigma * (start[0] / 2 + label), -1, 1), atol=1e-6)


def test_a_clip_does_not_depend_on_the_batch_around_it(sampler: Sampler) -> None:
    together = sampler.generate(5, num_steps=4, solver="ddpm", seed=2)
    alone = [sampler.generate(1, num_steps=4, solver="ddpm", seed=2, first_sample=i) for i in range(5)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-6)
    in_chunks = sampler.generate(5, num_steps=4, solver="ddpm", seed=2, batch_size=2)
    np.testing.assert_allclose(together, in_chunks, atol=1e-6)


def test_progress_counts_network_calls(sampler: Sampler) -> None:
    seen: list[tuple[int, int]] = []
    sampler.generate(3, num_steps=2, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_known_frames_come_back_bit_identical(sampler: Sampler, rng: np.random.Generator) -> None:
    clip = rng.uniform(-1, 1, (2, 4, 8, 8, 1)).astype(np.float32)
    known = np.array([True, False, True, False])
    assert sampler.infill(clip, known, solver="ddpm")[:, known].tobytes() == clip[:, known].tobytes()


@pytest.mark.parametrize(
    ("past", "message"),
    [
        (PAST[0], r"`past`: expected shape \[batch, frames, 8, 8, 1\]. Received: \[2, 8, 8, 1\]"),
        (PAST[:, :, :4], r"`past`: expected shape .*Received: \[2, 2, 4, 8, 1\]"),
        (PAST.repeat(3, axis=-1), r"`past`: expected shape .*Received: \[2, 2, 8, 8, 3\]"),
        (PAST[:0], r"`past`: expected shape .*Received: \[0, 2, 8, 8, 1\]"),
        (np.full_like(PAST, np.nan), r"`past`: expected values in \[-1, 1\], no NaN"),
        (PAST + 255, r"`past`: expected values in \[-1, 1\].*maximum 255"),
        (PAST.astype(np.int64), "`past`: expected floats .*or uint8 pixels. Received: dtype int64"),
        (PAST.repeat(2, axis=1), "`past`: expected fewer than 4 frames"),
    ],
)
def test_bad_clips_are_refused(sampler: Sampler, past: np.ndarray, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        sampler.predict_frames(past)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"num_steps": 0}, "`num_steps`: expected an integer .*Received: 0"),
        ({"num_steps": 1001}, "`num_steps`: expected an integer .*Received: 1001"),
        ({"num_steps": 2.5}, "`num_steps`: expected an integer .*Received: 2.5"),
        ({"solver": "magic"}, r"`solver`: expected one of \['consistency', 'ddim'.*Received: 'magic'"),
        ({"solver": "ddim", "eta": 2.0}, "`eta`: expected a number in .*Received: 2.0"),
        ({"etta": 1.0}, r"expected options among .*Received: \['etta'\]"),
        ({"spacing": "odd"}, "`spacing`: expected one of .*Received: 'odd'"),
        ({"seed": -1}, "`seed`: expected an integer .*Received: -1"),
        ({"batch_size": 0}, "`batch_size`: expected an integer >= 1. Received: 0"),
        ({"num_frames": 0}, "`num_frames`: expected an integer >= 1. Received: 0"),
    ],
)
def test_bad_sampling_arguments_are_refused(sampler: Sampler, how: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        sampler.generate(**how)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"threads": 0}, "`threads`: expected an integer >= 1. Received: 0"),
        ({"providers": ["Cuda"]}, "`providers`: expected one of .*'CPUExecutionProvider'.*Received: 'Cuda'"),
        ({"providers": "CPUExecutionProvider"}, "`providers`: expected a list of names"),
        ({"providers": []}, "`providers`: expected a list of names"),
    ],
)
def test_bad_session_arguments_are_refused(artefact: Path, how: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OrtSampler(artefact, **how)


def test_a_provider_that_cannot_be_used_is_warned_about(artefact: Path) -> None:
    absent = sorted(set(onnxruntime.get_all_providers()) - set(onnxruntime.get_available_providers()))[0]
    with pytest.warns(RuntimeWarning, match=f"expected .'{absent}'. to run the model. Received: .'CPU") as caught:
        sampler = OrtSampler(artefact, providers=[(absent, {"device_id": 0}), "CPUExecutionProvider"])
    assert caught[0].filename == __file__
    assert sampler.engine.providers == ("CPUExecutionProvider",)
    assert np.isfinite(sampler.generate(num_steps=1)).all()


def test_a_gpu_build_without_a_gpu_warns_by_default(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a build lists CUDA, starts on the CPU, and raises nothing."""
    built_in = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: built_in)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    start = onnxruntime.InferenceSession
    asked = []

    def cpu_only(path: Path, options: Any, providers: list[str]) -> Any:
        asked.extend(providers)
        return start(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", cpu_only)
    with pytest.warns(RuntimeWarning, match="expected .'CUDAExecutionProvider'. to run the model"):
        OrtSampler(artefact)
    assert asked == built_in


def test_the_cpu_as_asked_for_is_no_reason_to_warn(artefact: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert OrtSampler(artefact, providers=["CPUExecutionProvider"]).engine.providers == ("CPUExecutionProvider",)


def test_missing_onnxruntime_names_the_extra(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'pip install "keras-video-diffusion\[onnx\]"'):
        OrtSampler(artefact)


def test_a_foreign_model_with_a_manifest_of_its_own_is_refused(tmp_path: Path) -> None:
    foreign = write_artefact(tmp_path, make_graph({}))
    with pytest.raises(ArtefactError, match="whose own sampler configuration is not the one in its manifest"):
        OrtSampler(foreign)
    renamed = write_artefact(tmp_path, make_graph({METADATA: canonical_json(SAMPLER)}, output="logits"))
    with pytest.raises(ArtefactError, match="whose outputs are {'logits': .* its manifest says {'raw_output'"):
        OrtSampler(renamed)


def test_what_onnxruntime_cannot_open_is_refused(tmp_path: Path) -> None:
    graph = make_graph({METADATA: canonical_json(SAMPLER)})
    graph.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ArtefactError, match=r"denoiser.onnx, which onnxruntime .* cannot open .*NoSuchOperator"):
        OrtSampler(write_artefact(tmp_path, graph))
