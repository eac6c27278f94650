"""From a Zarr of a radar to a forecast with coordinates, as the documentation writes it; wrong input is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kvdiff.cli.field_options import DataOptions, FieldTraining, parse_size
from kvdiff.cli.fields import fitted_values
from kvdiff.diffusion import Linear, Log1p, PerChannel, Standardised
from kvdiff.diffusion.transforms import Summary
from kvdiff.fields import FieldRecipe
from tests.test_cli import call, refused

xarray = pytest.importorskip("xarray")
pytest.importorskip("zarr")
TIMES = np.datetime64("2020-07-01T00:00", "ns") + np.timedelta64(300, "s") * np.arange(30)


def write_radar(path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    rate = rng.gamma(0.4, 4.0, (30, 6, 10)).astype(np.float32)
    rate[:, 0, 0] = np.nan  # Out of the radar's reach.
    units = {"units": "mm h-1", **changes}
    coords = {"time": TIMES, "y": np.arange(6) * 1000.0, "x": np.arange(10) * 1000.0}
    xarray.Dataset({"rate": (("time", "y", "x"), rate, units)}, coords).to_zarr(path, consolidated=False)
    return path


def tiny_denoiser(recipe: Any, frame_shape: Any, motion_reach: int, **options: Any) -> Any:
    import kvdiff

    return kvdiff.UNet3D(frame_shape[-1], widths=(8,), blocks=1, attention=(None,), **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(the run, the radar): trained with the command of the documentation, but for a smaller network."""
    folder = tmp_path_factory.mktemp("radar")
    radar = write_radar(folder / "radar.zarr")
    asked = ("--variable", "rate", "--past", 4, "--frames", 6, "--values", "log1p", "--epochs", 1, "--flips", "up_down")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kvdiff.models.recipes.Recipe.denoiser", tiny_denoiser)
        trained = call("train", radar, *asked, "--size", "6x10", "--importance", "-o", folder / "run")
    assert "25 windows of 6 frames" in trained.output
    assert "rate [mm h-1]: " in trained.output and "1.7% missing; Log1p(low=0.0" in trained.output
    assert json.loads((folder / "run" / "data.json").read_text())["recipe"] == {"variable": ["rate"]}
    return folder / "run", radar


def test_a_forecast_continues_the_coordinates_in_a_file_of_the_same_kind(run, tmp_path: Path) -> None:
    folder, radar = run
    out = tmp_path / "forecast.zarr"
    said = call("predict", folder, radar, "--num-steps", 2, "-o", out)
    assert f"Wrote {out}: 2 frames after 4 known ones." in said.output
    future = xarray.open_dataset(out, engine="zarr", consolidated=False)
    np.testing.assert_array_equal(future.time, TIMES[-1] + np.timedelta64(300, "s") * np.array([1, 2]))
    assert future.rate.attrs["units"] == "mm h-1" and future.rate.dims == ("time", "y", "x")
    assert np.isnan(future.rate[:, 0, 0]).all() and np.isfinite(future.rate[:, 1:]).all()
    assert float(future.rate.min()) >= 0.0
    assert "exists; pass --overwrite" in refused("predict", folder, radar, "--num-steps", 2, "-o", out)
    ensemble = tmp_path / "ensemble.zarr"
    said = call("predict", folder, radar, "--num-steps", 1, "--members", 3, "-o", ensemble)
    assert "3 members of 2 frames after 4 known ones." in said.output
    members = xarray.open_dataset(ensemble, engine="zarr", consolidated=False).rate
    assert members.dims == ("member", "time", "y", "x") and members.shape == (3, 2, 6, 10)
    call("predict", folder, radar, "--num-steps", 1, "--past", 2, "--only-new", "-o", tmp_path / "forecast.gif")
    call("predict", folder, radar, "--num-steps", 1, "-o", tmp_path / "forecast.npy")
    assert np.load(tmp_path / "forecast.npy").shape == (1, 6, 6, 10, 1)


def test_every_export_of_such_a_run_forecasts_in_its_own_numbers(run, tmp_path: Path) -> None:
    folder, radar = run
    said = call("export", folder, "--to", "onnx,saved-model", "-o", tmp_path / "out")
    assert "serving" in said.output
    made = {}
    for runtime, place in (("keras", folder), ("onnx", tmp_path / "out"), ("saved-model", tmp_path / "out")):
        out = tmp_path / f"{runtime}.zarr"
        call("predict", place, radar, "--runtime", runtime, "--past", 4, "--num-steps", 2, "-o", out)
        made[runtime] = xarray.open_dataset(out, engine="zarr", consolidated=False).rate.values
    for runtime in ("onnx", "saved-model"):
        np.testing.assert_allclose(made[runtime], made["keras"], rtol=1e-4, atol=1e-4)


