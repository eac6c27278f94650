"""One `sampler.onnx` runs every solver, every number of steps and every task, like the loop on the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kvdiff.diffusion import GuidedSampler, Sampler
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.export import export_onnx_sampler
from kvdiff.runtime import ArtefactError, FusedOrtSampler
from kvdiff.runtime.manifest import manifest_path

CLIPS = np.random.default_rng(3).uniform(-1, 1, (5, 4, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def file(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx_sampler(exported, tmp_path_factory.mktemp("sampler") / "run")


@pytest.fixture(scope="module")
def fused(file: Path) -> Sampler:
    return FusedOrtSampler(file, providers=["CPUExecutionProvider"], threads=1)


def assert_alike(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    pixels = [np.round((clip + 1.0) * 127.5).astype(int) for clip in (ours, theirs)]
    assert np.abs(pixels[0] - pixels[1]).max() <= 1


@pytest.mark.parametrize("num_steps", [1, 4, 20])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_and_task(fused: Sampler, sampler: Sampler, solver: str, num_steps: int) -> None:
    sampling = dict(solver=solver, num_steps=num_steps, seed=6, spacing="karras")
    if num_steps == 4 and solver in ("heun", "edm", "dpm_2"):  # Too few steps for these, on either path.
        with pytest.raises(ValueError, match="`num_steps`: expected more.* Received: 4 with spacing 'karras'"):
            fused.generate(2, **sampling)
        return
    assert_alike(fused.generate(2, **sampling), sampler.generate(2, **sampling))
    assert_alike(fused.predict_frames(CLIPS[:1, :2], **sampling), sampler.predict_frames(CLIPS[:1, :2], **sampling))
    ends = (CLIPS[:2, :1], CLIPS[:2, 3:])
    assert_alike(fused.interpolate(*ends, **sampling), sampler.interpolate(*ends, **sampling))


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "unipc"])
def test_fifty_steps_in_batches_as_in_keras(fused: Sampler, model, solver: str) -> None:
    known = np.array([[True, False, False, True]] * 4 + [[False, True, False, False]])
    sampling = dict(solver=solver, num_steps=50, seed=8)
    ours = fused.infill(CLIPS, known, batch_size=2, **sampling)
    assert_alike(ours, model.infill(CLIPS, known, **sampling))
    assert ours[known].tobytes() == CLIPS[known].tobytes()


def test_other_frame_counts_and_sizes(fused: Sampler, sampler: Sampler) -> None:
    sampling = dict(num_steps=3, solver="dpmpp_2m")
    assert_alike(fused.generate(1, num_frames=7, **sampling), sampler.generate(1, num_frames=7, **sampling))


def test_progress_and_single_calls(fused: Sampler) -> None:
    seen: list[tuple[int, int]] = []
    fused.generate(3, num_steps=2, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 4), (4, 4)]
    with pytest.raises(TypeError, match="expected an engine of single network calls. Received: FusedOrtEngine"):
        GuidedSampler(fused, fused, guidance=2.0)


def test_refusals(file: Path, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="`directory`: expected one without sampler.onnx"):
        export_onnx_sampler(exported, file.parent)
    with pytest.raises(ArtefactError, match="which is a 'onnx-denoiser'; this runtime runs 'onnx-sampler'"):
        FusedOrtSampler(exported)
    with pytest.raises(ArtefactError, match="does not exist"):
        export_onnx_sampler(tmp_path / "nowhere", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    damaged = tmp_path / "sampler.onnx"
    damaged.write_bytes(file.read_bytes()[:-1] + b"x")
    manifest_path(damaged).write_bytes(manifest_path(file).read_bytes())
    with pytest.raises(ArtefactError, match="has changed since export"):
        FusedOrtSampler(damaged)
