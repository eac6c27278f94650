"""Sampling with bound inputs and outputs: the same clips as by way of the host. Run on the CPU's memory here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from kvdiff.diffusion import Sampler
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.export.onnx_step import step_model
from kvdiff.runtime import CPU, OrtSampler, cuda, tensorrt
from kvdiff.runtime.ort_device import STEP, DeviceLoop


@pytest.fixture
def host(artefact: Path) -> Sampler:
    return OrtSampler(artefact, providers=[CPU], threads=1)


@pytest.fixture
def bound(artefact: Path) -> Sampler:
    return OrtSampler(artefact, providers=[CPU], threads=1, io_binding=True)


def test_step_onnx_is_what_the_mathematics_writes() -> None:
    assert STEP.read_bytes() == step_model().SerializeToString()


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_gives_the_hosts_clips(host: Sampler, bound: Sampler, solver: str) -> None:
    sampling = dict(solver=solver, num_steps=20, seed=4, spacing="karras")
    np.testing.assert_allclose(bound.generate(3, **sampling), host.generate(3, **sampling), atol=1e-5)


def test_tasks_shapes_plans_and_chunks(host: Sampler, bound: Sampler, rng: np.random.Generator) -> None:
    clip = rng.uniform(-1, 1, (3, 4, 8, 8, 1)).astype(np.float32)
    known = np.array([[True, False, False, True], [False] * 4, [False, True, False, False]])
    made, expected = (s.infill(clip, known, num_steps=5, solver="ddpm", batch_size=2) for s in (bound, host))
    np.testing.assert_allclose(made, expected, atol=1e-5)
    assert made[known].tobytes() == clip[known].tobytes()
    rolled = dict(num_steps=6, solver="dpmpp_2m", plan="rolling")
    np.testing.assert_allclose(
        bound.rollout(9, clip[:, :2], **rolled), host.rollout(9, clip[:, :2], **rolled), atol=1e-5
    )
    assert len(bound.engine._loop._buffers) == 3  # Of two chunks, and of the rollout's batch of three.


def test_progress_counts_network_calls(bound: Sampler) -> None:
    seen: list[tuple[int, int]] = []
    bound.generate(1, num_steps=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_clips_do_not_come_back_between_calls(bound: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only numbers a row and the first and last clip cross; with a solver that draws no noise."""
    crossings: list[int] = []
    value = DeviceLoop._value
    monkeypatch.setattr(DeviceLoop, "_value", lambda self, array: crossings.append(array.size) or value(self, array))
    bound.generate(1, num_steps=10, solver="ddim")
    clip = 4 * 8 * 8
    assert sum(size == clip for size in crossings) == 4  # The start, two buffers, and a history of zeros.
    assert max(size for size in crossings if size != clip) <= 4


def test_cuda_graphs_have_a_number_for_each_shape(bound: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded graph replays fixed addresses, so each shape needs one of its own."""
    loop, numbers = bound.engine._loop, []

    class Options(onnxruntime.RunOptions):
        def add_run_config_entry(self, name: str, value: str) -> None:
            numbers.append((name, value))

    monkeypatch.setattr(onnxruntime, "RunOptions", Options)
    loop.cuda_graph = True
    bound.generate(2, num_steps=2)
    bound.generate(1, num_steps=1)
    bound.generate(2, num_steps=1)
    assert numbers == [("gpu_graph_id", value) for value in ("0", "0", "1", "0")]


def test_provider_options() -> None:
    assert cuda() == ("CUDAExecutionProvider", {"device_id": "0"})
    assert cuda(device_id=1, cuda_graph=True)[1] == {"device_id": "1", "enable_cuda_graph": "1"}
    name, options = tensorrt("engines", float16=True, cuda_graph=True)
    assert name == "TensorrtExecutionProvider" and options["trt_engine_cache_path"] == "engines"
    assert options["trt_fp16_enable"] == options["trt_cuda_graph_enable"] == options["trt_engine_cache_enable"] == "1"
    with pytest.raises(ValueError, match="`device_id`: expected an integer >= 0. Received: -1"):
        cuda(device_id=-1)
