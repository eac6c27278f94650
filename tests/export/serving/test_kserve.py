"""`call_rest.py` of the TensorFlow Serving kit against KServe's REST server, which knows nothing of kvdiff."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kvdiff.runtime import SavedModelSampler
from tests.export.kit import KITS
from tests.export.serving.ports import free_port, wait_for


@pytest.fixture(scope="module")
def server(served_models: Path) -> Iterator[str]:
    """The address of a KServe server over what `produce.py` wrote."""
    port = free_port()
    names = [f"{name}={served_models / name / '1'}" for name in ("clips", "clips_png")]
    command = [sys.executable, "-m", "tests.export.serving.kserve_server", str(port), *names]
    with subprocess.Popen(command, cwd=KITS.parent) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/v1/models/clips", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def test_generate_as_png(server: str, served_models: Path, tmp_path: Path) -> None:
    options = ["frames", "--num-clips", "2", "--seed", "5", "--server", server]
    command = [
        sys.executable,
        "-I",
        "-S",
        str(KITS / "tf_serving" / "call_rest.py"),
        *options,
    ]  # Without any installed package.
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "2 clips of 4 frames in frames\n"
    files = [[tmp_path / "frames" / f"clip{clip}_frame{frame}.png" for frame in range(4)] for clip in range(2)]
    made = np.array([[tf.io.decode_png(file.read_bytes()) for file in row] for row in files])
    expected = SavedModelSampler(served_models / "clips").generate(2, solver="ddpm", num_steps=3, seed=5)
    np.testing.assert_allclose(made, (expected + 1) * 127.5, rtol=0, atol=0.5 + 2e-4 * 127.5)


def test_rows_know_other_frames(server: str, served_models: Path) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 8, 8, 1), np.uint8)
    rows = [
        {"clip": clip.tolist(), "num_before": 1, "num_after": after, "seed": 2**62, "sample": row}
        for row, (clip, after) in enumerate(zip(clips, (1, 2), strict=True))
    ]
    body = json.dumps({"signature_name": "interpolate", "instances": rows}).encode()
    request = urllib.request.Request(f"{server}/v1/models/clips:predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=100) as answer:
        made = np.array(json.load(answer)["predictions"])
    known = np.array([[True, False, False, True], [True, False, True, True]])
    assert (made[known] == clips[known]).all()
    sampler = SavedModelSampler(served_models / "clips")
    expected = sampler.infill(clips, known, solver="ddpm", num_steps=3, seed=2**62)
    np.testing.assert_allclose(made, (expected + 1) * 127.5, rtol=0, atol=0.5 + 2e-4 * 127.5)
