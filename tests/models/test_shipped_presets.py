"""The presets that ship: whole, with a card that leaves nothing out, and with the figures of their evaluation."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import kvdiff
from kvdiff.evaluation import figures_of, read_result
from kvdiff.models.preset_folder import README, read_preset

PLACE = Path(kvdiff.__file__).parents[1] / "saved_models"
NAMES = sorted(path.parent.name for path in PLACE.glob("*/metadata.json"))


def test_there_is_one():
    assert "moving_digits" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_those_that_were_saved_and_none_is_ignored(name):
    read_preset(PLACE / name).check_files()
    ignored = subprocess.run(["git", "check-ignore", *(PLACE / name).glob("*")], cwd=PLACE, capture_output=True)
    assert ignored.returncode == 1 or not (PLACE.parent / ".git").exists(), ignored.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_card_leaves_nothing_out_and_is_the_readme(name):
    preset = read_preset(PLACE / name)
    assert all(preset.card.config.values())
    readme = (PLACE / name / README).read_text("utf-8")
    assert "Not said." not in readme
    facts = next(line for line in readme.splitlines() if line.startswith("Clips of "))
    assert readme == preset.card.readme(name, facts) and f"{preset.num_weights:,} weights" in facts


@pytest.mark.parametrize("name", NAMES)
def test_the_figures_are_those_of_the_evaluation(name):
    assert read_preset(PLACE / name).card.figures == figures_of(read_result(PLACE / name / "evaluation.json"))


@pytest.mark.slow
def test_moving_digits_predicts_as_its_card_says():
    pytest.importorskip("tensorflow")
    pytest.importorskip("sklearn")
    preset = kvdiff.presets()["moving_digits"]
    model = kvdiff.VideoDiffusion.from_preset("moving_digits")
    clips = kvdiff.data.moving_digits(8, size=32, split="test", seed=1000)
    truth = model.spec.values.encode(clips[:, 4:])
    error = ((model.predict_frames(clips[:, :4]) - truth) ** 2).mean(axis=(1, 2, 3, 4))
    psnr = float(np.mean(10 * np.log10(4 / error)))
    said = preset.card.figures["moving-digits-8@2"]["prediction"]["psnr"]
    assert abs(psnr - said) < 3.0  # Of 8 clips in place of 256.
    record = json.loads((preset.folder / "record.json").read_text())
    assert record["recipe"]["size"] == model.spec.clip.height
