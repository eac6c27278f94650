"""--config: a file of options; and the one that a training leaves, which replays it."""

from __future__ import annotations

import pathlib
import tomllib
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import pytest

pytest.importorskip("typer")

import typer
from typer.testing import CliRunner

import kvdiff
from kvdiff.cli.settings import read_settings, settings_of, with_settings, written_settings
from kvdiff.cli.train import train
from tests.test_cli import call, refused
from tests.training.trainings import tiny_denoiser


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with clips and a trained model."""
    (tmp_path / "clips").mkdir()
    np.save(tmp_path / "clips" / "a.npy", np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8))
    keras.utils.set_random_seed(5)
    kvdiff.VideoDiffusion((4, 8, 8, 1), tiny_denoiser()).save(tmp_path / "base.keras")
    return tmp_path


def write(folder: Path, *lines: str) -> Path:
    path = folder / "run.toml"
    path.write_text("\n".join(lines), "utf-8")
    return path


def test_a_file_stands_for_options_the_command_line_counts_more_and_what_a_run_leaves_replays_it(made):
    file = write(
        made,
        f"clips = ['{made / 'clips'}']",
        f"from = '{made / 'base.keras'}'",
        "lora = 2  # A comment.",
        "epochs = 9",
        "seed = 3",
        "batch-size = 2",
        "preview-every = 0",
        "learning-rate = 1",
    )
    said = call("train", "--config", file, "-o", made / "run", "--epochs", 2, "--learning-rate", 0.01, "--seed", 0)
    assert "5 windows of 4 frames: 4 steps of 2." in said.output
    left = made / "run" / "training" / "settings.toml"
    settings = tomllib.loads(left.read_text("utf-8"))
    expected = {"lora": 2, "epochs": 2, "seed": 0, "batch-size": 2, "learning-rate": 0.01, "preview-every": 0}
    assert settings.items() >= {**expected, "output": str(made / "run"), "stride": 1, "draw": False}.items()
    assert not {"config", "resume", "overwrite", "workers"} & settings.keys()
    assert "holds model.keras" in refused("train", "--config", left)
    call("train", "--config", left, "-o", made / "again")
    both = [kvdiff.load_model(made / name / "model.keras").get_weights() for name in ("run", "again")]
    for mine, its in zip(*both, strict=True):
        np.testing.assert_array_equal(mine, its)
    again = tomllib.loads((made / "again" / "training" / "settings.toml").read_text("utf-8"))
    assert again == {**settings, "output": str(made / "again")}
    assert "Nothing is left to train" in call("train", "--config", left, "--resume").output


def test_a_new_models_file_says_its_whole_recipe(made, monkeypatch):
    make = lambda recipe, clip, seed: kvdiff.VideoDiffusion(clip, tiny_denoiser(), seed=seed)  # noqa: E731
    monkeypatch.setattr("kvdiff.models.recipes.seeded_model", make)
    asked = ("--size", 8, "--channels", 1, "--preview-every", 0, "--epochs", 1, "--flips", "left_right")
    call("train", made / "clips", "-o", made / "run", *asked)
    settings = tomllib.loads((made / "run" / "training" / "settings.toml").read_text("utf-8"))
    expected = {"recipe": "small", "frames": 8, "size": "8x8", "channels": 1, "width": 48, "batch-size": 16}
    assert settings.items() >= {**expected, "learning-rate": 4e-3, "epochs": 1, "flips": ["left_right"]}.items()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("frame = 4", "frame: expected an option of the command, such as frames. Received: an unknown one"),
        ("config = 'a'", "config: expected an option of the command"),
        ("frames = '4'", "frames: expected a whole number at least 2. Received: '4'"),
        ("frames = 1", "frames: expected a whole number at least 2. Received: 1"),
        ("channels = 4", "channels: expected a whole number at least 1 and at most 3. Received: 4"),
        ("frames = true", "frames: expected a whole number at least 2. Received: True"),
        ("frames = 4.0", "frames: expected a whole number at least 2. Received: 4.0"),
        ("minutes = 'ten'", "minutes: expected a number at least 0.1. Received: 'ten'"),
        ("minutes = nan", "minutes: expected a number at least 0.1. Received: nan"),
        ("draw = 1", "draw: expected true or false. Received: 1"),
        ("size = 48", "size: expected a text. Received: 48"),
        ("clips = 'a'", "clips: expected a list of paths as texts. Received: 'a'"),
        ("flips = ['turns', 1]", "flips: expected a list of texts. Received: ['turns', 1]"),
        ("[train]\nframes = 4", "train: expected an option of the command"),
        ("frames 4", "expected TOML. Received: Expected '=' after a key"),
    ],
)
def test_a_file_is_refused_by_key(tmp_path, line, text):
    file = write(tmp_path, line)
    message = refused("train", "a.npy", "-o", tmp_path / "run", "--config", file)
    assert f"{file}: {text}" in message and not (tmp_path / "run").exists()


def test_what_is_said_nowhere_is_asked_for(tmp_path):
    missing = refused("train", "a.npy", "-o", tmp_path, "--config", tmp_path / "none.toml")
    assert f"--config: expected a TOML file. Received: {tmp_path / 'none.toml'}, which is none" in missing
    file = write(tmp_path, "frames = 4")
    assert "`clips`: expected it here or in --config, as clips" in refused("train", "--config", file, "-o", tmp_path)
    assert "`--output`: expected it here or in --config, as output" in refused("train", "a.npy", "--config", file)


def test_the_command_lines_length_stands_for_the_files(tmp_path):
    seen: list[dict[str, Any]] = []

    def command(
        epochs: Annotated[int | None, typer.Option()] = None, minutes: Annotated[float | None, typer.Option()] = None
    ) -> None:
        seen.append({"epochs": epochs, "minutes": minutes})

    app = typer.Typer()
    app.command()(with_settings(command))
    file = str(write(tmp_path, "epochs = 50"))
    for words, expected in (
        ([], {"epochs": 50, "minutes": None}),
        (["--minutes", "3"], {"epochs": None, "minutes": 3.0}),
        (["--epochs", "4"], {"epochs": 4, "minutes": None}),
    ):
        assert CliRunner().invoke(app, ["--config", file, *words]).exit_code == 0
        assert seen[-1] == expected


def test_texts_and_numbers_come_back_as_they_were(tmp_path):
    values: dict[str, Any] = {
        "size": 'a "quoted" \\ back\\slash \t\n\r\x00\x1b\x7f é 動 😀 # no comment',
        "cache": pathlib.Path("with space/ä"),
        "clips": [pathlib.Path("a b"), pathlib.Path("c'd")],
        "flips": [],
        "learning-rate": 1e-05,
        "minutes": 1e22,
        "fps": 29.97,
        "seed": 2**40,
        "draw": True,
        "balance": False,
        "crop": None,
    }
    file = write(tmp_path, written_settings(values))
    known = settings_of(train)
    expected = {known[key].name: value for key, value in values.items() if value is not None}
    found = read_settings(file, known)
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {n: type(v) for n, v in expected.items()} | {
        "cache": pathlib.PosixPath
    }


def test_a_whole_number_is_a_number(tmp_path):
    found = read_settings(write(tmp_path, "fps = 8"), settings_of(train))
    assert found == {"fps": 8.0} and isinstance(found["fps"], float)
