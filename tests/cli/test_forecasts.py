"""`kvdiff evaluate` under a protocol of forecasts: from an array in the model's numbers to a result and its page."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("matplotlib")

from typer.testing import CliRunner

from kvdiff.cli import evaluate as command
from kvdiff.cli.app import app
from kvdiff.diffusion import ClipSpec, Linear, ModelSpec, Prediction, Sampler
from kvdiff.diffusion.conditions import Observed
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.diffusion.sampling.engine import DenoiserEngine


def fading(noisy_clip, noise_label, inputs=None):
    """A network that repeats the mean of the known frames."""
    known = (noise_label == 0)[:, :, None, None, None]
    mean = (noisy_clip * known).sum(axis=1, keepdims=True) / known.sum(axis=1, keepdims=True)
    return 0.9 * np.broadcast_to(mean, noisy_clip.shape) + 0.05 * noisy_clip


@pytest.fixture
def run(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A run whose model needs no framework."""
    spec = ModelSpec(ClipSpec(12, 8, 8, 1), cosine(50), Prediction("x0"), Linear(0.0, 50.0))
    monkeypatch.setattr(command, "open_run", lambda *_: Sampler(spec, DenoiserEngine(fading)))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "model.keras").write_bytes(b"not opened here")
    fields = np.clip(np.random.default_rng(0).gamma(0.5, 6.0, (12 * 9, 8, 8)), 0.0, 50.0).astype(np.float32)
    fields[9, 2, 2] = fields[14, 0, 0] = np.nan
    np.savez(tmp_path / "radar.npz", rate=fields)
    return folder


OUT_OF_REACH = np.arange(8)[:, None] + np.arange(8) < 3


def radar(path: pathlib.Path, **attributes: str) -> pathlib.Path:
    """Five minutes a frame, in two pieces, out of reach in a corner."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    fields = np.clip(np.random.default_rng(1).gamma(0.5, 6.0, (12 * 9, 8, 8)), 0.0, 50.0).astype(np.float32)
    fields[:, OUT_OF_REACH] = np.nan
    times = np.datetime64("2020-07-01T00:00", "ns") + np.timedelta64(300, "s") * np.arange(12 * 9)
    times[50:] += np.timedelta64(1, "h")
    xarray.Dataset({"rate": (("time", "y", "x"), fields, attributes)}, {"time": times}).to_zarr(
        path, consolidated=False
    )
    return path


def call(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_forecast_is_verified_in_its_own_numbers(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    options = ("--data", tmp_path / "radar.npz", "--num-clips", 8, "--num-steps", 2, "--batch-size", 64)
    said = call("evaluate", run, "--protocol", "nowcast-6-6@1", *options)
    folder = run / "evaluation" / "nowcast-6-6@1"
    result = json.loads((folder / "result.json").read_text())
    assert {"case_0.png", "ranks.png", "spectrum.png", "report.html"} <= {path.name for path in folder.iterdir()}
    assert result["protocol"]["members"] == 20 and result["clips"]["left_out"] == 1
    assert result["clips"]["shape"] == [8, 12, 8, 8, 1] and result["features"] is None
    numbers, simple = (result["tasks"][name]["numbers"] for name in ("model", "persistence"))
    assert numbers["crps"] < simple["crps"] and numbers["missing_share"] == pytest.approx(1 / (8 * 6 * 64))
    assert sum(result["tasks"]["model"]["curves"]["rank_histogram"]) == 8 * 6 * 64 - 1
    assert "Fair CRPS" in said and "Fréchet" not in said
    other = run / "other"
    changed = (*options, "--threshold", 3.0, "--threshold", 12.5, "-o", other)
    call("evaluate", run, "--protocol", "nowcast-6-6@1", *changed)
    assert json.loads((other / "result.json").read_text())["protocol"]["thresholds"] == [3.0, 12.5]
    same = call("compare", folder / "result.json", folder / "result.json")
    assert "persistence" in same and "Fair CRPS" in same
    assert "expected results of one protocol" in call("compare", folder / "result.json", other / "result.json", code=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--protocol", "nowcast-6-6@1"), "`--data`: nowcast-6-6@1 needs a file in the model's numbers"),
        (("--protocol", "nowcast-6-6@2"), "`--protocol`: expected one of"),
        (("--protocol", "nowcast-6-6@1", "--data", "radar.npz"), "expected 64 windows of 12 frames"),
        (
            ("--protocol", "nowcast-6-6@1", "--data", "radar.npz", "--training-data", "radar.npz"),
            "`--training-data`: expected none",
        ),
        (
            ("--protocol", "moving-digits-8@1", "--threshold", 1.0),
            "`--threshold`: expected none, for moving-digits-8@1",
        ),
        (("--protocol", "nowcast-6-6@1", "--data", "none.npz"), "Received: no such file"),
        (("--protocol", "moving-digits-8@2", "--variable", "rate"), "`--data`: moving-digits-8@2 is of videos"),
    ],
)
def test_what_cannot_be_verified_is_named(run: pathlib.Path, tmp_path: pathlib.Path, options, message: str) -> None:
    options = [tmp_path / option if str(option).endswith(".npz") else option for option in options]
    assert message in call("evaluate", run, *options, code=2)
    assert not (run / "evaluation").exists()


def test_a_radar_with_a_corner_out_of_reach_is_verified_as_it_is(tmp_path, monkeypatch) -> None:
    clip = ClipSpec(12, 8, 8, 1, fps=1 / 300, channel_names=("rate",), units=("mm/h",))
    spec = ModelSpec(clip, cosine(50), Prediction("x0"), Linear(0.0, 50.0), conditions={"observed": Observed()})
    monkeypatch.setattr(command, "open_run", lambda *_: Sampler(spec, DenoiserEngine(fading)))
    (tmp_path / "model.keras").write_bytes(b"not opened here")
    data, few = radar(tmp_path / "radar.zarr", units="mm h-1"), ("--num-clips", 8, "--num-steps", 2)
    call("evaluate", tmp_path, "--protocol", "nowcast-6-6@1", "--data", data, *few)
    result = json.loads((tmp_path / "evaluation" / "nowcast-6-6@1" / "result.json").read_text())
    # Four windows before the gap of an hour, four after it.
    assert result["clips"]["shape"] == [8, 12, 8, 8, 1] and result["clips"]["left_out"] == 0
    for name in ("model", "persistence"):
        numbers = result["tasks"][name]["numbers"]
        assert numbers["missing_share"] == pytest.approx(OUT_OF_REACH.mean()) and 0.0 < numbers["crps"] < 10.0
        assert numbers["spectrum_error"] > 0.0
    others = radar(tmp_path / "other.zarr", units="K")
    said = call("evaluate", tmp_path, "--protocol", "nowcast-6-6@1", "--data", others, *few, "--overwrite", code=2)
    assert "other.zarr: variable 'rate': expected units 'mm/h', as the model has. Received: 'K'" in said
    asked = ("--data", data, "--region", "x=0..3", *few, "--overwrite")
    assert "expected frames of [8, 8, 1]" in call("evaluate", tmp_path, "--protocol", "nowcast-6-6@1", *asked, code=2)
