"""Physical values: curves come back, are what their formulas say, agree with keras.ops, and clamp by choice."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from kvdiff.diffusion import (
    DBZ,
    Asinh,
    Linear,
    Log1p,
    PerChannel,
    Quantile,
    SquareRoot,
    Standardised,
    Unbounded,
)
from kvdiff.diffusion.transforms.values import values_from_config

FRAME = (4, 5, 1)
CURVES = [
    Linear(-30.0, 75.5),
    Log1p(0.0, 150.0),
    Log1p(0.5, 1e4, scale=0.02),
    SquareRoot(0.0, 65535.0),
    Asinh(-400.0, 900.0, scale=3.0),
    Quantile((0.0, 0.1, 2.0, 60.0), (-1.0, -0.2, 0.5, 1.0)),
    Standardised(281.5, 9.25),
]
EXPECTED = {  # x_0 of the middle of the limits, by the formula.
    "linear": lambda n, v: 2 * (n - v.low) / (v.high - v.low) - 1,
    "log1p": lambda n, v: (
        2 * np.log((v.scale + n) / (v.scale + v.low)) / np.log((v.scale + v.high) / (v.scale + v.low)) - 1
    ),
    "square_root": lambda n, v: 2 * (np.sqrt(n) - np.sqrt(v.low)) / (np.sqrt(v.high) - np.sqrt(v.low)) - 1,
    "asinh": lambda n, v: (
        2
        * (np.arcsinh(n / v.scale) - np.arcsinh(v.low / v.scale))
        / (np.arcsinh(v.high / v.scale) - np.arcsinh(v.low / v.scale))
        - 1
    ),
    "quantile": lambda n, v: np.interp(n, v.numbers, v.heights),
    "standardised": lambda n, v: (n - v.mean) / v.std,
}


def span(values, size: int = 60) -> np.ndarray:
    low, high = values.limits if values.bounds else (250.0, 310.0)
    return np.linspace(low, high, size, dtype=np.float32).reshape(1, -1, *FRAME)


@pytest.mark.parametrize("values", CURVES, ids=lambda values: f"{values.name}")
def test_a_curve_is_its_formula_and_comes_back(values) -> None:
    numbers = span(values)
    x_0 = values.encode(values.checked("clip", numbers, FRAME))
    assert x_0.dtype == np.float32
    np.testing.assert_allclose(x_0, EXPECTED[values.name](numbers.astype(np.float64), values), atol=2e-6)
    if values.bounds is not None:
        assert (x_0.min(), x_0.max()) == pytest.approx(values.bounds, abs=1e-6)
    size = float(np.abs(numbers).max())
    np.testing.assert_allclose(values.decode(x_0), numbers, rtol=2e-5, atol=2e-6 * size)
    assert (np.diff(x_0.ravel()) > 0).all()
    assert values_from_config(json.loads(json.dumps(values.config))) == values


@pytest.mark.parametrize("values", [*CURVES, DBZ(120.0)], ids=lambda values: f"{values.name}")
def test_tensors_have_the_numbers_of_numpy(values) -> None:
    numbers = span(values)
    x_0 = values.encode(numbers)
    np.testing.assert_allclose(values.encode(keras.ops.convert_to_tensor(numbers), keras.ops), x_0, atol=2e-6)
    decoded = keras.ops.convert_to_numpy(values.decode(keras.ops.convert_to_tensor(x_0), keras.ops))
    np.testing.assert_allclose(decoded, values.decode(x_0), rtol=1e-5, atol=1e-5 * float(np.abs(numbers).max()))


def test_reflectivity_of_a_rate_is_that_of_marshall_and_palmer() -> None:
    values = DBZ(100.0)
    low, high = (10 * np.log10(200 * rate**1.6) for rate in (0.1, 100.0))
    rates = np.array([0.1, 1.0, 10.0, 100.0], np.float32)
    dbz = (values.encode(rates) + 1) / 2 * (high - low + 5.0) + low - 5.0
    np.testing.assert_allclose(dbz, [7.0103, 23.0103, 39.0103, 55.0103], atol=1e-4)
    np.testing.assert_allclose(values.decode(values.encode(rates)), rates, rtol=1e-5)
    assert values_from_config(values.config) == values


def test_what_is_dry_stays_dry_and_a_little_noise_makes_no_drizzle() -> None:
    values = DBZ(100.0)
    assert values.encode(np.array([0.0, 0.05], np.float32)).tolist() == [-1.0, -1.0]
    gap = 2 * 5.0 / (5.0 + 10 * np.log10(200 * 100.0**1.6) - 10 * np.log10(200 * 0.1**1.6))  # In x_0.
    near = np.array([-1.0, -1.0 + 0.4 * gap, -1.0 + 0.6 * gap, -1.0 + gap], np.float32)
    np.testing.assert_allclose(values.decode(near), [0.0, 0.0, 0.1, 0.1], rtol=1e-5)


def test_each_channel_has_values_of_its_own() -> None:
    values = PerChannel((Log1p(0.0, 150.0), Standardised(280.0, 10.0), Linear(-5.0, 5.0)))
    assert values.bounds is None and PerChannel((Log1p(0.0, 9.0), Linear(0.0, 1.0))).bounds == (-1.0, 1.0)
    clip = np.stack([np.full((2, 1, 4, 5), number, np.float32) for number in (7.0, 300.0, -2.5)], axis=-1)
    x_0 = values.encode(values.checked("clip", clip, (4, 5, 3)))
    np.testing.assert_allclose(x_0[0, 0, 0, 0], [2 * np.log(8) / np.log(151) - 1, 2.0, -0.5], atol=1e-6)
    np.testing.assert_allclose(values.decode(x_0), clip, rtol=1e-5)
    far = values.decode(np.full((1, 1, 1, 1, 3), 7.0, np.float32))[0, 0, 0, 0]  # Those with bounds are clamped.
    np.testing.assert_allclose(far, [150.0, 350.0, 5.0], rtol=1e-5)
    assert values_from_config(json.loads(json.dumps(values.config))) == values
    with pytest.raises(ValueError, match=r"`clip, channel 2`: expected values in \[-5, 5\].* maximum 6.0"):
        values.checked("clip", np.where(clip < 0, np.float32(6.0), clip), (4, 5, 3))
    with pytest.raises(ValueError, match="`values`: expected one for each of 2 channels. Received: 3"):
        values.checked("clip", clip[..., :2], (4, 5, 2))
    with pytest.raises(ValueError, match="`channels`: expected values with units"):
        PerChannel((Unbounded(),))


@pytest.mark.parametrize("kind", [Linear, Log1p, SquareRoot, Asinh])
def test_numbers_outside_are_refused_or_clamped_and_counted(kind) -> None:
    clip = np.linspace(0.0, 12.0, 40, dtype=np.float32).reshape(1, 2, *FRAME)
    with pytest.raises(ValueError, match=r"`past`: expected values in \[0, 10\], no NaN. Received: .* maximum 12.0"):
        kind(0.0, 10.0).checked("past", clip, FRAME)
    with pytest.warns(UserWarning, match=r"`past`: 7 of 40 numbers lie outside of \[0, 10\] and are clamped"):
        checked = kind(0.0, 10.0, outside="clamp").checked("past", clip, FRAME)
    assert (clip > 10).sum() == 7 and (checked == np.minimum(clip, 10.0)).all()
    assert kind(0.0, 10.0, outside="clamp").encode(clip).max() == pytest.approx(1.0)
    assert kind(0.0, 10.0, outside="clamp").config["outside"] == "clamp"
    with pytest.raises(ValueError, match="`outside`: expected one of .'clamp', 'refuse'.. Received: 'drop'"):
        kind(0.0, 10.0, outside="drop")
    with pytest.raises(ValueError, match="Received: minimum inf"):
        kind(0.0, 10.0, outside="clamp").checked("past", clip + np.inf, FRAME)


def test_missing_numbers_are_let_through_where_there_may_be_some() -> None:
    clip = np.where(np.arange(40) % 7 == 0, np.nan, np.arange(40) / 4.0).reshape(1, 2, *FRAME)
    checked = Linear(0.0, 10.0).checked("clip", clip, FRAME, missing=True)
    assert checked.dtype == np.float32 and (np.isnan(checked) == np.isnan(clip)).all()
    with pytest.raises(ValueError, match="no NaN"):
        Linear(0.0, 10.0).checked("clip", clip, FRAME)
    with pytest.raises(ValueError, match=r"expected values in \[0, 10\], no infinity. Received: .* maximum inf"):
        Linear(0.0, 10.0).checked("clip", np.where(clip > 9, np.inf, clip), FRAME, missing=True)
    assert np.isnan(Linear(0.0, 10.0).checked("clip", np.full_like(clip, np.nan), FRAME, missing=True)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Log1p(-1.0, 5.0), r"`low`: expected a number in \[0.0, 5.0\]. Received: -1.0"),
        (lambda: Log1p(0.0, 5.0, scale=0.0), "`scale`: expected a number"),
        (lambda: SquareRoot(-1.0, 5.0), "`low`: expected a number"),
        (lambda: Standardised(0.0, 0.0), "`std`: expected a number"),
        (lambda: DBZ(0.05), "`high`: expected a number in .0.1"),
        (lambda: DBZ(50.0, dry_gap=0.0), "`dry_gap`: expected a number"),
        (lambda: Quantile((0.0, 0.0, 1.0), (-1.0, 0.0, 1.0)), "`numbers`: expected 2 to 256 numbers, each larger"),
        (lambda: Quantile((0.0, 1.0), (-1.0, 0.5)), "`heights`: expected 2 from -1 to 1"),
        (lambda: Quantile((0.0, 1.0, 2.0), (-1.0, 1.0)), "`heights`: expected 3 from -1 to 1"),
    ],
)
def test_values_that_are_none_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
