"""The order of clips and the split are functions of the seed alone."""

from __future__ import annotations

import numpy as np

from kvdiff.data.order import balanced, epoch_order, held_out, window_numbers


def test_an_epoch_holds_every_sample_once_in_another_order():
    first, second = epoch_order(3, 0, 500), epoch_order(3, 1, 500)
    assert sorted(first) == sorted(second) == list(range(500))
    assert (first != second).mean() > 0.9
    np.testing.assert_array_equal(first, epoch_order(3, 0, 500))
    assert (first != epoch_order(4, 0, 500)).mean() > 0.9


def test_window_numbers_are_uniform_and_independent_of_the_order():
    numbers = window_numbers(0, 0, 4000)
    assert numbers.min() > 0 and numbers.max() < 1
    assert np.abs(np.histogram(numbers, 10, (0, 1))[0] - 400).max() < 5 * 20
    assert abs(np.corrcoef(numbers, epoch_order(0, 0, 4000))[0, 1]) < 5 / np.sqrt(4000)


def test_the_split_has_the_size_asked_for_and_keeps_equal_names_together():
    names = [f"class/{index // 2}.npy" for index in range(200)]
    out = held_out(names, 0.2, seed=1)
    assert out.sum() == 40
    assert (out[::2] == out[1::2]).all()
    assert (out != held_out(names, 0.2, seed=2)).any()


def test_the_split_depends_neither_on_order_nor_much_on_other_files():
    names = [f"{index}.mp4" for index in range(300)]
    out = dict(zip(names, held_out(names, 0.1, 0), strict=True))
    backwards = dict(zip(names[::-1], held_out(names[::-1], 0.1, 0), strict=True))
    assert out == backwards
    more = [*names, *(f"new{index}.mp4" for index in range(30))]
    after = dict(zip(more, held_out(more, 0.1, 0), strict=True))
    assert sum(out[name] != after[name] for name in names) <= 3


def test_balanced_clips_are_shared_out_evenly():
    counts = np.array([100, 10, 0, 1, 9])
    assert balanced(counts, np.arange(5)).tolist() == [30, 30, 0, 30, 30]
    assert balanced(counts, np.array([0, 0, 1, 1, 1])).tolist() == [55, 5, 0, 6, 54]
    assert balanced(np.array([1000, 1, 2]), np.array([0, 0, 1])).tolist() == [501, 1, 502]
