from __future__ import annotations

import math

import numpy as np
import pytest

from kvdiff.diffusion import KnownFrames, frames

UNIFORM = np.random.default_rng(0).uniform(size=(20000, 8 + 2)).astype(np.float32)


def test_masks() -> None:
    assert frames.none(3).tolist() == [False] * 3
    assert frames.first(4, 3).tolist() == [True, True, True, False]
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
        (lambda: KnownFrames(none=-0.1), "none"),
        (lambda: KnownFrames(0, 0, 0, 0), "KnownFrames"),
    ],
)
def test_bad_masks_are_named(make, argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument}.*expected.*Received"):
        make()


def kind_of(known: np.ndarray) -> str:
    index, k = np.arange(len(known)), known.sum()
    if k == 0:
        return "none"
    if (known == (index < k)).all():
        return "first"
    left = -(-k // 2)
    return "ends" if (known == ((index < left) | (index >= len(known) - (k - left)))).all() else "random"


def test_each_kind_of_mask_is_of_its_kind_with_a_uniform_count() -> None:
    for kind in ("first", "ends", "random"):
        weights = {"none": 0.0, "first": 0.0, "ends": 0.0, "random": 0.0, kind: 1.0}
        known = KnownFrames(**weights).draw(np, UNIFORM, 8)
        assert known.dtype == bool and known.shape == (len(UNIFORM), 8)
        assert not known.all(axis=1).any()
        assert (known.sum(axis=1) > 0).all()
        counts = np.bincount(known.sum(axis=1), minlength=8)[1:]
        assert np.abs(counts / len(known) - 1 / 7).max() < 0.01
        if kind == "random":
            assert np.ptp(known.mean(axis=0)) < 0.03
            assert len({tuple(mask) for mask in known[known.sum(axis=1) == 4]}) == 70  # Every subset of 4 of 8.
            continue
        expected = {"first"} if kind == "first" else {"first", "ends"}  # One known frame of "ends" is the first.
        assert {kind_of(mask) for mask in known} == expected
        if kind == "ends":
            assert (known[known.sum(axis=1) > 1][:, -1]).all()
    assert not KnownFrames(1, 0, 0, 0).draw(np, UNIFORM, 8).any()


def test_weights_are_the_shares_of_the_kinds() -> None:
    known = KnownFrames(none=1, first=2, ends=0, random=1).draw(np, UNIFORM, 8)
    share_none = (known.sum(axis=1) == 0).mean()
    share_first = np.mean([kind_of(mask) == "first" for mask in known])
    prefix = np.mean([1 / math.comb(8, k) for k in range(1, 8)])  # A random subset is sometimes the first k.
    assert abs(share_none - 0.25) < 0.01
    assert abs(share_first - (0.5 + 0.25 * prefix)) < 0.01


def test_a_mask_needs_as_many_uniforms_as_it_says() -> None:
    tasks = KnownFrames()
    assert set(tasks.config.values()) == {0.25}
    assert tasks.num_uniforms(5) == 7
    assert tasks.draw(np, UNIFORM[:, : tasks.num_uniforms(5)], 5).shape == (len(UNIFORM), 5)
    assert KnownFrames(**tasks.config) == tasks
