from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import masks


def test_masks() -> None:
    assert masks.none(3).tolist() == [False] * 3
    assert masks.first(4, 3).tolist() == [True, True, True, False]
    assert masks.last(4, 1).tolist() == [False, False, False, True]
    assert masks.ends(5, 2, 1).tolist() == [True, True, False, False, True]
    assert masks.every(5, 2).tolist() == [True, False, True, False, True]
    assert masks.first(2, 0).tolist() == [False, False] and masks.ends(3, 0, 0).tolist() == [False] * 3


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: masks.none(0), "frames"),
        (lambda: masks.first(3, 4), "count"),
        (lambda: masks.first(3, -1), "count"),
        (lambda: masks.ends(3, 4, 0), "left"),
        (lambda: masks.ends(3, 2, 2), "right"),
        (lambda: masks.every(3, 0), "stride"),
        (lambda: masks.last(3, 4), "count"),
    ],
)
def test_bad_masks_are_named(make, argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}.*expected.*Received"):
        make()


def test_a_mask_says_its_task() -> None:
    assert masks.task_of(masks.none(4)) == "generate"
    assert masks.task_of(masks.first(4, 2)) == "predict"
    assert masks.task_of(np.array([masks.first(4, 2), masks.first(4, 3)])) == "predict"
    assert masks.task_of(np.array([masks.none(4), masks.first(4, 1)])) == "predict"
    assert masks.task_of(masks.ends(5, 2, 1)) == "interpolate"
    for other in (masks.last(4, 2), masks.every(5, 2), np.array([masks.first(4, 2), masks.ends(4, 1, 1)])):
        assert masks.task_of(other) == "infill"
    assert masks.task_of(np.array([False, True, False, True])) == "infill"
    assert masks.task_of(np.array([masks.ends(5, 2, 1), masks.ends(5, 1, 1)])) == "interpolate"
    assert masks.task_of(np.array([masks.ends(5, 1, 1), masks.every(5, 2)])) == "infill"  # One gap, and two.
