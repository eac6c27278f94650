from __future__ import annotations

import json
import math

import numpy as np
import pytest

from kvdiff.diffusion.tasks.known_frames import KnownFrames, Mixture, mask_from_config
from kvdiff.diffusion.tasks.mask_kinds import Block, Ends, Every, First, Gap, Last, Nothing, Subset

UNIFORM = np.random.default_rng(0).uniform(size=(20000, 8 + 2)).astype(np.float32)
INDEX = np.arange(8)


def drawn(mask, frames: int = 8) -> np.ndarray:
    return mask.draw(np, UNIFORM[:, : mask.num_uniforms(frames)], frames)


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


def runs(known: np.ndarray) -> int:
    """How many runs of known frames there are."""
    return int((np.diff(np.concatenate([[0], known.astype(int)])) == 1).sum())


def test_last_is_first_from_the_other_side() -> None:
    known = drawn(Last())
    assert all((mask == (INDEX >= 8 - mask.sum())).all() for mask in known[:200])
    assert np.abs(np.bincount(known.sum(axis=1), minlength=8)[1:] / len(known) - 1 / 7).max() < 0.01


@pytest.mark.parametrize("mask", [First(2, 4), Last(2, 4), Ends(2, 4), Subset(2, 4), Block(2, 4)])
def test_counts_keep_their_bounds(mask) -> None:
    counts = np.bincount(drawn(mask).sum(axis=1), minlength=8)
    assert np.abs(counts[2:5] / len(UNIFORM) - 1 / 3).max() < 0.015 and counts.sum() == counts[2:5].sum()


def test_a_block_is_one_run_anywhere_and_a_gap_its_opposite() -> None:
    block, gap = drawn(Block(2, 2)), drawn(Gap(2, 2))
    assert (block.sum(axis=1) == 2).all() and {runs(mask) for mask in block} == {1}
    starts = np.bincount(block.argmax(axis=1), minlength=7)
    assert len(starts) == 7 and np.abs(starts / len(block) - 1 / 7).max() < 0.01
    assert (gap == ~block).all()


def test_every_has_one_of_its_strides() -> None:
    known = drawn(Every((2, 4)))
    twos, fours = ((known == (INDEX % s == 0)).all(axis=1) for s in (2, 4))
    assert (twos ^ fours).all() and abs(twos.mean() - 0.5) < 0.02


def test_nested_mixtures_draw_independently() -> None:
    mixture = Mixture({Mixture({First(1, 1): 1, First(2, 2): 1}): 1, Mixture({Last(1, 1): 1, Last(2, 2): 3}): 1})
    assert mixture.num_uniforms(8) == 11
    uniform = np.random.default_rng(1).uniform(size=(20000, 11)).astype(np.float32)
    known = mixture.draw(np, uniform, 8)
    for side, count, share in ((0, 1, 0.25), (0, 2, 0.25), (7, 1, 0.125), (7, 2, 0.375)):
        assert abs((known[:, side] & (known.sum(axis=1) == count)).mean() - share) < 0.02


EVERY_KIND = [
    Nothing(),
    First(),
    Last(),
    Ends(),
    Subset(),
    Block(),
    Gap(),
    Every(),
    KnownFrames(1, 1, 1, 1, 1, 1, 1, 1),
]


@pytest.mark.parametrize("mask", EVERY_KIND, ids=lambda mask: mask.name)
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_there_is_always_a_frame_to_make(mask, frames: int) -> None:
    known = drawn(mask, frames)
    assert known.dtype == bool and known.shape == (len(UNIFORM), frames) and not known.all(axis=1).any()


@pytest.mark.parametrize("mask", [*EVERY_KIND, Mixture({First(2): 1, Mixture({Every((3,)): 2, Gap(): 1}): 4})], ids=str)
def test_a_mask_is_its_config(mask) -> None:
    again = mask_from_config(json.loads(json.dumps(mask.config)))
    assert again == mask and hash(again) == hash(mask)
    assert (drawn(again, 5) == drawn(mask, 5)).all()


def test_masks_are_told_apart() -> None:
    assert First() != Last() and First(2) != First() and Mixture({First(): 1}) != Mixture({Last(): 1})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KnownFrames(none=-0.1), "`none`: expected a number in .* Received: -0.1"),
        (lambda: KnownFrames(0, 0, 0, 0), "KnownFrames: expected at least one weight above 0. Received"),
        (lambda: First(0), "`at_least`: expected an integer from 1 to 2147483648. Received: 0"),
        (lambda: Last(3, 2), "`at_most`: expected an integer from 3 to 2147483648. Received: 2"),
        (lambda: Every((1,)), "`strides`: expected an integer from 2 to 2147483648. Received: 1"),
        (lambda: Every(()), "`strides`: expected at least one. Received: none"),
        (lambda: Mixture({First(): 0.0}), "Mixture: expected at least one weight above 0. Received: .*first"),
        (lambda: mask_from_config({"mask": "odd"}), "`mask`: expected one of .*first.* Received: 'odd'"),
    ],
)
def test_clear_errors(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match="`weights`: expected masks, e.g. First.* Received: 'first'"):
        Mixture({"first": 1.0})
