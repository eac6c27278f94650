"""What `sampler.onnx` promises to hosts that call it themselves: seeds and noise tapes, history, learned variance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from kvdiff.diffusion import Sampler, step_table
from kvdiff.diffusion.process.noise import video_noise
from kvdiff.export import export_onnx_sampler
from kvdiff.runtime import FusedOrtSampler, OrtSampler
from kvdiff.runtime.format import COLUMNS, MEMORY, packed_rows
from kvdiff.runtime.manifest import METADATA, canonical_json
from tests.runtime.handmade import CLIP, SAMPLER, make_graph, write_artefact

SHAPE = (4, 8, 8, 1)


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Sampler:
    folder = tmp_path_factory.mktemp("run")
    denoiser = write_artefact(folder, make_graph({METADATA: canonical_json(SAMPLER)}))
    return FusedOrtSampler(export_onnx_sampler(denoiser, folder), providers=["CPUExecutionProvider"])


def feed(sampler: Sampler, batch: int, solver: str, num_steps: int = 6, **changes: Any) -> dict[str, Any]:
    """Inputs for `batch` clips made from noise of seed 3."""
    table = step_table(sampler.spec.schedule, sampler.spec.prediction, solver=solver, num_steps=num_steps)
    rows, b = packed_rows(table, COLUMNS, batch, SHAPE[0])
    return {
        "table": rows,
        "b": b,
        "start": np.zeros((batch, *SHAPE), np.float32),
        "start_std": np.full((batch, SHAPE[0]), table.init_std, np.float32),
        "history": np.zeros((MEMORY, 1, 1, 1, 1, 1), np.float32),
        "noise": np.zeros((0, 1, 1, 1, 1, 1), np.float32),
        "seed": np.full(batch, 3),
        "sample": np.arange(batch),
        "first_draw": np.zeros(1, np.int64),
        **changes,
    }


def call(sampler: Sampler, inputs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """(clip, history) of the graph, as a host without kvdiff would run it."""
    session = onnxruntime.InferenceSession(sampler.engine.artefact.path, providers=["CPUExecutionProvider"])
    clip, history = session.run(["clip", "history_out"], inputs)
    return clip, history


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpmpp_2m_sde"])
def test_a_seed_is_all_the_noise_that_a_host_need_give(fused: Sampler, solver: str) -> None:
    made, _ = call(fused, feed(fused, 3, solver))
    expected = OrtSampler(fused.engine.artefact.path.parent).generate(3, solver=solver, num_steps=6, seed=3)
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_every_clip_may_have_its_own_seed_and_number(fused: Sampler) -> None:
    seeds, samples = np.array([5, 2**63 + 7, 2**64 - 1], np.uint64), np.array([0, 9, 4])
    made, _ = call(fused, feed(fused, 3, "ddpm", seed=seeds.view(np.int64), sample=samples))
    for clip, seed, sample in zip(made, seeds, samples, strict=True):
        alone = fused.generate(1, solver="ddpm", num_steps=6, seed=int(seed), first_sample=int(sample))[0]
        np.testing.assert_allclose(clip, alone, atol=1e-5)


def test_a_noise_tape_is_used_in_place_of_the_seed(fused: Sampler) -> None:
    tape = np.stack([video_noise(3, draw, np.arange(2), SHAPE) for draw in range(7)])
    given = dict(start=tape[0], start_std=np.zeros((2, 4), np.float32), seed=np.zeros(2, np.int64))
    from_tape, _ = call(fused, feed(fused, 2, "ddpm", noise=tape[1:], **given))
    from_seed, _ = call(fused, feed(fused, 2, "ddpm"))
    np.testing.assert_allclose(from_tape, from_seed, atol=1e-5)
    other, _ = call(fused, feed(fused, 2, "ddpm", noise=-tape[1:], **given))
    assert np.abs(other - from_seed).max() > 0.1


def test_rows_may_be_run_in_parts(fused: Sampler) -> None:
    """History, clip and the number of the next draw carry a sampling from one call to the next."""
    whole = feed(fused, 2, "dpmpp_3m_sde")
    expected, _ = call(fused, whole)
    part = {name: whole[name][:2] for name in ("table", "b")}
    clip, history = call(fused, {**whole, **part})
    rest = {name: whole[name][2:] for name in ("table", "b")}
    rest |= dict(start=clip, start_std=np.zeros((2, 4), np.float32), history=history, first_draw=np.array([2]))
    np.testing.assert_allclose(call(fused, {**whole, **rest})[0], expected, atol=1e-6)


def test_a_learned_variance_is_read_by_the_solver_that_wants_it(tmp_path: Path) -> None:
    graph = make_graph({METADATA: canonical_json(SAMPLER)}, learned=True)
    denoiser = write_artefact(tmp_path, graph, outputs={"raw_output": {"shape": [*CLIP[:-1], 2]}})
    host, fused = OrtSampler(denoiser), FusedOrtSampler(export_onnx_sampler(denoiser, tmp_path))
    clips = {}
    for variance in ("learned", "small"):
        sampling = dict(solver="ddpm", variance=variance, num_steps=6, seed=2)
        clips[variance] = fused.generate(2, **sampling)
        np.testing.assert_allclose(clips[variance], host.generate(2, **sampling), atol=1e-5)
    assert np.abs(clips["learned"] - clips["small"]).max() > 0.01
