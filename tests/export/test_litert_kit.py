"""The deployment kit `export/litert`, run on the CPU of this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import kvdiff
from kvdiff.export import export_litert
from tests.export.kit import KITS, imports_of, run_without

KIT = KITS / "litert"


def test_it_predicts_without_a_framework(trivial: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    export_litert(trivial, tmp_path)
    past = np.random.default_rng(0).integers(0, 256, (2, 2, 8, 8, 1), np.uint8)
    np.save(tmp_path / "past.npy", past)
    options = [str(tmp_path), "past.npy", "future.npy", "--num-steps", "3", "--seed", "6", "--threads", "1"]
    blocked = ["tensorflow", "keras", "tf_keras", "onnxruntime"]
    assert "2 clips, 2 new frames each" in run_without(blocked, KIT / "sample.py", *options, cwd=tmp_path)
    expected = trivial.predict_frames(past, solver="dpmpp_2m", num_steps=3, seed=6)
    np.testing.assert_allclose(np.load(tmp_path / "future.npy"), expected, rtol=0, atol=2e-4)


def test_it_needs_the_deployment_extra_alone() -> None:
    lines = (KIT / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["keras-video-diffusion[litert]"]
    assert imports_of(KIT / "sample.py") == {"kvdiff", "numpy"}
