from __future__ import annotations

import re

import numpy as np
import pytest

from kvdiff.diffusion import checks

FRAME = (4, 5, 1)
CLIP = np.zeros((2, 3, *FRAME), np.float32)


def one_pixel(value: float) -> np.ndarray:
    clip = CLIP.astype(np.float64)
    clip[1, 2, 3, 4, 0] = value
    return clip


def test_count() -> None:
    assert checks.check_count("n", np.int64(3)) == 3 and type(checks.check_count("n", np.int64(3))) is int
    assert checks.check_count("n", 5, at_least=5, at_most=5) == 5


@pytest.mark.parametrize(
    ("value", "bounds", "error", "message"),
    [
        (0, {}, ValueError, "`n`: expected an integer >= 1. Received: 0"),
        (-1, {"at_least": 0}, ValueError, "`n`: expected an integer >= 0. Received: -1"),
        (6, {"at_most": 5}, ValueError, "`n`: expected an integer from 1 to 5. Received: 6"),
        (1.0, {}, TypeError, "`n`: expected an integer >= 1. Received: 1.0 (float)"),
        (True, {}, TypeError, "`n`: expected an integer >= 1. Received: True (bool)"),
        ("3", {}, TypeError, "`n`: expected an integer >= 1. Received: '3' (str)"),
        (None, {}, TypeError, "`n`: expected an integer >= 1. Received: None (NoneType)"),
    ],
)
def test_bad_count(value, bounds, error, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        checks.check_count("n", value, **bounds)


def test_real() -> None:
    assert checks.check_real("r", 2) == 2.0 and type(checks.check_real("r", np.float32(2))) is float
    assert checks.check_real("r", 1.0, above=0.0, below=1.0, closed=True) == 1.0
    assert checks.check_real("r", 0.0, above=0.0, below=1.0, closed=True) == 0.0


@pytest.mark.parametrize(
    ("value", "bounds", "error", "message"),
    [
        (0.0, {"above": 0.0}, ValueError, "`r`: expected a number in (0.0, inf). Received: 0.0"),
        (1.0, {"below": 1.0}, ValueError, "`r`: expected a number in (-inf, 1.0). Received: 1.0"),
        (1.1, {"above": 0, "below": 1, "closed": True}, ValueError, "`r`: expected a number in [0, 1]. Received: 1.1"),
        (
            -0.1,
            {"above": 0, "below": 1, "closed": True},
            ValueError,
            "`r`: expected a number in [0, 1]. Received: -0.1",
        ),
        (np.inf, {"closed": True}, ValueError, "`r`: expected a number in [-inf, inf]. Received: inf"),
        (np.nan, {}, ValueError, "`r`: expected a number in (-inf, inf). Received: nan"),
        (False, {}, TypeError, "`r`: expected a number in (-inf, inf). Received: False (bool)"),
        ("1", {}, TypeError, "`r`: expected a number in (-inf, inf). Received: '1' (str)"),
    ],
)
def test_bad_real(value, bounds, error, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        checks.check_real("r", value, **bounds)


def test_choice() -> None:
    assert checks.check_choice("c", "b", {"b": 1, "a": 2}) == "b"
    with pytest.raises(ValueError, match=re.escape("`c`: expected one of ['a', 'b']. Received: 'd'")):
        checks.check_choice("c", "d", ("b", "a"))


def test_clip_is_cast_and_pixels_are_scaled() -> None:
    pixels = np.zeros((1, 1, *FRAME), np.uint8)
    pixels[..., 0, 0] = 255
    clip = checks.check_clip("clip", pixels, FRAME)
    assert clip.dtype == np.float32 and clip.min() == -1.0 and clip.max() == 1.0
    assert checks.check_clip("clip", np.ones((1, 1, *FRAME), np.float64), FRAME).dtype == np.float32
    assert np.isclose(checks.check_clip("clip", np.full_like(pixels, 51), FRAME).max(), -0.6)


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
        checks.check_clip("clip", clip, FRAME)


def test_clip_shape() -> None:
    assert checks.check_clip_shape("s", np.zeros((2, 3, 4, 1)).shape) == (2, 3, 4, 1)
    for bad in ((2, 3, 4), (2, 3, 4, 0)):
        with pytest.raises(
            ValueError, match=re.escape(f"`s`: expected shape (frames, height, width, channels). Received: {bad}")
        ):
            checks.check_clip_shape("s", bad)


def test_known_is_spread_over_the_batch() -> None:
    known = checks.check_known("known", [True, False, False], 2, 3)
    assert known.tolist() == [[True, False, False]] * 2
    each = [[True, False, False], [False, True, True]]
    assert checks.check_known("known", each, 2, 3).tolist() == each


@pytest.mark.parametrize(
    ("known", "error", "message"),
    [
        ([1, 0, 0], TypeError, "`known`: expected booleans, one per frame. Received: dtype int64"),
        ([True, False], ValueError, "`known`: expected shape [3] or [2, 3]. Received: [2]"),
        ([[True, False, False]], ValueError, "`known`: expected shape [3] or [2, 3]. Received: [1, 3]"),
        (
            [[True] * 3, [False] * 3],
            ValueError,
            "`known`: expected at least one frame to make in every clip. Received: all",
        ),
    ],
)
def test_bad_known(known, error, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        checks.check_known("known", known, 2, 3)
