"""Values are fitted to a stream of numbers: chunks are as good as the whole, and there is some to spare."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import DBZ, Linear, Log1p, PerChannel, Quantile, Standardised, fitted
from kvdiff.diffusion.transforms import FITTED, Summary

RNG = np.random.default_rng(7)
RAIN = np.where(RNG.random((300, 20, 1)) < 0.7, 0.0, RNG.lognormal(0.5, 1.0, (300, 20, 1)))


def test_chunks_are_as_good_as_the_whole_and_missing_ones_are_counted() -> None:
    numbers = np.where(RNG.random(RAIN.shape) < 0.1, np.nan, RAIN)
    summary = Summary()
    for chunk in np.array_split(numbers, 7):
        summary.add(chunk)
    there = numbers[~np.isnan(numbers)]
    assert (summary.count, summary.missing) == (there.size, numbers.size - there.size)
    assert (summary.low, summary.high) == (there.min(), there.max())
    assert (summary.mean, summary.std) == pytest.approx((there.mean(), there.std()))
    np.testing.assert_array_equal(summary.sample, np.sort(there))


def test_the_sample_of_a_long_stream_stays_small_and_even() -> None:
    summary = Summary()
    for start in range(0, 1_000_000, 50_000):
        summary.add(np.arange(start, start + 50_000))
    assert 2**16 <= len(summary.sample) <= 2**17 and summary.whole == (-(2**63), 2**63 - 1)
    np.testing.assert_allclose(np.quantile(summary.sample, [0.1, 0.5, 0.9]), [1e5, 5e5, 9e5], rtol=0.01)


@pytest.mark.parametrize("kind", sorted(FITTED))
def test_every_kind_takes_what_it_was_fitted_to(kind: str) -> None:
    values = fitted(kind, RAIN)
    x_0 = values.encode(values.checked("clip", RAIN[None, None], RAIN.shape))
    assert np.abs(x_0).max() < (40.0 if kind == "standardised" else 1.0001)
    if kind != "dbz":
        np.testing.assert_allclose(values.decode(x_0)[0, 0], RAIN, rtol=1e-3, atol=1e-3)
    if values.bounds is not None:
        low, high = values.limits
        assert low == 0.0 and RAIN.max() * 1.05 < high  # Rates do not go below 0; a worse storm may come.
    np.testing.assert_allclose(fitted(kind, np.array_split(RAIN, 3)).encode(RAIN), x_0[0, 0], atol=1e-5)


def test_formulas_of_the_fits() -> None:
    numbers = np.array([[2.0], [4.0], [12.0]])
    assert fitted("linear", numbers) == Linear(1.0, 13.0)
    assert fitted("standardised", numbers) == Standardised(6.0, np.sqrt(56 / 3))
    assert fitted("dbz", numbers) == DBZ(18.0)
    assert fitted("log1p", numbers, scale=0.5).high == pytest.approx(0.5 * ((1 + 24) * (25 / 3) ** 0.1 - 1))
    assert fitted("log1p", numbers, high=99.0, outside="clamp") == Log1p(1.0, 99.0, outside="clamp")
    assert fitted("linear", np.array([[0], [60000]], np.uint16)) == Linear(0.0, 65535.0)
    assert fitted("linear", np.array([[-3.0], [-1.0]])) == Linear(-3.2, -0.8)


def test_a_quantile_curve_makes_any_distribution_even_and_ties_stay_together() -> None:
    skewed = RNG.lognormal(0.0, 2.0, (20000, 1))
    x_0 = np.sort(fitted("quantile", skewed, knots=64).encode(skewed)[:, 0])
    np.testing.assert_allclose(x_0, np.linspace(-1, 1, 20000), atol=0.06)
    dry = fitted("quantile", RAIN)
    assert isinstance(dry, Quantile) and dry.numbers[0] == 0.0
    assert len(np.unique(dry.encode(np.zeros(3, np.float32)))) == 1


def test_channels_are_fitted_one_by_one() -> None:
    numbers = np.stack([RAIN[..., 0], 280 + RNG.normal(size=RAIN.shape[:-1])], axis=-1)
    values = fitted(["log1p", "standardised"], numbers)
    assert isinstance(values, PerChannel) and [one.name for one in values.channels] == ["log1p", "standardised"]
    assert [one.name for one in fitted("linear", numbers).channels] == ["linear", "linear"]
    with pytest.raises(
        ValueError, match="`values`: expected one kind, or one for each of 2 channels. Received: .'dbz'"
    ):
        fitted(["dbz"], numbers)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (np.zeros((4, 1)), "`numbers`: expected different ones in channel 0. Received: all 0"),
        (np.full((4, 1), np.nan), "Received: none that is not missing"),
        (np.array([[1.0], [np.inf]]), "expected finite numbers"),
        ([], "expected at least one array"),
        ([np.zeros((3, 2)), np.zeros((3, 1))], r"expected arrays \[..., 2\]. Received: \[3, 1\]"),
    ],
)
def test_numbers_that_fit_nothing_are_refused(numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fitted("linear", numbers)
    with pytest.raises(ValueError, match="`values`: expected one of .'asinh'.*Received: 'rain'"):
        fitted("rain", RAIN)
