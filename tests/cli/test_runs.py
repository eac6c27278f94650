"""Where a command finds a model: in a run, in a preset's folder, or under a preset's name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("tensorflow")

from typer.testing import CliRunner

import kvdiff
from kvdiff.cli.app import app
from kvdiff.models import preset_folder
from tests.training.trainings import tiny_denoiser


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("presets") / "dots"
    kvdiff.VideoDiffusion((4, 8, 8, 1), tiny_denoiser()).save_to_preset(folder)
    return folder


@pytest.fixture
def here(saved, tmp_path, monkeypatch) -> Path:
    """An empty folder, and a preset "dots" that ships."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preset_folder, "_places", lambda: [saved.parent])
    return tmp_path


def call(line: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == code, result.output
    return result.output


def test_a_presets_folder_is_a_run(here, saved):
    shutil.copytree(saved, here / "mine")
    said = call("generate mine -o new.npy --num-steps 1")
    assert "Runtime: keras, model.weights.h5." in said and (here / "new.npy").is_file()


def test_a_presets_name_is_one_where_there_is_no_such_folder(here):
    assert "Runtime: keras, model.weights.h5." in call("generate dots -o new.npy --num-steps 1")
    assert "dot: expected a folder with model.keras or denoiser.onnx" in call("generate dot -o other.npy", 2)


def test_an_export_of_a_named_preset_is_written_here_and_used(here, saved):
    pytest.importorskip("tf2onnx")
    before = sorted(path.name for path in saved.iterdir())
    call("export dots --to onnx --no-verify")
    assert (here / "dots" / "denoiser.onnx").is_file() and sorted(path.name for path in saved.iterdir()) == before
    assert "Runtime: onnx, denoiser.onnx." in call("generate dots -o new.npy --num-steps 1")
    assert "Runtime: keras, model.weights.h5." in call("generate dots -o other.npy --num-steps 1 --runtime keras")


def test_a_preset_is_not_tuned(here):
    said = call("tune dots clips", 2)
    assert "expected a model.keras. Received: a preset, whose files stay as they are, model.weights.h5" in said
