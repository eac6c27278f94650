"""ONNX Runtime against Keras, with the same noise: single calls, whole samples, every task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion import Sampler

SINGLE, WHOLE = 3e-5, 2e-4

Verb = Callable[[Any, np.ndarray, dict[str, Any]], np.ndarray]

TASKS: dict[str, Verb] = {
    "generate": lambda sampler, clips, how: sampler.generate(len(clips), **how),
    "predict_frames": lambda sampler, clips, how: sampler.predict_frames(clips[:, :2], **how),
    "interpolate": lambda sampler, clips, how: sampler.interpolate(clips[:, :1], clips[:, 3:], **how),
}


def pixels(clip: np.ndarray) -> np.ndarray:
    return np.rint((clip + 1.0) * 127.5).astype(np.uint8).astype(int)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (2, 4, 8, 8), (5, 4, 8, 8), (2, 1, 8, 8), (1, 9, 8, 8), (2, 3, 4, 20)])
def test_single_call(
    model: kvdiff.VideoDiffusion, sampler: Sampler, rng: np.random.Generator, shape: tuple[int, ...]
) -> None:
    noisy_clip = rng.standard_normal((*shape, 1)).astype(np.float32)
    noise_label = rng.uniform(size=shape[:2]).astype(np.float32)
    noise_label[:, ::3] = 0.0  # Known frames.
    expected = keras.ops.convert_to_numpy(model.sampler.engine.denoise(noisy_clip, noise_label))
    assert np.abs(expected).max() > 0.1
    assert np.abs(sampler.engine.denoise(noisy_clip, noise_label) - expected).max() <= SINGLE


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("num_steps", [10, 50])
@pytest.mark.parametrize("solver", ["ddim", "ddpm"])
@pytest.mark.parametrize("task", TASKS)
def test_whole_sample(
    model: kvdiff.VideoDiffusion,
    sampler: Sampler,
    rng: np.random.Generator,
    task: str,
    solver: str,
    num_steps: int,
    batch: int,
) -> None:
    clips = rng.uniform(-1, 1, (batch, 4, 8, 8, 1)).astype(np.float32)
    how = {"solver": solver, "num_steps": num_steps, "seed": 11}
    expected, found = TASKS[task](model, clips, how), TASKS[task](sampler, clips, how)
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert np.abs(expected).max() == 1.0, "the clamp was never reached"
    assert expected.std() > 0.1
    assert np.abs(found - expected).max() <= WHOLE
    assert np.abs(pixels(found) - pixels(expected)).max() <= 1


def test_other_frame_counts(model: kvdiff.VideoDiffusion, sampler: Sampler, rng: np.random.Generator) -> None:
    past = rng.uniform(-1, 1, (2, 3, 8, 8, 1)).astype(np.float32)
    for frames in (1, 6):
        expected, found = (s.predict_frames(past, frames, num_steps=5, solver="ddpm") for s in (model, sampler))
        assert found.shape == (2, frames, 8, 8, 1)
        assert np.abs(found - expected).max() <= WHOLE


def test_known_frames_come_back_bit_identical(sampler: Sampler, rng: np.random.Generator) -> None:
    clip = rng.uniform(-1, 1, (2, 4, 8, 8, 1)).astype(np.float32)
    known = np.array([[True, False, False, True], [False, True, False, False]])
    filled = sampler.infill(clip, known, num_steps=10, solver="ddpm")
    assert filled[known].tobytes() == clip[known].tobytes()
    assert (filled[~known] != clip[~known]).mean() > 0.9


def test_a_process_without_tensorflow_and_keras_samples_the_file(
    sampler: Sampler, exported: Path, run_python: Callable[..., str], tmp_path: Path
) -> None:
    run_python(f"""
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tf_keras", "onnx", "tf2onnx"):
            raise ImportError(f"blocked: {{name}}")

sys.meta_path.insert(0, Blocked())
import numpy as np
from kvdiff.runtime import OrtSampler

sampler = OrtSampler({str(exported)!r}, providers=["CPUExecutionProvider"], threads=1)
past = np.full((2, 2, 8, 8, 1), 0.5, np.float32)
how = dict(num_steps=4, seed=3)
np.savez("clips.npz", made=sampler.generate(2, **how), future=sampler.predict_frames(past, **how))
""")
    there = np.load(tmp_path / "clips.npz")
    past = np.full((2, 2, 8, 8, 1), 0.5, np.float32)
    assert np.array_equal(there["made"], sampler.generate(2, num_steps=4, seed=3))
    assert np.array_equal(there["future"], sampler.predict_frames(past, num_steps=4, seed=3))
