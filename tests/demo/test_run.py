"""The demo from end to end with a network too small and a training too short to reach any bar."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import kvdiff
from kvdiff.demo import recipe as recipes
from kvdiff.demo.run import _page, _protocol, run_demo
from kvdiff.evaluation import compare, protocol_named, read_result
from kvdiff.models import preset_folder
from kvdiff.web import ORT_WEB_VERSION

for library in ("tensorflow", "tf2onnx", "onnxruntime", "sklearn", "av", "matplotlib"):
    pytest.importorskip(library)


class TinySettings(recipes.Settings):
    """A network that takes no minute to trace."""

    def denoiser(self, frame_shape, **options):
        return kvdiff.UNet3D(frame_shape[-1], widths=(8,), blocks=1, attention=(None,))


SETTINGS = TinySettings(widths=(8,), batch_size=4, warmup_steps=1)
TINY = recipes.Recipe(num_clips=16, num_frames=4, size=8, settings=SETTINGS, epochs=2, steps_per_epoch=2)
FILES = {
    "model.keras",
    "denoiser.onnx",
    "denoiser.onnx.manifest.json",
    "prediction.gif",
    "interpolation.gif",
    "generation.gif",
    "loss.png",
    "generation_nearest.gif",
    "record.json",
    "result.json",
    "report.html",
}


@pytest.fixture
def tiny_recipes(monkeypatch, tmp_path):
    """The recipes made tiny, and no shipped model."""
    monkeypatch.setattr(recipes, "RECIPE", TINY)
    monkeypatch.setattr(recipes, "CONTINUE", dataclasses.replace(TINY, seed=1))
    monkeypatch.setattr(preset_folder, "_places", lambda: [tmp_path / "presets"])
    monkeypatch.setattr("kvdiff.evaluation.real._SHIPPED_TRAINING", 20)


@pytest.fixture(autouse=True)
def _no_runtime_for_pages(monkeypatch, tmp_path):
    monkeypatch.delenv("KVDIFF_ONNXRUNTIME_WEB", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_demo_writes_a_page_where_a_runtime_for_it_is_at_hand(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr("kvdiff.demo.run.find_ort_web", lambda: None)
    monkeypatch.setattr("kvdiff.export.export_web", lambda model, folder, **how: asked.update(folder=folder, **how))
    said = _page("model", tmp_path, "clips")
    assert asked == dict(folder=tmp_path / "web", examples="clips", overwrite=False, run=tmp_path)
    assert f"python -m http.server -d {tmp_path / 'web'}" in said


def test_the_demo_trains_exports_samples_and_reports(tiny_recipes, tmp_path, capsys):
    shipped = recipes.build_model(TINY).save_to_preset(tmp_path / "presets" / recipes.SHIPPED).folder
    (shipped / "record.json").write_text(json.dumps({"recipe": TINY.config, "loss": [0.9, 0.8]}))
    directory = tmp_path / "demo"
    seen = []
    code = run_demo(directory, num_clips=3, num_steps=2, progress=lambda *report: seen.append(report))
    printed = capsys.readouterr().out

    assert code == 1
    assert {path.name for path in directory.iterdir()} >= FILES
    assert not list(directory.glob(".*")) and not list(directory.rglob("backup"))
    record = json.loads((directory / "record.json").read_text())
    assert len(record["loss"]) == 2 and record["steps"] == 4 and record["training_seconds"] > 0
    assert list(record["seconds"]) == ["loading", "training", "export", "sampling"]
    assert str(tmp_path) not in (directory / "record.json").read_text()
    assert {task for task, _, _ in seen} == {"prediction", "interpolation", "generation"}
    assert "[5/5]" in printed and "MISSED" in printed and "report.html" in printed
    assert f"npm install onnxruntime-web@{ORT_WEB_VERSION}, then kvdiff export {directory} --to web" in printed
    result = read_result(directory / "result.json")
    assert result["model"]["file"] == "denoiser.onnx" and result["protocol"]["title"].startswith("moving-digits-demo@2")
    assert result["sampling"] == {"num_steps": 2, "seed": 0}
    assert compare([result, result], ["a", "b"])
    page = (directory / "report.html").read_text()
    for check in result["checks"]:
        assert check["difference"] in printed and check["difference"] in page
    assert "trained on for 4 steps" in page


def test_from_scratch_starts_from_fresh_weights_of_the_whole_recipe(tiny_recipes, tmp_path, monkeypatch):
    asked = {}

    def train(model, recipe, directory):
        asked.update(model=model, recipe=recipe, directory=directory)
        raise KeyboardInterrupt

    monkeypatch.setattr(recipes, "train", train)
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, from_scratch=True)
    assert asked["recipe"] is TINY
    fresh = recipes.build_model(TINY).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(asked["model"].get_weights(), fresh, strict=True))


def test_an_unfinished_training_is_taken_up_by_its_own_recipe_alone(tiny_recipes, tmp_path, monkeypatch):
    folders = []
    monkeypatch.setattr(recipes, "train", lambda model, recipe, directory: folders.append(directory) or 1 / 0)
    recipes.build_model(TINY).save_to_preset(tmp_path / "presets" / recipes.SHIPPED)
    for from_scratch in (True, False, True):
        with pytest.raises(ZeroDivisionError):
            run_demo(tmp_path / "demo", from_scratch=from_scratch)
    scratch, continued, again = folders
    assert scratch == again != continued


def test_the_demo_is_held_to_its_frozen_protocol():
    assert _protocol(recipes.RECIPE, 64) == _protocol(recipes.CONTINUE, 64) == protocol_named("moving-digits-demo@2")


def test_without_a_shipped_model_it_says_what_to_do(tiny_recipes, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"keras-video-diffusion\[demo\].*--from-scratch"):
        run_demo(tmp_path / "demo")
