"""The order of the data: a pure function, the same in NumPy and in a graph, every clip once an epoch."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("tensorflow")

from kvdiff.training.batches import ClipBatches, pass_order


def numbered(count=10, **options):
    """Clips and labels that say which clip they are."""
    index = np.arange(count)
    clips = np.broadcast_to(index[:, None, None, None, None], (count, 2, 4, 4, 1)).astype(np.float32)
    return ClipBatches((clips, {"class_id": index}), **{"batch_size": 3, **options})


def labels(batches, start, count):
    taken = itertools.islice(iter(batches.dataset(start)), count)
    pairs = [(clips.numpy()[:, 0, 0, 0, 0].astype(int), told["class_id"].numpy()) for clips, told in taken]
    assert all(np.array_equal(clip, label) for clip, label in pairs)
    return [label.tolist() for _, label in pairs]


def test_every_step_has_its_batch_wherever_the_data_begins():
    batches = numbered(seed=5)
    order = [row.tolist() for epoch in range(4) for row in pass_order(np, 5, epoch, 10, 3)]
    assert batches.steps_per_epoch == 3
    for start in (0, 2, 3, 7):
        assert labels(batches, start, 5) == order[start : start + 5]


def test_epochs_may_be_of_any_length():
    batches = numbered(seed=5, steps_per_epoch=2)
    assert batches.steps_per_epoch == 2
    assert labels(batches, 3, 5) == labels(numbered(seed=5), 3, 5)
    assert batches.config != numbered(seed=5).config


@pytest.mark.parametrize("epoch", [0, 1, 77])
def test_no_clip_is_seen_twice_in_an_epoch(epoch):
    seen = pass_order(np, 0, epoch, 1000, 10).ravel()
    assert sorted(seen) == list(range(1000))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [pass_order(np, seed, epoch, 100, 10).ravel() for seed in (0, 1) for epoch in (0, 1)]
    orders.append(np.arange(100))
    for a, b in itertools.combinations(orders, 2):
        assert (a == b).sum() < 10  # One in a hundred agrees by chance.


def test_a_clip_left_out_of_one_epoch_comes_in_others():
    seen = np.concatenate([pass_order(np, 0, epoch, 10, 3).ravel() for epoch in range(20)])
    assert set(np.bincount(seen, minlength=10)) <= set(range(14, 21)) and len(seen) == 180


def test_the_configuration_tells_every_change():
    same, *others = numbered(), numbered(seed=1), numbered(batch_size=4), numbered(11)
    changed = numbered()
    changed.clips[1]["class_id"] = changed.clips[1]["class_id"] + 1
    assert same.config == numbered().config
    assert all(other.config != same.config for other in [*others, changed])


def test_what_cannot_be_batched_is_refused():
    with pytest.raises(ValueError, match="`batch_size`: expected an integer from 1 to 10. Received: 11"):
        numbered(batch_size=11)
    with pytest.raises(ValueError, match="`clips`: expected arrays with one length, not 0. Received: shapes"):
        ClipBatches((np.zeros((3, 1, 4, 4, 1)), np.zeros(4)), 1)
