"""Every option of every command is said in some test of the command line, and every command has an example."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest

pytest.importorskip("typer")

import typer
from typer.testing import CliRunner

import kvdiff
from kvdiff.cli.app import _data, app
from kvdiff.cli.options import option_name
from tests.test_cli import call, refused
from tests.training.trainings import tiny_denoiser

TESTS = Path(__file__).parents[1]
READ = [TESTS / "test_cli.py", *sorted((TESTS / "cli").glob("test_*.py"))]


def commands() -> Iterator[tuple[str, object]]:
    for home, prefix in ((app, ""), (_data, "data ")):
        for each in home.registered_commands:
            yield prefix + each.callback.__name__, each.callback


def options(command: object) -> list[str]:
    """The long names of a command's options."""
    found = []
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        for info in getattr(parameter.annotation, "__metadata__", ()):
            if isinstance(info, typer.models.OptionInfo):
                found.append(option_name(name, info))
    return found


def spellings(option: str) -> list[str]:
    """The words that say an option: both of "--open/--no-open", which Typer also makes of a flag that is on."""
    return [*option.split("/"), option.replace("--", "--no-", 1)]


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_every_option_is_said_in_a_test_and_the_help_has_an_example(name: str, command: object) -> None:
    text = "\n".join(path.read_text("utf-8") for path in READ)
    said = lambda word: re.search(rf"{re.escape(word)}(?![\w-])", text)  # noqa: E731
    missing = [each for each in options(command) if not any(map(said, spellings(each)))]
    assert not missing, f"kvdiff {name}: expected a test of {', '.join(missing)} in tests/cli"
    assert f"kvdiff {name} " in inspect.cleandoc(command.__doc__ or "") or name == "demo", "expected an example"


def test_an_option_that_no_test_says_would_be_found() -> None:
    def command(unsaid: Annotated[int, typer.Option("--never-" + "said")] = 1) -> None: ...

    text = "\n".join(path.read_text("utf-8") for path in READ)
    assert options(command) == ["--never-" + "said"] and "--never-" + "said" not in text


# Options that need a server, a browser or a file of many, with what they do.


class RecordedError(Exception):
    """A call in place of what it would do."""


def recorded(monkeypatch: pytest.MonkeyPatch, where: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def record(*args: Any, **kwargs: Any) -> None:
        calls.append((args, kwargs))
        raise RecordedError

    monkeypatch.setattr(where, record)
    return calls


@pytest.fixture
def run(tmp_path: Path) -> Path:
    kvdiff.VideoDiffusion((4, 8, 8, 1), tiny_denoiser()).save(tmp_path / "model.keras")
    np.save(tmp_path / "clip.npy", np.full((6, 8, 8, 1), 7, np.uint8))
    return tmp_path


def test_play_serves_where_it_is_told_and_opens_a_page_unless_told_not_to(run, monkeypatch):
    calls = recorded(monkeypatch, "kvdiff.web.server.PageServer")
    clip = run / "clip.npy"
    told = ("--host", "0.0.0.0", "--port", 4321, "--steps", 7, "--examples", clip, "--examples", clip)
    assert isinstance(call_raising("play", run, *told), RecordedError)
    (player, address), how = calls[0][0][:2], calls[0][1]
    assert address == ("0.0.0.0", 4321) and len(how["token"]) > 16 and player.limits.steps == 7
    assert len(how["examples"]) == 2 and (how["examples"][0] == 7).all()

    class Server:
        url = "http://127.0.0.1:1/"

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

        def serve_forever(self) -> None:
            raise KeyboardInterrupt

        def server_close(self) -> None: ...

    opened: list[str] = []
    monkeypatch.setattr("kvdiff.web.server.PageServer", Server)
    monkeypatch.setattr("webbrowser.open", opened.append)
    call("play", run, "--no-open")
    assert not opened
    call("play", run)
    assert opened == [Server.url]


def test_a_page_takes_its_parts_from_where_it_is_told(run, monkeypatch):
    monkeypatch.setattr("kvdiff.cli.export.find_ort_web", lambda place, webgpu: None)
    calls = recorded(monkeypatch, "kvdiff.export.export_model")
    told = ("--onnxruntime-web", "cdn", "--examples", run / "clip.npy", "--no-webgpu")
    assert isinstance(call_raising("export", run, "--to", "web", *told), RecordedError)
    how = calls[0][1]
    assert how["onnxruntime_web"] == "cdn" and how["webgpu"] is False and how["examples"].shape == (1, 4, 8, 8, 1)
    line = refused("export", run, "--to", "onnx", "--onnxruntime-web", "cdn")
    assert "`--to`: expected web with --onnxruntime-web. Received: onnx" in line


def test_exports_elsewhere_are_compared(run, tmp_path, monkeypatch):
    calls = recorded(monkeypatch, "kvdiff.export.verification.verify")
    assert isinstance(call_raising("verify", run, "--exports", tmp_path / "elsewhere"), RecordedError)
    assert calls[0][0][1] == tmp_path / "elsewhere"


def call_raising(*arguments: object) -> BaseException | None:
    return CliRunner().invoke(app, [str(argument) for argument in arguments]).exception


def test_a_training_keeps_frames_in_a_folder_and_checkpoints_as_often_as_told(run, tmp_path):
    how = ("--epochs", 1, "--batch-size", 1, "--preview-every", 0)
    out, cache = tmp_path / "out", tmp_path / ".cache"
    call("train", run / "clip.npy", "--from", run, "-o", out, *how, "--cache", cache, "--save-every", 2)
    saved = sorted((out / "training" / "checkpoints").glob("step-*"))
    assert [int(path.stem.removeprefix("step-")) for path in saved] == [2, 3]
    assert any(np.load(path).shape == (6, 8, 8, 1) for path in cache.rglob("*.npy"))


def test_inspecting_takes_dimensions_units_and_gaps_and_so_long(tmp_path, monkeypatch):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    times = np.datetime64("2020-07-01", "ns") + np.timedelta64(300, "s") * np.delete(np.arange(9), 4)
    rain = (("b", "when", "a"), np.zeros((5, 8, 6), np.float32), {"units": "mm h-1"})
    path = tmp_path / "rain.nc"
    xarray.Dataset({"rain": rain}, {"when": times}).to_netcdf(path, engine="h5netcdf")
    command = ("data", "inspect", path, "-o", tmp_path / "look", "--variable", "rain")
    said = [call(*command, "--dims", dims, "--units", "mm h-1").output for dims in ("when,b,a", "when,a,b")]
    assert "5×6" in said[0] and "6×5" in said[1]
    assert "mm h-1" in refused(*command, "--dims", "when,b,a", "--units", "kg")
    (tmp_path / "classes" / "dark").mkdir(parents=True)
    np.save(tmp_path / "classes" / "dark" / "a.npy", np.zeros((4, 8, 8, 1), np.uint8))
    look = ("data", "inspect", tmp_path / "classes", "-o", tmp_path / "look")
    assert "classes: 1" in call(*look, "--classes", "--workers", 1, "--seconds", 60).output
    calls = recorded(monkeypatch, "kvdiff.cli.data.open_fields")
    assert isinstance(call_raising(*command, "--max-gap", 1), RecordedError)
    assert calls[0][0][1].max_gap == 1 and calls[0][0][1].variable == ("rain",)
