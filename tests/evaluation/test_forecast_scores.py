"""Scores of ensembles, events and spectra against slow formulas; tests/peers compares with libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kvdiff.evaluation import ensembles, events
from kvdiff.evaluation.spectra import power_spectrum

RNG = np.random.default_rng(0)
ENSEMBLE, TRUTH = RNG.normal(size=(5, 3, 6, 7)), RNG.normal(size=(3, 6, 7))
MISSING = np.where(RNG.random(TRUTH.shape) < 0.2, np.nan, TRUTH)


def test_crps_is_the_fair_double_sum() -> None:
    found = ensembles.crps(ENSEMBLE, MISSING)
    for at in np.ndindex(TRUTH.shape):
        x, y = ENSEMBLE[(slice(None), *at)], MISSING[at]
        expected = np.abs(x - y).mean() - np.abs(x[:, None] - x).sum() / (2 * 5 * 4)
        assert found[at] == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert (ensembles.crps(ENSEMBLE[:1], TRUTH) == np.abs(ENSEMBLE[0] - TRUTH)).all()


def test_crps_does_not_depend_on_the_number_of_members_on_average() -> None:
    truth = RNG.normal(size=100_000)
    for members in (2, 5, 20):  # Of a standard normal law: 1 / sqrt(pi).
        mean = ensembles.crps(RNG.normal(size=(members, len(truth))), truth).mean()
        assert mean == pytest.approx(1 / math.sqrt(math.pi), rel=0.02)


def test_spread_and_error_of_a_calibrated_ensemble_are_alike_for_any_number_of_members() -> None:
    for members in (2, 5, 20):
        truth, ensemble = RNG.normal(size=50_000), RNG.normal(size=(members, 50_000))
        spread, error = ensembles.spread_skill(ensemble, truth)
        assert spread / error == pytest.approx(1.0, abs=0.015)
    spread, error = ensembles.spread_skill(0.5 * ensemble, truth)
    assert spread / error < 0.6
    there = ~np.isnan(MISSING)
    expected = math.sqrt(6 / 5 * ENSEMBLE[:, there].var(axis=0, ddof=1).mean())
    assert ensembles.spread_skill(ENSEMBLE, MISSING)[0] == pytest.approx(expected)
    with pytest.raises(ValueError, match="`ensemble`: expected at least 2 members. Received: 1"):
        ensembles.spread_skill(ENSEMBLE[:1], TRUTH)


def test_ranks_count_members_below_and_break_ties_at_random() -> None:
    counts = ensembles.rank_histogram(ENSEMBLE, MISSING)
    there = ~np.isnan(MISSING)
    expected = np.bincount((ENSEMBLE < MISSING).sum(axis=0)[there], minlength=6)
    assert (counts == expected).all() and counts.sum() == there.sum()
    zeros = ensembles.rank_histogram(np.zeros((4, 20_000)), np.zeros(20_000), seed=3)
    assert np.abs(zeros / 4000 - 1).max() < 0.1
    half = ensembles.ranks(np.array([[0.0], [1.0], [1.0], [2.0]]), np.array([1.0]), np.array([0.0]))
    top = ensembles.ranks(np.array([[0.0], [1.0], [1.0], [2.0]]), np.array([1.0]), np.array([0.999]))
    assert half == [1] and top == [3]


def test_reliability_counts_how_often_what_is_forecast_happens() -> None:
    said, happened = ensembles.reliability(ENSEMBLE, MISSING, 0.3)
    there = ~np.isnan(MISSING)
    for members in range(6):
        chosen = there & ((ENSEMBLE >= 0.3).sum(axis=0) == members)
        assert said[members] == chosen.sum() and happened[members] == (TRUTH[chosen] >= 0.3).sum()


def test_contingency_and_its_shares() -> None:
    forecast, truth = np.array([3.0, 3.0, 1.0, 1.0, 3.0, 9.0]), np.array([2.0, 0.0, 5.0, 1.0, np.nan, 2.0])
    counts = events.contingency(forecast, truth, 2.0)
    assert counts.tolist() == [2, 1, 1]
    assert events.csi(counts) == 0.5 and events.pod(counts) == pytest.approx(2 / 3)
    assert events.far(counts) == pytest.approx(1 / 3)
    nothing = events.contingency(np.zeros(3), np.zeros(3), 2.0)
    assert all(math.isnan(score(nothing)) for score in (events.csi, events.pod, events.far))
    members = events.contingency(np.stack([forecast, forecast]), truth, 2.0)
    assert (members == 2 * counts).all()


def test_pooling_takes_the_largest_number_that_is_there() -> None:
    field = np.arange(35.0).reshape(5, 7)
    assert events.pooled(field, 2).tolist() == [[8.0, 10.0, 12.0], [22.0, 24.0, 26.0]]
    field[1, 1] = np.nan
    field[2:4, 2:4] = np.nan
    pooled = events.pooled(field, 2)
    assert pooled[0, 0] == 7.0 and np.isnan(pooled[1, 1])
    with pytest.raises(ValueError, match="`size`: expected an integer from 1 to 5. Received: 6"):
        events.pooled(field, 6)


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_fractions_skill_score_is_the_slow_sum_over_windows(size: int) -> None:
    sums = np.zeros(3)
    happened, said, there = MISSING >= 0.2, (ENSEMBLE >= 0.2).mean(axis=0), ~np.isnan(MISSING)
    for field in range(3):
        for y in range(6 - size + 1):
            for x in range(7 - size + 1):
                window = (field, slice(y, y + size), slice(x, x + size))
                if there[window].any():
                    f, o = said[window][there[window]].mean(), happened[window][there[window]].mean()
                    sums += [f * f, o * o, f * o]
    np.testing.assert_allclose(events.fractions_skill_score(ENSEMBLE, MISSING, 0.2, size), sums, atol=1e-10)
    perfect = events.fractions_skill_score(TRUTH[None], TRUTH, 0.2, size)
    assert events.fss(perfect) == pytest.approx(1.0)
    assert events.fss(sums) == pytest.approx(1 - (sums[0] + sums[1] - 2 * sums[2]) / (sums[0] + sums[1]))
    assert math.isnan(events.fss(np.zeros(3)))


@pytest.mark.parametrize("shape", [(8, 8), (7, 7), (6, 10)])
def test_the_spectrum_of_a_wave_is_at_its_wavenumber(shape: tuple[int, int]) -> None:
    height, width = shape
    wave = np.cos(2 * np.pi * 2 * np.arange(width) / width) * np.ones((height, 1))
    spectrum = power_spectrum(np.stack([wave, 1.0 + 0 * wave]))
    assert spectrum.shape == (2, (max(shape) + 1) // 2)
    assert spectrum[0].argmax() == 2 and np.delete(spectrum[0], 2).max() < 1e-20
    assert spectrum[1, 0] == pytest.approx(height * width) and spectrum[1, 1:].max() < 1e-20
    white = power_spectrum(np.random.default_rng(1).normal(size=(4000, *shape)))
    np.testing.assert_allclose(white.mean(axis=0), 1.0, atol=0.08)  # Parseval: the variance of each pixel.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ensembles.crps(ENSEMBLE, TRUTH[0]), r"`ensemble`: expected shape \[members, 6, 7\]. Received: \[5, 3"),
        (lambda: ensembles.crps(np.full((2, 3), np.nan), np.zeros(3)), "`ensemble`: expected no NaN"),
        (lambda: ensembles.crps(np.zeros((0, 3)), np.zeros(3)), r"`ensemble`: expected shape \[members, 3\]"),
        (lambda: power_spectrum(MISSING), r"`fields`: expected \[..., height, width\] without NaN. Received: NaN"),
        (lambda: power_spectrum(TRUTH[0, 0]), r"`fields`: .*Received: shape \[7\]"),
        (lambda: events.fractions(TRUTH > 0, TRUTH > 0, 7), "`size`: expected an integer from 1 to 6. Received: 7"),
    ],
)
def test_what_cannot_be_scored_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
