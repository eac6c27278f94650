"""The deployment kit `export/tf_serving`, run as far as a machine without the server allows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from kvdiff.runtime import SavedModelSampler
from tests.export.kit import KITS, imports_of, run_without

KIT = KITS / "tf_serving"


def test_programs_need_what_they_say() -> None:
    assert imports_of(KIT / "produce.py") == {"kvdiff"}
    assert imports_of(KIT / "call_rest.py") == set()
    assert imports_of(KIT / "call_grpc.py") == {"grpc", "numpy", "tensorflow", "tensorflow_serving"}
    lines = (KIT / "requirements-grpc.txt").read_text().splitlines()
    required = {re.split("[<>=]", line)[0] for line in lines if not line.startswith("#")}
    assert required == {"numpy", "tensorflow-serving-api"}  # Which requires grpcio and TensorFlow.


def test_configuration_is_the_servers_and_consistent() -> None:
    config = text_format.Parse((KIT / "models.config").read_text(), model_server_config_pb2.ModelServerConfig())
    served = {model.name: model.base_path for model in config.model_config_list.config}
    assert served == {"clips": "/models/clips", "clips_png": "/models/clips_png"}
    server = yaml.safe_load((KIT / "docker-compose.yml").read_text())["services"]["server"]
    mounts = dict(volume.split(":")[:2] for volume in server["volumes"])
    assert mounts["./models"] == "/models"
    flags = dict(flag.removeprefix("--").split("=") for flag in server["command"])
    for name, flag in (("models.config", "model_config_file"), ("batching.config", "batching_parameters_file")):
        assert (KIT / name).is_file() and mounts[f"./{name}"] == flags[flag]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])


def test_batch_sizes_rise_to_the_largest() -> None:
    """The server refuses others."""
    text = (KIT / "batching.config").read_text()
    sizes = [int(size) for size in re.findall(r"^allowed_batch_sizes: (\d+)$", text, re.MULTILINE)]
    (largest,) = re.findall(r"^max_batch_size { value: (\d+) }$", text, re.MULTILINE)
    assert sizes == sorted(sizes) and sizes[-1] == int(largest)


@pytest.mark.slow
def test_produce_serve_and_predict_over_grpc(served_models: Path, tmp_path: Path) -> None:
    past = np.random.default_rng(0).integers(0, 256, (2, 2, 8, 8, 1), np.uint8)
    np.save(tmp_path / "past.npy", past)
    service = [sys.executable, "-m", "tests.export.prediction_service", str(served_models / "clips" / "1")]
    with subprocess.Popen(
        [*service, str(tmp_path / "batches")], cwd=KITS.parent, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            address = f"127.0.0.1:{int(server.stdout.readline())}"
            options = ["past.npy", "clip.npy", "--num-frames", "4", "--seed", "6", "--server", address]
            printed = run_without(["kvdiff", "keras", "tf_keras"], KIT / "call_grpc.py", *options, cwd=tmp_path)
        finally:
            server.kill()
    assert "2 clips of 4 frames in clip.npy" in printed
    clip = np.load(tmp_path / "clip.npy")
    assert clip.dtype == np.uint8 and clip[:, :2].tobytes() == past.tobytes()
    sampler = SavedModelSampler(served_models / "clips")
    expected = (sampler.predict_frames(past, solver="ddpm", num_steps=3, seed=6) + 1) * 127.5
    np.testing.assert_allclose(clip[:, 2:], expected, rtol=0, atol=0.5 + 2e-4 * 127.5)
