"""`verify`: what it compares, what it finds, and when it fails."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import kvdiff
from kvdiff.diffusion import StepTable
from kvdiff.export import export_onnx_sampler, verify
from kvdiff.export.manifest import write_manifest
from kvdiff.export.verification import Comparison, Verdict
from kvdiff.runtime import ArtefactError, find_artefacts, open_sampler
from kvdiff.runtime.manifest import load_artefact, manifest_path
from kvdiff.runtime.ort import ONNX, OrtEngine
from kvdiff.sampling import KerasEngine

FILE = ONNX.file


@pytest.fixture(scope="module")
def run(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `denoiser.onnx` and `sampler.onnx`."""
    folder = tmp_path_factory.mktemp("run")
    for path in (exported, manifest_path(exported)):
        shutil.copy(path, folder)
    export_onnx_sampler(exported, folder)
    return folder


def test_every_file_is_compared_in_every_task_batch_and_solver(model: kvdiff.VideoDiffusion, run: Path) -> None:
    seen: list[str] = []
    verdicts = verify(model, run, num_steps=4, solvers=("ddpm", "dpmpp_2m"), progress=seen.append)
    assert seen == [verdict.path.name for verdict in verdicts] == ["denoiser.onnx", "sampler.onnx"]
    for verdict in verdicts:
        cells = {(each.task, each.batch, each.solver) for each in verdict.comparisons}
        assert len(cells) == len(verdict.comparisons) == 3 * 3 * 2
        assert verdict.passes and 0 < verdict.max_abs_difference <= 2e-4 and verdict.psnr > 80
        assert verdict.size == verdict.path.stat().st_size and verdict.milliseconds > 0
        nodes = onnx.load(run / "denoiser.onnx").graph.node
        assert verdict.operators["Conv"] == sum(node.op_type == "Conv" for node in nodes)
    assert verdicts[1].operators["Loop"] == 1 and "Loop" not in verdicts[0].operators


def test_a_file_that_answers_otherwise_is_a_miss(model: kvdiff.VideoDiffusion, run: Path, tmp_path: Path) -> None:
    manifest = load_artefact(run / FILE, ONNX.kind, FILE).manifest
    graph = onnx.load(run / FILE)
    weight = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.CopyFrom(onnx.numpy_helper.from_array(1.01 * onnx.numpy_helper.to_array(weight), weight.name))
    onnx.save(graph, tmp_path / FILE)
    sections = {name: manifest[name] for name in ("precision", "inputs", "outputs", "sampler", "versions", "parity")}
    write_manifest(tmp_path / FILE, ONNX.kind, **sections)
    (verdict,) = verify(model, tmp_path, num_steps=4, batches=(2,), solvers=("ddim",))
    assert not verdict.passes and verdict.max_abs_difference > 2e-4


def test_keras_samples_once_for_all_batches_and_a_prediction_has_the_steps_of_a_generation(
    model: kvdiff.VideoDiffusion, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[tuple[int, ...], int]] = []
    run_window = KerasEngine.run_window

    def counted(self: KerasEngine, table: StepTable, x: np.ndarray, *state: Any) -> Any:
        asked.append((x.shape[:2], table.num_steps))
        return run_window(self, table, x, *state)

    monkeypatch.setattr(KerasEngine, "run_window", counted)
    (verdict,) = verify(model, run, num_steps=4, batches=(1, 2), solvers=("ddim",), paths=[run / FILE])
    generated, predicted, interpolated = [4], [2, 2], [4]
    frames = model.spec.clip.num_frames  # Of every window: the only number that LiteRT takes.
    assert asked == [((2, frames), steps) for steps in (4, *generated, *predicted, *interpolated)]
    assert len(verdict.comparisons) == 3 * 2 and verdict.passes


def test_nothing_to_verify_and_damaged_files(model: kvdiff.VideoDiffusion, run: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="`run`: expected a folder with exported models"):
        verify(model, tmp_path)
    for path in run.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "sampler.onnx").write_bytes(b"x")
    with pytest.raises(ArtefactError, match="sampler.onnx, which has changed since export"):
        verify(model, tmp_path, num_steps=1, batches=(1,), solvers=("ddim",))


@pytest.mark.parametrize(
    ("precision", "difference", "error", "passes"),
    [
        ("float32", 1.9e-4, 0.0, True),
        ("float32", 2.1e-4, 0.0, False),
        ("float32", np.nan, np.nan, False),
        ("float16", 0.5, 4.0 * 10**-3.6, True),
        ("float16", 0.5, 4.0 * 10**-3.4, False),
        ("int8", 1.0, 1.0, True),
        ("int8", np.nan, np.nan, False),
    ],
)
def test_bars(precision: str, difference: float, error: float, passes: bool) -> None:
    comparisons = [Comparison("generate", 1, "ddim", difference, error), Comparison("generate", 2, "ddim", 0.0, error)]
    assert Verdict(Path("x"), ONNX.kind, precision, 1, {}, 1.0, comparisons).passes == passes


def test_open_sampler_goes_by_what_the_manifest_says(run: Path, tmp_path: Path) -> None:
    assert [path.name for path in find_artefacts(run)] == ["denoiser.onnx", "sampler.onnx"]
    assert type(open_sampler(run / "denoiser.onnx").engine) is OrtEngine
    (tmp_path / "x.bin").write_bytes(b"x")
    with pytest.raises(ArtefactError, match="which is missing"):
        open_sampler(tmp_path / "x.bin")
    write_manifest(tmp_path / "x.bin", "toaster", inputs={}, outputs={}, sampler={}, versions={}, parity={})
    with pytest.raises(ArtefactError, match="which is a 'toaster'; kvdiff runs .*'onnx-denoiser'"):
        open_sampler(tmp_path / "x.bin")
