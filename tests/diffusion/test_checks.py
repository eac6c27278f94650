from __future__ import annotations

import re

import numpy as np
import pytest

from kvdiff.diffusion import checks


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


def test_clip_shape() -> None:
    assert checks.check_clip_shape("s", np.zeros((2, 3, 4, 1)).shape) == (2, 3, 4, 1)
    for bad in ((2, 3, 4), None, 5, "abcd"):
        message = f"`s`: expected shape (frames, height, width, channels). Received: {bad!r}"
        with pytest.raises(ValueError, match=re.escape(message)):
            checks.check_clip_shape("s", bad)
    with pytest.raises(ValueError, match="`s`: expected an integer >= 1. Received: 0"):
        checks.check_clip_shape("s", (2, 3, 4, 0))


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
            "`known`: expected at least one frame to generate in every clip. Received: all",
        ),
    ],
)
def test_bad_known(known, error, message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        checks.check_known("known", known, 2, 3)
