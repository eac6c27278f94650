"""Values: users' numbers are checked, seen by the network near unit size, and come back."""

from __future__ import annotations

import re
import types
import warnings

import numpy as np
import pytest

from kvdiff.diffusion.transforms.values import PIXELS, VALUES, Linear, Unbounded, values_from_config

FRAME = (4, 5, 1)
CLIP = np.zeros((2, 3, *FRAME), np.float32)


def one_pixel(value: float) -> np.ndarray:
    clip = CLIP.astype(np.float64)
    clip[1, 2, 3, 4, 0] = value
    return clip


def test_clip_is_cast_and_pixels_are_scaled() -> None:
    pixels = np.zeros((1, 1, *FRAME), np.uint8)
    pixels[..., 0, 0] = 255
    clip = PIXELS.checked("clip", pixels, FRAME)
    assert clip.dtype == np.float32 and clip.min() == -1.0 and clip.max() == 1.0
    assert PIXELS.checked("clip", np.ones((1, 1, *FRAME), np.float64), FRAME).dtype == np.float32
    assert np.isclose(PIXELS.checked("clip", np.full_like(pixels, 51), FRAME).max(), -0.6)


@pytest.mark.parametrize(
    ("clip", "error", "message"),
    [
        (CLIP[0], ValueError, "`clip`: expected shape [batch, frames, 4, 5, 1]. Received: [3, 4, 5, 1]"),
        (
            np.zeros((1, 2, 5, 4, 1)),
            ValueError,
            "`clip`: expected shape [batch, frames, 4, 5, 1]. Received: [1, 2, 5, 4, 1]",
        ),
        (CLIP[:0], ValueError, "Received: [0, 3, 4, 5, 1]"),
        (CLIP[:, :0], ValueError, "Received: [2, 0, 4, 5, 1]"),
        (CLIP.astype(np.int32), TypeError, "`clip`: expected floats in [-1, 1] or uint8 pixels. Received: dtype int32"),
        (CLIP + np.nan, ValueError, "`clip`: expected values in [-1, 1], no NaN. Received: minimum nan, maximum nan"),
        (one_pixel(1.01), ValueError, "Received: minimum 0.0, maximum 1.01"),
        (one_pixel(-1.01), ValueError, "Received: minimum -1.01, maximum 0.0"),
    ],
)
def test_bad_clip(clip, error, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        PIXELS.checked("clip", clip, FRAME)


@pytest.mark.parametrize("values", [PIXELS, Linear(0.0, 65535.0), Linear(-30.0, 75.5), Unbounded()])
def test_numbers_come_back(values) -> None:
    low, high = (-3.0, 3.0) if values == Unbounded() else values.limits
    clip = np.linspace(low, high, CLIP.size, dtype=np.float32).reshape(CLIP.shape)
    x_0 = values.encode(values.checked("clip", clip, FRAME))
    assert x_0.dtype == np.float32
    if values.bounds is not None:
        assert (x_0.min(), x_0.max()) == pytest.approx(values.bounds)
    np.testing.assert_allclose(values.decode(x_0), clip, rtol=1e-5, atol=1e-5 * (high - low))
    assert values_from_config(values.config) == values


@pytest.mark.parametrize(("values", "slack"), [(PIXELS, 1e-4), (Linear(-1.0, 1.0), 1e-4), (Linear(0.0, 40.0), 2e-3)])
def test_rounding_may_overshoot_the_range_by_a_20000th(values, slack: float) -> None:
    low, high = values.limits
    for sign, end in ((-1, low), (1, high)):
        clip = np.full((1, 1, *FRAME), (low + high) / 2)
        clip[0, 0, 1, 2] = end + sign * 0.8 * slack
        assert values.checked("clip", clip, FRAME)[0, 0, 1, 2] == np.float32(end + sign * 0.8 * slack)
        clip[0, 0, 1, 2] = end + sign * 1.25 * slack
        with pytest.raises(ValueError, match="`clip`: expected values in"):
            values.checked("clip", clip, FRAME)


@pytest.mark.parametrize("values", [PIXELS, Unbounded(), Linear(-1.0, 1.0)])
def test_what_the_network_sees_is_float32_whatever_comes_in(values) -> None:
    for kind in (np.float16, np.float32, np.float64):
        x_0 = values.encode(np.array([0.5, -0.25], kind))
        assert x_0.dtype == np.float32 and x_0.tolist() == [0.5, -0.25]
    assert values.decode(np.array([0.5, -0.25], np.float32)).tolist() == [0.5, -0.25]


def test_uint8_alone_are_pixels() -> None:
    assert PIXELS.encode(np.array([0, 51, 255], np.uint8)).tolist() == [-1.0, pytest.approx(-0.6), 1.0]
    assert Unbounded().encode(np.array([0, 255], np.uint8)).tolist() == [-1.0, 1.0]
    assert PIXELS.encode(np.array([0, 255], np.uint16)).tolist() == [0.0, 255.0]
    assert Linear(0.0, 510.0).encode(np.array([0, 255], np.uint8)).tolist() == [-1.0, 0.0]


@pytest.mark.parametrize("values", [PIXELS, Linear(0.0, 510.0)])
def test_a_runtimes_arrays_are_cast_by_its_own_means(values) -> None:
    asked = []
    xp = types.SimpleNamespace(cast=lambda array, dtype: asked.append(dtype) or array.astype(dtype))
    pixels = np.array([0, 51, 255], np.uint8)
    assert (values.encode(pixels, xp) == values.encode(pixels)).all() and asked == ["float32"]


def test_a_configuration_stays_as_it_is_when_it_is_read() -> None:
    config = Linear(0.0, 2.0).config
    assert config == {"values": "linear", "low": 0.0, "high": 2.0}
    assert values_from_config(config) == values_from_config(config) == Linear(0.0, 2.0)
    assert values_from_config(PIXELS) is PIXELS


def test_counts_of_sixteen_bits_are_exact() -> None:
    values, counts = Linear(0.0, 65535.0), np.arange(65536, dtype=np.uint16).reshape(1, 1, 256, 256, 1)
    numbers = values.checked("clip", counts, (256, 256, 1))
    assert (numbers == counts).all()
    assert (np.round(values.decode(values.encode(numbers))) == counts).all()


@pytest.mark.parametrize(
    ("values", "clip", "error", "message"),
    [
        (Linear(0, 100), CLIP + 101, ValueError, "`clip`: expected values in [0, 100], no NaN. Received: minimum 101"),
        (Linear(0, 100), CLIP - 1, ValueError, "Received: minimum -1.0, maximum -1.0"),
        (Linear(0, 100), CLIP + np.nan, ValueError, "no NaN"),
        (Linear(0, 100), CLIP.astype(complex), TypeError, "`clip`: expected real numbers. Received: dtype complex128"),
        (Linear(0, 100), CLIP > 0, TypeError, "`clip`: expected real numbers. Received: dtype bool"),
        (Linear(0, 100), CLIP.astype(str), TypeError, "`clip`: expected real numbers. Received: dtype <U"),
        (Unbounded(), CLIP + np.inf, ValueError, "no NaN. Received: minimum inf"),
        (Unbounded(), one_pixel(-np.inf), ValueError, "no NaN. Received: minimum -inf"),
    ],
)
def test_numbers_out_of_range_are_refused(values, clip, error, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        values.checked("clip", clip, FRAME)


def test_a_range_rises() -> None:
    with pytest.raises(ValueError, match="`high`: expected a number in .5.0, 1e.30.. Received: 5"):
        Linear(5.0, 5)
    with pytest.raises(ValueError, match="`low`: expected a number in .* Received: -inf"):
        Linear(-np.inf, 5)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match=re.escape(f"`values`: expected one of {sorted(VALUES)}. Received: 'decibel'")):
        values_from_config({"values": "decibel"})


def test_floats_from_zero_to_one_are_warned_of() -> None:
    clip = np.random.default_rng(0).random(CLIP.shape)
    with pytest.warns(UserWarning, match=r"`past`: its floats lie in \[0, 1\].*pass 2 \* clip - 1 or uint8"):
        PIXELS.checked("past", clip, FRAME)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fine in (2 * clip - 1, (255 * clip).astype(np.uint8), np.zeros_like(clip)):
            PIXELS.checked("past", fine, FRAME)
        Unbounded().checked("past", clip, FRAME)
