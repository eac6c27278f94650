"""The loop that a manifest describes is the loop: executed as it stands there, it makes the sampler's clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion.process.noise import SAMPLING, video_noise
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.export.how_to_sample import how_to_sample
from kvdiff.runtime import OrtSampler
from kvdiff.runtime.manifest import METADATA, canonical_json
from tests.runtime.handmade import SAMPLER, make_graph, write_artefact

SCHEDULES: dict[str, dict[str, Any]] = {
    "cosine": {"name": "cosine"},
    "shifted": {"name": "cosine", "logsnr_shift": -1.5},
    "few timesteps": {"name": "cosine", "num_timesteps": 7},
    "flow": {"name": "flow", "logsnr_shift": 0.7},
    "sigmas": {"name": "karras", "sigma_max": 20.0},
}
COMBINED = [(name, "v") for name in SCHEDULES] + [
    ("cosine", "eps"),
    ("cosine", "x0"),
    ("flow", "flow"),
    ("sigmas", "edm"),
]


def made_by(folder: Path, schedule: str, prediction: str) -> Sampler:
    """A sampler over raw_output = noisy_clip / 2 + noise_label."""
    config = {
        **SAMPLER,
        "schedule": dict(NoiseSchedule.from_config(SCHEDULES[schedule]).config),
        "prediction": Prediction(prediction).config,
    }
    graph = make_graph({METADATA: canonical_json(config)})
    return OrtSampler(write_artefact(folder, graph, sampler=config), providers=["CPUExecutionProvider"])


def run(how: dict[str, Any], sampler: Sampler, clip: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The loop of a manifest, with nothing but what the manifest says it needs."""
    noise = video_noise(3, 0, np.arange(len(clip)), clip.shape[1:], SAMPLING)
    names = {name: how[name] for name in ("alphas", "sigmas", "init_std")}
    names |= {"np": np, "denoise": lambda x, label: sampler.engine.denoise(x, label), "clip": clip, "noise": noise}
    names["known"] = known[:, :, None, None, None]
    exec("\n".join(how["loop"]), names)
    return names["x"]


@pytest.mark.parametrize(("schedule", "prediction"), COMBINED)
def test_the_loop_makes_the_samplers_clips(
    tmp_path: Path, rng: np.random.Generator, schedule: str, prediction: str
) -> None:
    sampler = made_by(tmp_path, schedule, prediction)
    how = json.loads(json.dumps(how_to_sample(sampler.spec)))
    clip = rng.uniform(-1, 1, (3, 4, 8, 8, 1)).astype(np.float32)
    known = np.array([[True, True, False, False], [False] * 4, [True, False, False, True]])
    num_steps = len(how["alphas"]) - 1
    expected = sampler.infill(clip, known, solver="ddim", num_steps=num_steps, seed=3)
    found = run(how, sampler, clip, known)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert found.astype(np.float32)[known].tobytes() == clip[known].tobytes()


def test_the_label_matters(tmp_path: Path) -> None:
    """What a reader would guess runs, and gives other clips."""
    sampler = made_by(tmp_path, "shifted", "v")
    how = how_to_sample(sampler.spec)
    guess = "\n".join(how["loop"]).replace("2 / np.pi * np.arctan2(sigma, alpha)", "1 - index / 20")
    clip, known = np.zeros((1, 4, 8, 8, 1), np.float32), np.zeros((1, 4), bool)
    right, wrong = (run({**how, "loop": loop}, sampler, clip, known) for loop in (how["loop"], guess.splitlines()))
    assert np.abs(right - wrong).max() > 0.01


def test_it_says_what_cannot_be_guessed() -> None:
    how = how_to_sample(ModelSpec.from_config(SAMPLER))
    assert "(2 / pi) * atan2(sigma, alpha)" in how["noise_label"] and "known frame -> label 0" in how["noise_label"]
    assert "logsnr_shift" in how["levels"]
    assert len(how["loop"]) <= 15
    docs = (Path(kvdiff.__file__).parents[1] / "docs" / "deployment.md").read_text("utf-8")
    assert "\n".join(how["loop"]) in docs


@pytest.mark.parametrize("kind", ["exported", "fused"])
def test_exports_say_it(exported: Path, tmp_path: Path, kind: str) -> None:
    from kvdiff.export import export_onnx_sampler

    path = exported if kind == "exported" else export_onnx_sampler(exported, tmp_path)
    manifest = json.loads(path.with_name(f"{path.name}.manifest.json").read_text())
    assert manifest["how_to_sample"] == how_to_sample(ModelSpec.from_config(manifest["sampler"]))
