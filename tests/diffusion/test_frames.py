from __future__ import annotations

import pytest

from kvdiff.diffusion import frames


def test_masks() -> None:
    assert frames.none(3).tolist() == [False] * 3
    assert frames.first(4, 3).tolist() == [True, True, True, False]
    assert frames.last(4, 1).tolist() == [False, False, False, True]
    assert frames.ends(5, 2, 1).tolist() == [True, True, False, False, True]
    assert frames.every(5, 2).tolist() == [True, False, True, False, True]
    assert frames.first(2, 0).tolist() == [False, False] and frames.ends(3, 0, 0).tolist() == [False] * 3


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: frames.none(0), "frames"),
        (lambda: frames.first(3, 4), "count"),
        (lambda: frames.first(3, -1), "count"),
        (lambda: frames.ends(3, 4, 0), "left"),
        (lambda: frames.ends(3, 2, 2), "right"),
        (lambda: frames.every(3, 0), "stride"),
        (lambda: frames.last(3, 4), "count"),
    ],
)
def test_bad_masks_are_named(make, argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}.*expected.*Received"):
        make()
