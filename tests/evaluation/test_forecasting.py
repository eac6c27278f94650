"""The protocol of forecasts with an exact model: calibrated, better than persistence, and a page of it."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, OracleSampler, Prediction, Sampler
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.evaluation import nowcasting
from kvdiff.evaluation.ensembles import crps, spread_skill
from kvdiff.evaluation.forecast_cases import ForecastCases, cases_of, read_cases
from kvdiff.evaluation.forecast_protocols import FORECASTS, ForecastProtocol
from kvdiff.evaluation.forecast_scores import ForecastScores
from kvdiff.evaluation.forecasting import evaluate_forecasts
from kvdiff.evaluation.result import aligned, compare, result_of
from tests.benchmarks.advected_fields.law import AdvectedFields

NOWCAST = FORECASTS["nowcast-6-6@1"]
SMALL = ForecastProtocol("small", 1, 2, 2, 8, 40, (0.0, 1.0), (1, 2), (1, 3), "nobody")
LAW = AdvectedFields(frames=4, size=4, past=2)
HOW = dict(num_steps=12, solver="dpmpp_2m", spacing="uniform_logsnr")


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return OracleSampler(LAW.clips, ClipSpec(4, 4, 4, 1), cosine(1000), Prediction("v"))


@pytest.fixture(scope="module")
def cases() -> ForecastCases:
    clips = LAW.sample(40, seed=5)
    clips[3, 2, 1, 1] = clips[7, 3] = np.nan  # A pixel, and a whole frame.
    return cases_of(clips, SMALL, (4, 4, 1))


def test_the_frozen_protocol_never_changes() -> None:
    assert NOWCAST.sha256 == "0323278f390e6f4b76fea49e74af8468d1ae307d1301f868e97ba919082e32a9"
    assert NOWCAST.title == "nowcast-6-6@1"
    changed = NOWCAST.changed(8, (20.0, 35.0))
    assert changed.title == "nowcast-6-6@1 (changed: 8 cases, thresholds 20, 35)" and changed.sha256 != NOWCAST.sha256
    assert NOWCAST.changed() == NOWCAST


def test_scores_added_up_are_those_of_all_cases_at_once() -> None:
    rng = np.random.default_rng(1)
    ensemble, truth = rng.normal(size=(8, 6, 2, 4, 4, 1)), rng.normal(size=(6, 2, 4, 4, 1))
    truth[1, 0, 2, 2] = truth[4, 1] = np.nan
    whole, parts = (ForecastScores(SMALL, 8, (4, 4, 1)) for _ in range(2))
    whole.add(ensemble, truth, np.arange(6))
    for start in (0, 4):
        some = slice(start, start + 4)
        parts.add(ensemble[:, some], truth[some], np.arange(6)[some])
    assert parts.numbers == pytest.approx(whole.numbers)
    assert json.loads(json.dumps(parts.curves))["rank_histogram"] == whole.curves["rank_histogram"]
    assert whole.curves["missing"] == [1, 16] and whole.numbers["missing_share"] == pytest.approx(17 / 192)
    assert whole.numbers["crps"] == pytest.approx(np.nanmean(crps(ensemble, truth)))
    spread, error = spread_skill(ensemble, truth)
    assert whole.numbers["spread_skill"] == pytest.approx(spread / error)
    assert whole.numbers["rmse"] == pytest.approx(error)
    assert sum(whole.curves["rank_histogram"]) == 192 - 17


def test_an_exact_model_is_calibrated_and_persistence_is_worse(sampler: Sampler, cases: ForecastCases) -> None:
    made = evaluate_forecasts(sampler, SMALL, cases, baselines=["persistence"], batch_size=64, **HOW)
    numbers, simple = (made.tasks[name]["numbers"] for name in ("model", "persistence"))
    assert numbers["spread_skill"] == pytest.approx(1.0, abs=0.12)
    assert numbers["crps"] == pytest.approx(LAW.exact_crps.mean(), rel=0.15)
    assert numbers["crps"] < 0.8 * simple["crps"] and numbers["rmse"] < simple["rmse"] < 1.2 * numbers["rmse_member"]
    assert "spread_skill" not in simple and "rank_histogram" not in made.tasks["persistence"]["curves"]
    assert made.shown["model"].shape == (8, 3, 2, 4, 4, 1) and made.shown["persistence"].shape[0] == 1


def test_figures_do_not_depend_on_the_batch(sampler: Sampler, cases: ForecastCases) -> None:
    few = dataclasses.replace(SMALL, num_cases=3)
    some = cases_of(cases.clips[8:11], few, (4, 4, 1))
    found = [
        evaluate_forecasts(sampler, few, some, baselines=[], batch_size=size, num_steps=2).tasks["model"]["numbers"]
        for size in (3, 32)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_the_page_and_the_comparison(sampler: Sampler, cases: ForecastCases, tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib")
    from kvdiff.evaluation.forecast_report import write_forecast_report

    few = dataclasses.replace(SMALL, num_cases=8)
    some = cases_of(cases.clips[8:16], few, (4, 4, 1))
    made = evaluate_forecasts(sampler, few, some, baselines=["persistence"], num_steps=2)
    how = dict(model={"file": "oracle"}, sampling={"num_steps": 2})
    result = json.loads(json.dumps(result_of(made, few, some, **how)))
    write_forecast_report(tmp_path, made, some, result)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("<img") >= 8 and "Fair CRPS" in page and "http" not in page.split("</style>")[1]
    assert {"case_0.png", "crps.png", "ranks.png", "spectrum.png"} <= {path.name for path in tmp_path.iterdir()}
    assert "Fair CRPS" in aligned(compare([result, result], ["a", "b"]))
    other = json.loads(json.dumps(result_of(made, dataclasses.replace(few, thresholds=(0.5,)), some, **how)))
    with pytest.raises(ValueError, match="expected results of one protocol"):
        compare([result, other], ["a", "b"])


def test_windows_are_spread_over_the_data_and_a_missing_past_is_left_out(tmp_path: pathlib.Path) -> None:
    fields = np.arange(41.0)[:, None, None] + np.zeros((41, 4, 4))
    fields[5, 0, 0] = fields[6, 1, 1] = np.nan  # In the past of window 1, and in its future.
    rule = dataclasses.replace(SMALL, num_cases=3)
    cases = cases_of(fields, rule, (4, 4, 1))
    assert cases.clips.shape == (3, 4, 4, 4, 1) and cases.left_out == 1
    assert cases.clips[:, 0, 2, 2, 0].tolist() == [0.0, 20.0, 36.0]
    two = cases_of(np.stack([fields, fields + 100])[..., None], dataclasses.replace(rule, num_cases=18), (4, 4, 1))
    assert two.clips[9:, 0, 2, 2, 0].min() == 100.0 and two.left_out == 2
    np.save(tmp_path / "fields.npy", fields)
    np.savez(tmp_path / "fields.npz", rate=fields)
    np.savez(tmp_path / "two.npz", rate=fields, other=fields)
    for name in ("fields.npy", "fields.npz"):
        assert read_cases(tmp_path / name, rule, (4, 4, 1)).config["sha256"] == cases.config["sha256"]
    with pytest.raises(ValueError, match="two.npz: expected one array. Received: rate, other"):
        read_cases(tmp_path / "two.npz", rule, (4, 4, 1))
    with pytest.raises(FileNotFoundError, match="expected a .npy or .npz file of fields. Received: no such file"):
        read_cases(tmp_path / "none.npy", rule, (4, 4, 1))
    with pytest.raises(ValueError, match=r"`data`: expected fields \[time, 4, 4\].* Received: \[41, 4, 4\]"):
        cases_of(fields, rule, (4, 4, 2))
    with pytest.raises(ValueError, match=r"`data`: small@1 expected 40 windows of 4 frames .* Received: 9, and 1 with"):
        cases_of(fields, SMALL, (4, 4, 1))


def test_persistence_repeats_the_last_frame() -> None:
    past = LAW.sample(2, seed=1)[:, :2]
    made = nowcasting.persistence(past, 3)
    assert made.shape == (1, 2, 3, 4, 4, 1) and (made == past[None, :, -1:]).all()
    assert "persistence" in nowcasting.installed_baselines((4, 4, 1))


def test_cases_of_other_frames_are_named(sampler: Sampler, cases: ForecastCases) -> None:
    with pytest.raises(ValueError, match=r"`cases`: expected clips of \[12, 4, 4, 1\]. Received: \[4, 4, 4, 1\]"):
        evaluate_forecasts(sampler, NOWCAST, cases)
    with pytest.raises(ValueError, match="`baselines`: expected one of .*Received: 'luck'"):
        evaluate_forecasts(sampler, SMALL, cases, baselines=["luck"])
