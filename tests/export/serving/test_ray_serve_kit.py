"""The deployment kit `export/ray_serve`: two replicas on this machine, where no framework can be imported."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from kvdiff.runtime import OrtSampler
from tests.export.kit import KITS, imports_of
from tests.export.serving.ports import free_port, wait_for

KIT = KITS / "ray_serve"
BLOCK = """
import sys
sys.modules |= dict.fromkeys(("tensorflow", "keras", "tf_keras", "onnx", "tf2onnx"))
"""


@pytest.fixture(scope="module")
def server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `serve run`; every process of Ray starts by reading `sitecustomize.py`."""
    folder, port = tmp_path_factory.mktemp("ray"), free_port()
    (folder / "sitecustomize.py").write_text(BLOCK)
    environment = {
        **os.environ,
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join([str(folder), str(KITS.parent)]),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    application = {"import_path": "serve_clips:app", "args": {"model": str(exported), "replicas": "2"}}
    config = {"http_options": {"host": "127.0.0.1", "port": port}, "applications": [application]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))  # What the command line says, and a port.
    command = [str(Path(sys.executable).with_name("serve")), "run", str(folder / "config.yaml")]
    with subprocess.Popen(command, cwd=KIT, env=environment) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/-/healthz", process)
            wait_for_clips(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def wait_for_clips(url: str, process: subprocess.Popen) -> None:
    """Until the application, and not only Ray, answers."""
    for _ in range(200):
        try:
            post(f"{url}/?num_steps=1")
        except urllib.error.HTTPError:  # No such route.
            wait_for(f"{url}/-/routes", process)
            time.sleep(0.3)
        else:
            return
    raise TimeoutError("the application did not start")


def post(url: str, body: bytes = b"") -> np.ndarray:
    with urllib.request.urlopen(urllib.request.Request(url, body, method="POST"), timeout=100) as answer:
        return np.load(io.BytesIO(answer.read()))


def test_many_requests_on_two_replicas_make_what_one_sampler_makes(
    server: str, sampler: OrtSampler, tmp_path: Path
) -> None:
    options = [
        "clips.npy",
        "--num-clips",
        "6",
        "--num-steps",
        "3",
        "--solver",
        "ddpm",
        "--seed",
        "4",
        "--server",
        server,
    ]
    command = [sys.executable, str(KIT / "call.py"), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "6 clips of 4 frames in clips.npy\n"
    expected = sampler.generate(6, num_steps=3, solver="ddpm", seed=4)
    np.testing.assert_allclose(np.load(tmp_path / "clips.npy"), expected, rtol=0, atol=2e-4)


def test_past_frames_are_continued(server: str, sampler: OrtSampler) -> None:
    past = np.random.default_rng(0).integers(0, 256, (2, 2, 8, 8, 1), np.uint8)
    file = io.BytesIO()
    np.save(file, past)
    made = post(f"{server}/?num_steps=3&seed=9", file.getvalue())
    np.testing.assert_allclose(made, sampler.predict_frames(past, num_steps=3, seed=9), rtol=0, atol=2e-4)


def test_bad_requests_are_told(server: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(f"{server}/?solver=euler_maruyama")
    assert refused.value.code == 400 and "`solver`: expected one of" in refused.value.read().decode()


def test_programs_need_what_they_say() -> None:
    assert imports_of(KIT / "serve_clips.py") == {
        "kvdiff",
        "numpy",
        "ray",
        "starlette",
    }  # The last comes with Ray Serve.
    assert imports_of(KIT / "call.py") == {"numpy"}
    required = [line for line in (KIT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert required == ["keras-video-diffusion[onnx]", "ray[serve]>=2.50"]
