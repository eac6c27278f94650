"""The GPU script on the CPU, with every system; and what a floor is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.benchmarks import gpu
from tests.benchmarks.costs import floor_seconds
from tests.benchmarks.gpu_rows import systems_of
from tests.benchmarks.workers import ROOT

# Where `make test-gpu-script` installs JAX and PyTorch.
JAX = os.environ.get("BENCHMARK_PYTHON_JAX", str(ROOT / ".venv-jax" / "bin" / "python"))
PEER = os.environ.get("BENCHMARK_PYTHON_PEER", str(ROOT / ".venv-peers" / "bin" / "python"))


def test_each_operation_is_bound_by_its_flops_or_its_bytes() -> None:
    peaks = {"flops": 100.0, "bytes": 10.0}
    assert floor_seconds([(300.0, 1.0)], peaks) == 3.0
    assert floor_seconds([(300.0, 1.0), (1.0, 20.0)], peaks) == 3.0 + 4.0
    assert floor_seconds([(1.0, 20.0)], peaks, element_bytes=4, extra_bytes=5.0) == 8.0 + 0.5


def test_systems_may_be_left_out() -> None:
    assert "bfloat16 compiled" in systems_of()["peer"]
    assert systems_of(onnxruntime=False, compiled=False) == dict.fromkeys(("ours", "peer"), ("float32", "bfloat16"))


@pytest.mark.slow
@pytest.mark.skipif(
    not (Path(JAX).exists() and Path(PEER).exists()), reason="needs .venv-jax and .venv-peers: make test-gpu-script"
)
def test_the_script_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, output = str(tmp_path / "files"), tmp_path / "gpu.json"
    gpu.main(["prepare", folder, "--size", "tiny", "--python-ours", sys.executable, "--python-peer", PEER])
    pythons = ["--python-ours", JAX, "--python-peer", PEER, "--python-onnxruntime", sys.executable]
    options = ["--size", "tiny", "--cpu", "--no-compile", "--batch", "2", "--rounds", "2", "--output", str(output)]
    rows = gpu.main(["measure", folder, *options, *pythons])
    assert [row.name for row in rows] == ["train_step", "denoiser_call", "denoiser_call onnxruntime"]
    assert all(set(row.modes["peer"]) == {"float32", "bfloat16"} for row in rows)
    assert set(rows[2].modes["ours"]) == {"float32", "tf32", "float16"}
    training, call, _ = (row.floor for row in rows)
    assert 2.5 < training["flops"] / call["flops"] < 3.5 and all(row.floor["seconds"] > 0 for row in rows)
    assert rows[0].parity["gradients"]["gradient_norm"] < 1e-4
    assert rows[2].parity["onnxruntime"]["float32"]["max_abs"] < 1e-4
    document = json.loads(output.read_text())
    assert document["peaks"]["flops"] > 0 and len(document["rows"]) == 3
    text = output.with_suffix(".txt").read_text()
    assert "train_step: floor" in text and text in capsys.readouterr().out + "\n"


@pytest.mark.slow
@pytest.mark.skipif(not Path(PEER).exists(), reason="needs .venv-peers: make test-gpu-script")
def test_flops_are_those_that_pytorch_counts() -> None:
    code = """
        import dataclasses
        from torch.utils.flop_counter import FlopCounterMode
        from tests.benchmarks import peer
        from tests.benchmarks.sizes import SIZES

        size = dataclasses.replace(SIZES["tiny"], batch=3)
        for what, make in (("train_step", peer.train_step), ("denoiser_call", peer.denoiser_call)):
            call, counter = make("float32", size), FlopCounterMode(display=False)
            with counter:
                call.run(call.fresh())
            counted = sum(flops for flops, _ in peer.cost(what, size.sent()))
            assert counted == counter.get_total_flops(), (what, counted)
    """
    subprocess.run([PEER, "-c", textwrap.dedent(code)], cwd=ROOT, check=True)
