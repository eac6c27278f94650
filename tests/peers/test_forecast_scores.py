"""Scores of forecasts to 1e-6 or better against the libraries of the field: `scores`, `xskillscore`, `pysteps`."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.evaluation import ensembles, events
from kvdiff.evaluation.spectra import power_spectrum

pytestmark = pytest.mark.peers
xarray = pytest.importorskip("xarray")

RNG = np.random.default_rng(0)
MEMBERS, CASES, HEIGHT, WIDTH = 20, 6, 12, 16
ENSEMBLE = RNG.gamma(0.6, 3.0, (MEMBERS, CASES, HEIGHT, WIDTH))  # As skewed as rain is.
TRUTH = RNG.gamma(0.6, 3.0, (CASES, HEIGHT, WIDTH))
MISSING = np.where(RNG.random(TRUTH.shape) < 0.1, np.nan, TRUTH)
DIMS = ("case", "y", "x")
OF_TRUTH = {name: xarray.DataArray(field, dims=DIMS) for name, field in (("whole", TRUTH), ("missing", MISSING))}
OF_ENSEMBLE = xarray.DataArray(ENSEMBLE, dims=("member", *DIMS))
EXACT = dict(rtol=0, atol=1e-10)


@pytest.mark.parametrize("truth", ["whole", "missing"])
def test_crps_is_that_of_scores(truth: str) -> None:
    probability = pytest.importorskip("scores.probability")
    expected = probability.crps_for_ensemble(OF_ENSEMBLE, OF_TRUTH[truth], "member", method="fair", preserve_dims="all")
    np.testing.assert_allclose(ensembles.crps(ENSEMBLE, OF_TRUTH[truth].values), expected.values, **EXACT)


def test_crps_of_infinite_members_is_that_of_xskillscore_and_pysteps_less_their_bias() -> None:
    xskillscore = pytest.importorskip("xskillscore")
    verification = pytest.importorskip("pysteps.verification")
    apart = np.abs(ENSEMBLE[:, None] - ENSEMBLE).sum(axis=(0, 1))
    bias = apart * (1 / (2 * MEMBERS * (MEMBERS - 1)) - 1 / (2 * MEMBERS**2))
    fair = ensembles.crps(ENSEMBLE, TRUTH)
    theirs = xskillscore.crps_ensemble(OF_TRUTH["whole"], OF_ENSEMBLE, member_dim="member", dim=[])
    np.testing.assert_allclose(fair + bias, theirs.values, **EXACT)
    theirs = verification.probscores.CRPS(ENSEMBLE, TRUTH)
    assert (fair + bias).mean() == pytest.approx(theirs, abs=1e-6)


def test_the_error_of_the_mean_is_that_of_scores_and_the_spread_that_of_pairs() -> None:
    continuous = pytest.importorskip("scores.continuous")
    spread, error = ensembles.spread_skill(ENSEMBLE, MISSING)
    assert error == pytest.approx(float(continuous.rmse(OF_ENSEMBLE.mean("member"), OF_TRUTH["missing"])), abs=1e-12)
    there = ~np.isnan(MISSING)
    apart = [np.square(ENSEMBLE[i] - ENSEMBLE[j])[there].mean() for i in range(MEMBERS) for j in range(i)]
    assert spread == pytest.approx(np.sqrt((MEMBERS + 1) / MEMBERS * np.mean(apart) / 2))


@pytest.mark.parametrize("truth", ["whole", "missing"])
def test_ranks_are_those_of_pysteps_and_xskillscore(truth: str) -> None:
    scores = pytest.importorskip("pysteps.verification.ensscores")
    xskillscore = pytest.importorskip("xskillscore")
    field = OF_TRUTH[truth]
    counts = ensembles.rank_histogram(ENSEMBLE, field.values)
    theirs = scores.rankhist_init(MEMBERS)
    scores.rankhist_accum(theirs, ENSEMBLE.reshape(MEMBERS, -1), field.values.ravel())
    assert (counts == theirs["n"]).all()
    if truth == "whole":
        assert (counts == xskillscore.rank_histogram(field, OF_ENSEMBLE, member_dim="member").values).all()


def test_ties_are_spread_as_by_pysteps() -> None:
    scores = pytest.importorskip("pysteps.verification.ensscores")
    ensemble, truth = (np.maximum(RNG.normal(size=shape), 0.0) for shape in ((4, 40_000), (40_000,)))
    theirs = scores.rankhist_init(4)
    scores.rankhist_accum(theirs, ensemble, truth)
    ours = ensembles.rank_histogram(ensemble, truth)
    assert np.abs(ours - np.asarray(theirs["n"])).max() < 5 * np.sqrt(ours.max())  # Random on both sides.
    assert np.abs(ours / 8000 - 1).max() < 0.06


def test_reliability_is_that_of_xskillscore() -> None:
    xskillscore = pytest.importorskip("xskillscore")
    said, happened = ensembles.reliability(ENSEMBLE, TRUTH, 2.0)
    edges = (np.arange(MEMBERS + 2) - 0.5) / MEMBERS  # Each bin holds one k / M.
    happens, forecast = OF_TRUTH["whole"] >= 2.0, (OF_ENSEMBLE >= 2.0).mean("member")
    theirs = xskillscore.reliability(happens, forecast, probability_bin_edges=edges)
    assert (said == theirs.samples.values).all()
    np.testing.assert_allclose((happened / np.maximum(said, 1))[said > 0], theirs.values[said > 0], **EXACT)


@pytest.mark.parametrize("threshold", [0.5, 2.0, 8.0])
def test_events_are_those_of_scores_and_pysteps(threshold: float) -> None:
    categorical = pytest.importorskip("scores.categorical")
    detcat = pytest.importorskip("pysteps.verification.detcatscores")
    counts = events.contingency(ENSEMBLE[0], MISSING, threshold)
    event = categorical.ThresholdEventOperator(default_event_threshold=threshold)
    theirs = event.make_contingency_manager(OF_ENSEMBLE[0], OF_TRUTH["missing"]).transform()
    assert events.csi(counts) == pytest.approx(float(theirs.critical_success_index()), abs=1e-12)
    assert events.pod(counts) == pytest.approx(float(theirs.probability_of_detection()), abs=1e-12)
    assert events.far(counts) == pytest.approx(float(theirs.false_alarm_ratio()), abs=1e-12)
    whole = events.contingency(ENSEMBLE[0], TRUTH, threshold)
    theirs = detcat.det_cat_fct(ENSEMBLE[0], TRUTH, threshold, scores=["CSI", "POD", "FAR"])
    found = [events.csi(whole), events.pod(whole), events.far(whole)]
    np.testing.assert_allclose(found, [theirs[name] for name in ("CSI", "POD", "FAR")], **EXACT)


@pytest.mark.parametrize("size", [1, 3, 5, 12])
def test_fractions_skill_score_is_that_of_scores(size: int) -> None:
    spatial = pytest.importorskip("scores.spatial")
    for case in range(CASES):
        sums = events.fractions_skill_score(ENSEMBLE[:1, case], TRUTH[case], 2.0, size)
        theirs = spatial.fss_2d_single_field(
            ENSEMBLE[0, case], TRUTH[case], event_threshold=2.0, window_size=(size, size)
        )
        assert events.fss(sums) == pytest.approx(float(theirs), abs=1e-10)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_fractions_skill_score_is_that_of_pysteps_inside_a_border(size: int) -> None:
    spatial = pytest.importorskip("pysteps.verification.spatialscores")
    border = [(size // 2, size // 2)] * 2  # There `pysteps` sees no event.
    for case in range(CASES):
        forecast, truth = (np.pad(field, border) for field in (ENSEMBLE[0, case], TRUTH[case]))
        theirs = spatial.fss(ENSEMBLE[0, case], TRUTH[case], 2.0, size)
        assert events.fss(events.fractions_skill_score(forecast[None], truth, 2.0, size)) == pytest.approx(theirs)


@pytest.mark.parametrize("shape", [(12, 16), (16, 16), (9, 9), (15, 8)])
def test_spectra_are_those_of_pysteps(shape: tuple[int, int]) -> None:
    spectral = pytest.importorskip("pysteps.utils.spectral")
    field = RNG.normal(size=shape)
    np.testing.assert_allclose(power_spectrum(field), spectral.rapsd(field, fft_method=np.fft), **EXACT)


def _flat(truth: np.ndarray) -> np.ndarray:
    return truth.reshape(-1, WIDTH)
