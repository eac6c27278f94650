"""Same seed, same video: Keras, ONNX Runtime with the loop outside and inside, and LiteRT, in any batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion import Sampler
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.export import export_litert, export_onnx_sampler
from kvdiff.runtime import FusedOrtSampler, LiteRtSampler, OrtSampler

TOLERANCE = 2e-4
CLIPS = np.random.default_rng(3).uniform(-1, 1, (3, 4, 8, 8, 1)).astype(np.float32)
TASKS = {
    "generate": lambda sampler, how: sampler.generate(3, **how),
    "predict": lambda sampler, how: sampler.predict_frames(CLIPS[:, :2], **how),
    "interpolate": lambda sampler, how: sampler.interpolate(CLIPS[:, :1], CLIPS[:, 3:], **how),
}


@pytest.fixture(scope="module")
def fused(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Sampler:
    path = export_onnx_sampler(exported, tmp_path_factory.mktemp("fused"))
    return FusedOrtSampler(path, providers=["CPUExecutionProvider"], threads=1)


@pytest.fixture(scope="module")
def samplers(model: kvdiff.VideoDiffusion, exported: Path, fused: Sampler, tmp_path_factory) -> dict[str, Any]:
    return {
        "onnx": OrtSampler(exported, providers=["CPUExecutionProvider"], threads=1),
        "onnx, bound": OrtSampler(exported, providers=["CPUExecutionProvider"], threads=1, io_binding=True),
        "onnx-sampler": fused,
        "litert": LiteRtSampler(export_litert(model, tmp_path_factory.mktemp("lite")), threads=1),
    }


@pytest.mark.parametrize("task", TASKS)
def test_on_every_runtime_and_in_any_batch(model: kvdiff.VideoDiffusion, samplers: Any, task: str) -> None:
    how = dict(num_steps=6, solver="dpmpp_2m_sde", seed=2**63 + 5, first_sample=7)
    expected = TASKS[task](model, how)
    for name, sampler in samplers.items():
        for batch_size in (1, 2, 32):
            found = TASKS[task](sampler, how | {"batch_size": batch_size})
            np.testing.assert_allclose(found, expected, atol=TOLERANCE, err_msg=f"{name}, batch size {batch_size}")
    assert np.abs(TASKS[task](model, how | {"seed": 5}) - expected).max() > 0.1


def compare(model: Sampler, fused: Sampler, solver: str, num_steps: int, task: str) -> bool:
    """Whether the solver takes so few steps; where it does, the clips must agree."""
    how = dict(solver=solver, num_steps=num_steps, seed=6, spacing="karras")
    if solver in ("heun", "edm", "dpm_2") and num_steps == 4:  # Too few for a two-call solver.
        with pytest.raises(ValueError, match="`num_steps`: expected more.* Received: 4 with spacing 'karras'"):
            TASKS[task](fused, how)
        return False
    np.testing.assert_allclose(TASKS[task](fused, how), TASKS[task](model, how), atol=TOLERANCE)
    return True


def test_one_graph_for_several_solvers_steps_and_tasks(model: kvdiff.VideoDiffusion, fused: Sampler) -> None:
    for solver, num_steps, task in (("unipc", 4, "predict"), ("ddpm", 20, "interpolate"), ("edm", 20, "generate")):
        assert compare(model.sampler, fused, solver, num_steps, task)


@pytest.mark.slow
def test_one_graph_for_every_solver_steps_and_task(model: kvdiff.VideoDiffusion, fused: Sampler) -> None:
    """The whole cross: all solvers × {1, 4, 20, 50} steps × three tasks, one file, against Keras."""
    cells = [(solver, steps) for solver in SOLVERS for steps in (1, 4, 20, 50)]
    agree = {cell for cell in cells for task in TASKS if compare(model.sampler, fused, *cell, task)}
    everywhere = [solver for solver in SOLVERS if all((solver, steps) in agree for steps in (1, 4, 20, 50))]
    assert len(everywhere) >= 8
    assert all((solver, 50) in agree for solver in SOLVERS)