def test_another_radar_must_have_the_models_units_and_size(run, tmp_path: Path) -> None:
    folder, radar = run
    other = write_radar(tmp_path / "other.zarr", units="K")
    out = ("--num-steps", 1, "-o", tmp_path / "a.zarr")
    said = refused("predict", folder, other, *out)
    assert "other.zarr: variable 'rate': expected units 'mm h-1', as the model has. Received: 'K'" in said
    said = refused("predict", folder, radar, "--region", "y=0..3000", *out)
    assert "expected frames of [6, 10, 1] (height, width, channels), as the model has; `--region` takes" in said
    said = refused("predict", folder, radar, "--variable", "rain", *out)
    assert "radar.zarr: variable 'rain': expected one of ['rate']. Received: no such variable" in said


def test_what_the_network_cannot_be_trained_on_is_refused_by_the_options_names(tmp_path: Path) -> None:
    radar = write_radar(tmp_path / "radar.zarr")
    run = ("-o", tmp_path / "run")
    line = refused("train", radar, "--frames", 6, "--past", 6, *run)
    assert "--past: expected 1 to 5, of clips of 6 frames. Received: 6" in line
    assert "`--size`: expected HEIGHTxWIDTH, e.g. 48x64" in refused("train", radar, "--size", "8by8", *run)
    assert "`--values`: expected one of" in refused("train", radar, "--values", "rain", *run)
    said = refused("train", radar, "--time-step", "7min", "--frames", 4, *run)
    assert "expected at least 16 clips of 4 frames without a gap, a batch. Received: 0, of 30 frames" in said
    assert not (tmp_path / "run").exists()


def test_data_is_inspected_before_anyone_trains_on_it(tmp_path: Path) -> None:
    radar = write_radar(tmp_path / "radar.zarr")
    said = call("data", "inspect", radar, "-o", tmp_path / "found").output
    assert f"{radar}: 30 frames of 6×10, every 300 s from 2020-07-01T00:00" in said
    assert "rate [mm h-1], float32: " in said and "missing: 1.67%" in said and "histogram |" in said
    report = json.loads((tmp_path / "found" / "report.json").read_text())
    assert report["files"][0]["gaps"] == [] and sum(report["channels"][0]["histogram"]["counts"]) == 30 * 59
    from PIL import Image

    sheet = np.asarray(Image.open(tmp_path / "found" / "contact_sheet.png"))
    assert sheet.ndim == 3 and (sheet == (128, 128, 128)).all(axis=-1).sum() > 24 * 10  # What is missing is grey.


def test_options_are_read_as_they_are_written() -> None:
    assert parse_size("48x64") == (48, 64) and parse_size("32") == (32, 32)
    asked = DataOptions(
        variable=["u", "v"], dims="t, y,x", region=["z=3", "t=2019..2020"], time_step="5min", units=["m/s"] * 2
    )
    expected = FieldRecipe(("u", "v"), ("t", "y", "x"), {"z": 3, "t": (2019, 2020)}, 300.0, units=("m/s", "m/s"))
    assert asked.recipe() == expected and asked.is_said and not DataOptions().is_said
    assert FieldRecipe.from_config(json.loads(json.dumps(expected.config))) == expected
    assert DataOptions(region=["z=4"]).recipe(expected).region == {"z": 4, "t": (2019, 2020)}
    summaries = (Summary(), Summary())
    for summary in summaries:
        summary.add(np.array([0.0, 10.0]))
    both = fitted_values(FieldTraining(values=["log1p:scale=2", "standardised"], outside="clamp"), summaries)
    assert isinstance(both, PerChannel) and both.channels[1] == Standardised(5.0, 5.0)
    assert isinstance(both.channels[0], Log1p) and both.channels[0].scale == 2.0 and both.channels[0].clamps
    assert fitted_values(FieldTraining(values=["linear:low=0,high=20"]), summaries[:1]) == Linear(0.0, 20.0)
    with pytest.raises(ValueError, match="`values`: expected KIND:NAME=NUMBER"):
        fitted_values(FieldTraining(values=["log1p:scale"]), summaries)
