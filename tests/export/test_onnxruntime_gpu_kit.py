"""The deployment kit `export/onnxruntime_gpu`, run as far as a machine without a GPU allows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import kvdiff
from kvdiff.diffusion.process.noise import SAMPLING, video_noise
from kvdiff.runtime import OrtSampler
from tests.export.kit import imports_of, run_without

ROOT = Path(kvdiff.__file__).parents[1]
KIT = ROOT / "export" / "onnxruntime_gpu"

# Runs a program where importing a framework fails.
WITHOUT_FRAMEWORKS = """
import runpy, sys
for name in ("tensorflow", "keras", "tf_keras", "onnx", "tf2onnx"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_kit(folder: Path, *arguments: str, program: str = "sample.py") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_FRAMEWORKS, str(KIT / program), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)


def test_it_samples_on_the_cpu(exported: Path, sampler: OrtSampler, tmp_path: Path) -> None:
    options = ["--num-clips", "3", "--num-steps", "4", "--seed", "5", "--provider", "CPUExecutionProvider"]
    done = run_kit(tmp_path, str(exported), "clips.npy", *options)
    assert "on CPUExecutionProvider" in done.stdout and "Warning" not in done.stderr
    np.testing.assert_allclose(
        np.load(tmp_path / "clips.npy"), sampler.generate(3, num_steps=4, seed=5), rtol=0, atol=2e-4
    )


@pytest.mark.parametrize("past", [0, 2])
def test_the_loop_by_hand_makes_the_samplers_clips(
    exported: Path, sampler: OrtSampler, tmp_path: Path, past: int
) -> None:
    """Where there is no kvdiff either: the noise label, and everything else, is right."""
    rng = np.random.default_rng(2)
    frames = rng.uniform(-1, 1, (2, past, 8, 8, 1)).astype(np.float32)
    np.save(tmp_path / "past.npy", frames)
    np.save(tmp_path / "noise.npy", video_noise(9, 0, np.arange(2), (4, 8, 8, 1), SAMPLING))
    more = ["--past", "past.npy"] if past else ["--num-clips", "2"]
    options = [str(exported.parent), "clips.npy", "--noise", "noise.npy", *more]
    printed = run_without(["kvdiff", "tensorflow", "keras", "onnx"], KIT / "numpy_loop.py", *options, cwd=tmp_path)
    assert printed == "2 clips of 4 frames in clips.npy\n"
    known, clip = np.arange(4) < past, np.zeros((2, 4, 8, 8, 1), np.float32)
    clip[:, :past] = frames
    expected = sampler.infill(clip, known, solver="ddim", num_steps=20, seed=9)
    np.testing.assert_allclose(np.load(tmp_path / "clips.npy"), expected, rtol=0, atol=1e-5)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is built in")
def test_it_falls_back_loudly(exported: Path, tmp_path: Path) -> None:
    done = run_kit(tmp_path, str(exported.parent), "clips.npy", "--num-steps", "1")
    assert "RuntimeWarning: `providers`: expected ['CUDAExecutionProvider'] to run the model" in done.stderr
    assert "on CPUExecutionProvider" in done.stdout
    assert np.load(tmp_path / "clips.npy").shape == (4, 4, 8, 8, 1)


def test_the_benchmark_compares_every_way_of_running(exported: Path, tmp_path: Path) -> None:
    done = run_kit(
        tmp_path, str(exported.parent), "--cpu", "--num-steps", "3", "--repeats", "1", program="benchmark.py"
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all(line.endswith("CPUExecutionProvider: ok") for line in lines)
    assert "clips by way of the host" in lines[0] and "clips stay on the device" in lines[1]


@pytest.mark.gpu
def test_the_benchmark_on_a_gpu(exported: Path, tmp_path: Path) -> None:
    done = run_kit(tmp_path, str(exported.parent), "--num-steps", "20", program="benchmark.py")
    assert done.stdout.count("CUDAExecutionProvider: ok") == 3


def test_it_needs_the_deployment_extra_alone() -> None:
    lines = (KIT / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == ["keras-video-diffusion[gpu]"]
    source = (KIT / "sample.py").read_text("utf-8")
    imported = {line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import", "from"))}
    assert imported == {"__future__", "argparse", "time", "numpy", "kvdiff"}
    assert imports_of(KIT / "numpy_loop.py") == {"numpy", "onnxruntime"}
