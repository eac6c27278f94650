"""An epoch with as many clips of a video as its length says, the same for every worker and whoever goes on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from kvdiff.data import list_directory, list_paths, video_batches
from tests.data.conftest import numbered_clip

OPTIONS = dict(num_frames=4, image_size=8, batch_size=5, clips_per_video="by length", seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A long video and two short ones of another class, whose grey says which frame of which video it is."""
    root = tmp_path_factory.mktemp("lengths")
    for name, first, frames in (("a/long", 0, 120), ("b/short", 150, 8), ("b/other", 200, 13), ("b/tiny", 240, 2)):
        (root / name).parent.mkdir(exist_ok=True)
        np.save(root / f"{name}.npy", numbered_clip(first, frames, size=8))
    return root


def firsts(batches, epoch: int = 0) -> list[int]:
    """The grey of the first pixel of every clip of an epoch."""
    return [int(batches.sample(epoch, place)[0][0, 0, 0, 0]) for place in range(batches.num_samples)]


def test_a_long_file_has_as_many_clips_as_its_length_says(folder):
    said: list[str] = []
    batches = video_batches(list_directory(folder), announce=said.append, **OPTIONS)
    assert batches.num_samples == 30 + 2 + 3
    assert said == [f"Note: {folder / 'b' / 'tiny.npy'} has 2 frames, fewer than 4; left out."]
    first, second = sorted(firsts(batches)), sorted(firsts(batches, 1))
    assert first != second
    for epoch in (first, second):
        assert all(int(3.9 * part) <= value <= 3.9 * (part + 1) for part, value in enumerate(epoch[:30]))
        assert [sum(low <= value < low + 20 for value in epoch) for low in (150, 200)] == [2, 3]


@pytest.mark.parametrize(("balance", "counts"), [("videos", (12, 12, 12)), ("classes", (18, 7, 10))])
def test_an_epoch_is_balanced_by_choice(folder, balance, counts):
    batches = video_batches(list_directory(folder), balance=balance, **OPTIONS)
    found = firsts(batches)
    assert tuple(sum(low <= v < high for v in found) for low, high in ((0, 150), (150, 200), (200, 240))) == counts
    assert batches.config["balance"] == balance
    with pytest.raises(ValueError, match='`balance`: expected it with `clip_sampling` "random" or "uniform"'):
        video_batches(list_directory(folder), balance=balance, **{**OPTIONS, "clip_sampling": "all"})


def test_classes_are_balanced_where_there_are_some(folder):
    with pytest.raises(ValueError, match="`balance`: expected a data set with labels"):
        video_batches(list_paths([folder]), balance="classes", label_mode=None, **OPTIONS)


def test_every_worker_and_whoever_goes_on_has_the_same_batches(folder):
    def dataset(start: int, num_workers: int):
        batches = video_batches(list_directory(folder), balance="videos", num_workers=num_workers, **OPTIONS)
        assert batches.steps_per_epoch == 7
        return [clips.numpy() for clips, _ in itertools.islice(batches.dataset(start), 16 - start)]

    whole = dataset(0, 1)
    for start, num_workers in ((0, 3), (5, 1), (9, 2)):
        for expected, found in zip(whole[start:], dataset(start, num_workers), strict=True):
            np.testing.assert_array_equal(expected, found)
