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
import psutil
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


class Address(str):
    """Where a server answers, and its process."""

    pid: int


@pytest.fixture(scope="module")
def server(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The address of `serve run`; every process of Ray starts by reading `sitecustomize.py`."""
    folder, port = tmp_path_factory.mktemp("ray"), free_port()
    (folder / "sitecustomize.py").write_text(BLOCK)
    environment = {
        **os.environ,
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join([str(folder), str(KITS.parent)]),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    limits = {"max_clips": "64", "max_steps": "1000"}
    application = {"import_path": "serve_clips:app", "args": limits | {"model": str(exported), "replicas": "2"}}
    config = {"http_options": {"host": "127.0.0.1", "port": port}, "applications": [application]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))  # What the command line says, and a port.
    command = [str(Path(sys.executable).with_name("serve")), "run", str(folder / "config.yaml")]
    with subprocess.Popen(command, cwd=KIT, env=environment) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/-/healthz", process)
            wait_for_clips(f"http://127.0.0.1:{port}", process)
            address = Address(f"http://127.0.0.1:{port}")
            address.pid = process.pid
            yield address
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


@pytest.mark.parametrize(
    ("query", "body", "message"),
    [
        ("solver=euler_maruyama", b"", "`solver`: expected one of"),
        ("num_clips=200000", b"", "`num_clips`: expected an integer from 1 to 64"),
        ("steps=5", b"", "query: expected"),
        ("", b"no array", "magic string"),
    ],
)
def test_bad_requests_are_told(server: str, query: str, body: bytes, message: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(f"{server}/?{query}", body)
    assert refused.value.code == 400 and message in refused.value.read().decode()


def test_a_client_that_hangs_up_stops_its_sampling(server: Address) -> None:
    """Of the 64,000 network calls that were asked for and given up, none goes on in any replica."""
    started = psutil.Process(server.pid).children(recursive=True)
    replicas = [process for process in started if "ServeReplica" in " ".join(process.cmdline())]

    def busy() -> float:
        """Seconds of computing by the replicas."""
        assert len(replicas) == 2
        return sum(p.cpu_times().user for p in replicas)

    idle = busy()
    request = urllib.request.Request(f"{server}/?num_clips=64&num_steps=1000", method="POST")
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(request, timeout=2.0)
    time.sleep(1.5)
    stopped = busy()
    time.sleep(4.0)
    assert stopped - idle > 0.1
    assert busy() - stopped < 0.5 * (stopped - idle)


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
