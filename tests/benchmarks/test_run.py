"""The whole harness with workers that compute nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as program, denoiser_call, train_step
from tests.benchmarks.parity import ParityError, check_parity
from tests.benchmarks.session import Options, Session
from tests.benchmarks.workers import ROOT

PEER = Path(os.environ.get("BENCHMARK_PYTHON_PEER", ROOT / ".venv-peers" / "bin" / "python"))


@pytest.fixture
def session() -> Callable[..., Session]:
    def made(difference: float = 0.0, dies: str = "", refuses: str = "", **options: object) -> Session:
        return Session(
            Options(
                pythons=dict.fromkeys(("ours", "peer"), sys.executable),
                modules=dict.fromkeys(("ours", "peer"), "tests.benchmarks.stand_in"),
                environment={
                    "STAND_IN_DIFFERENCE": str(difference),
                    "STAND_IN_DIES": dies,
                    "STAND_IN_REFUSES": refuses,
                },
                **{"rounds": 3, **options},  # type: ignore[arg-type]
            )
        )

    return made


@pytest.mark.parametrize("rows", [train_step.rows, denoiser_call.rows, denoiser_call.runtime_rows])
def test_a_difference_stops_the_run(session: Callable[..., Session], rows: Callable) -> None:
    with session(difference=2e-4) as started, pytest.raises(ParityError, match="float32.*at most 0.0001"):
        next(rows(started))


def test_differences_of_each_kind_have_their_limits() -> None:
    check_parity("tensorflow float32", {"max_abs": 9e-5, "relative_rms": 1.0})
    check_parity("tensorflow bfloat16", {"max_abs": 1.0, "relative_rms": 0.09})
    for mode, found in (
        ("float32 remat", {"max_abs": 1.1e-4}),
        ("float32", {"max_abs": float("nan")}),
        ("bfloat16", {"relative_rms": 0.11}),
        ("float32 gradients", {"loss": 0.0, "gradient_norm": 2e-4}),
    ):
        with pytest.raises(ParityError, match=mode):
            check_parity(mode, found)


@pytest.mark.parametrize("full", [False, True])
def test_the_sets_run_through(
    session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, full: bool
) -> None:
    monkeypatch.setattr(program, "Session", lambda options: session(full=options.full, rounds=options.rounds))
    monkeypatch.setitem(program.BENCHMARKS, "loader", lambda session: iter(()))  # It reads files here.
    path = tmp_path / "found.json"
    rows = program.main(["--rounds", "2", "--output", str(path), *(["--full"] if full else [])])
    names = {row.name for row in rows}
    assert {"train_step", "denoiser_call", "onnxruntime_vs_tensorflow", "training_memory", "pixel_exponent"} <= names
    assert {"frame_exponent", "import", "first_step", "sampling_10_steps"} <= names
    assert ("batch_exponent" in names) == full
    sizes = {row.size for row in rows if row.name == "train_step"}
    assert sizes == ({"S", "M", "L"} if full else {"S"})
    document = json.loads(path.read_text())
    assert len(document["rows"]) == len(rows) and path.with_suffix(".png").exists()


def test_a_selection(session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "Session", lambda options: session(sizes=options.sizes))
    rows = program.main(["train_step", "--sizes", "tiny,M"])
    assert [(row.name, row.size, row.rounds) for row in rows] == [("train_step", "tiny", 3), ("train_step", "M", 3)]


def test_what_fails_is_named_and_the_rest_is_measured(
    session: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(program, "Session", lambda options: session(dies="memory", processes=1))
    with pytest.raises(SystemExit, match="failed: memory"):
        program.main(["train_step", "memory", "sampling", "--output", str(tmp_path / "found.json")])
    written = json.loads((tmp_path / "found.json").read_text())
    assert [row["name"] for row in written["rows"]] == ["train_step", "sampling_10_steps"]
    assert "the last words" in capsys.readouterr().err


def test_a_runtime_that_does_not_run_is_left_out_and_named(session: Callable[..., Session]) -> None:
    with session(refuses="litert float32,xla float32", full=True, sizes=("tiny",)) as started:
        call, *_ = denoiser_call.rows(started)
        first, *_ = runtimes = list(denoiser_call.runtime_rows(started))
    assert call.left_out == first.left_out
    assert call.left_out["ours litert float32"] == "NotImplementedError: no litert float32 here"
    assert set(call.modes["ours"]) == {"tensorflow float32", "tensorflow bfloat16", "onnxruntime float32"}
    assert not any("litert float32" in row.name for row in runtimes) and len(runtimes) == 2 * 6


@pytest.mark.slow
@pytest.mark.skipif(not PEER.exists(), reason="needs .venv-peers: make bench")
def test_real_workers_at_a_tiny_size(tmp_path: Path) -> None:
    pythons = ["--python-ours", sys.executable, "--python-peer", str(PEER)]
    names = ["train_step", "denoiser_call", "sampling", "memory"]
    output = ["--output", str(tmp_path / "found.json")]
    rows = program.main([*names, "--sizes", "tiny", "--rounds", "2", "--processes", "1", *pythons, *output])
    assert all(row.ours > 0 and row.peer > 0 for row in rows)
    training = next(row for row in rows if row.name == "train_step")
    assert set(training.modes["ours"]) == set(training.modes["peer"]) == {"float32", "bfloat16"}
    assert 0 < training.parity["ours"]["float32"]["max_abs"] < 1e-4
    assert training.parity["gradients"]["gradient_norm"] < 1e-4


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"ours: expected an interpreter; `make bench`.*Received: .*nowhere"):
        program.main(["train_step", "--python-ours", str(tmp_path / "nowhere")])


@pytest.mark.parametrize("argv", [["trane_step"], ["--sizes", "XL"]])
def test_unknown_names_are_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.arguments(argv)
    assert "expected some of" in capsys.readouterr().err
