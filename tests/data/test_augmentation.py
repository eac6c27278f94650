"""Augmented clips: what they show, that their labels go with them, and that any of them can be had again."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("av")

from kvdiff.data import Augmentation, LatentCache, list_paths, video_batches, video_dataset_from_directory
from kvdiff.data.windows import ClipWindows
from tests.data.conftest import SMALL, first_values

FRAMES, SIZE = 24, 16
WORDS = dict(label_mode=None, num_frames=4, image_size=8, batch_size=2, num_workers=1)


def pattern() -> np.ndarray:
    """A video of which every pixel is another number: [frames, height, width, 1]."""
    rows, columns = np.indices((SIZE, SIZE))
    return (rows[None] * SIZE + columns)[..., None].astype(np.uint8) * np.ones((FRAMES, 1, 1, 1), np.uint8)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """A video in which each pixel says where it is."""
    folder = tmp_path_factory.mktemp("still")
    np.save(folder / "a.npy", pattern())
    return folder


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    """Two videos whose frames say when they are: one long, one short."""
    folder = tmp_path_factory.mktemp("clock")
    for name, frames in (("long", 30), ("short", 5)):
        values = np.arange(frames, dtype=np.uint8)[:, None, None, None]
        np.save(folder / f"{name}.npy", np.broadcast_to(values, (frames, 8, 8, 1)).copy())
    return folder


def drawn(folder, augment, epochs=20, **options):
    """Clips of many epochs, [clips, frames, height, width, channels]."""
    words = {**WORDS, "color_mode": "grayscale", "augment": augment, **options}
    batches = video_batches(list_paths([folder]), **words)
    return np.stack([batches.sample(epoch, i)[0] for epoch in range(epochs) for i in range(batches.num_samples)])


def test_each_clip_is_one_of_the_mirror_images(still):
    whole = pattern()[0, ..., 0]
    for flips, images in (
        (["left_right"], [whole, whole[:, ::-1]]),
        (["up_down"], [whole, whole[::-1]]),
        (["turns"], [np.rot90(whole, k) for k in range(4)]),
        (["turns", "left_right"], [np.rot90(image, k) for image in (whole, whole[:, ::-1]) for k in range(4)]),
    ):
        clips = drawn(still, Augmentation(flips=flips), epochs=60, image_size=SIZE)
        assert (clips == clips[:, :1]).all()  # The same for all frames of a clip.
        seen = {clip[0, ..., 0].tobytes() for clip in clips}
        assert seen == {image.tobytes() for image in images}


def test_a_crop_shows_a_part_without_rescaling_it(still):
    """Frames of 16 pixels are read as they are, for clips of 10."""
    clips = drawn(still, Augmentation(crop=1.6), image_size=10, epochs=80)
    whole, places = pattern()[0, ..., 0], set()
    for clip in clips:
        row, column = divmod(int(clip[0, 0, 0, 0]), SIZE)
        assert (clip[..., 0] == whole[row : row + 10, column : column + 10]).all()
        places.add((row, column))
    assert {row for row, _ in places} == {column for _, column in places} == set(range(7))


@pytest.mark.parametrize("sampling", ["random", "uniform", "all"])
def test_speeds_are_of_the_videos_that_are_long_enough(clock, sampling):
    clips = drawn(clock, Augmentation(speeds=(1, 3)), epochs=30, clip_sampling=sampling)[:, :, 0, 0, 0].astype(int)
    steps = np.diff(clips, axis=1)
    assert (steps == steps[:, :1]).all() and set(steps[:, 0].tolist()) == {1, 3}
    long = clips[clips[:, -1] > 4]
    assert {1, 3} <= set(np.diff(long, axis=1)[:, 0].tolist()) and (clips[:, -1] < 30).all()
    short = clips[:, -1] <= 4
    if sampling != "random":
        assert short.any()


def test_with_a_clock_speeds_may_be_any(clock):
    augment = Augmentation(speeds=(0.5, 1.0, 1.5))
    clips = drawn(clock / "long.npy", augment, epochs=60, target_fps=10.0, default_fps=30.0)[:, :, 0, 0, 0].astype(int)
    lengths = set((clips[:, -1] - clips[:, 0]).tolist())  # Of frames of 30 a second.
    assert lengths <= {4, 5, 9, 13, 14} and lengths & {4, 5} and 9 in lengths and lengths & {13, 14}


def test_all_windows_start_where_they_would_if_the_faster_clip_fits():
    times, windows = np.arange(20) / 10.0, ClipWindows(num_frames=4, sampling="all", window_step=1)
    augment, twice = Augmentation(speeds=(2,)), np.zeros(6)
    starts = [int(augment.frames(times, windows, (number, 0.0, 17), twice)[0]) for number in range(17)]
    assert starts == [min(number, 13) for number in range(17)]


def test_labels_go_with_the_flip(folder):
    swaps = {"left_right": [(0, 1)]}
    plain, augmented = (
        video_dataset_from_directory(folder, **SMALL, shuffle=False, augment=augment).batches
        for augment in (None, Augmentation(flips=["left_right"], swaps=swaps))
    )
    swapped = 0
    for epoch in range(3):
        for i in range(plain.num_samples):
            flipped = augmented.augment.numbers(0, epoch, i)[1] < 0.5
            assert augmented.sample(epoch, i)[1] == (
                1 - plain.sample(epoch, i)[1] if flipped else plain.sample(epoch, i)[1]
            )
            swapped += flipped
    assert 5 < swapped < 25


def test_a_data_set_begins_at_any_step_and_tells_other_data_apart(folder):
    augment = Augmentation(flips=["left_right"], crop=1.5, speeds=(1, 2))
    batches = video_dataset_from_directory(folder, **SMALL, seed=5, augment=augment).batches
    every = [clips.numpy() for clips, _ in batches.dataset().take(6)]
    assert every[0].shape == (4, 4, 8, 8, 3)
    for clips, expected in zip(batches.dataset(3).take(3), every[3:], strict=True):
        np.testing.assert_array_equal(clips[0], expected)
    again = video_dataset_from_directory(folder, **SMALL, seed=5, augment=augment).batches
    np.testing.assert_array_equal(again.sample(1, 2)[0], batches.sample(1, 2)[0])  # Whoever reads it, in any order.
    plain = video_dataset_from_directory(folder, **SMALL, seed=5).batches
    assert "augment" not in plain.config and json.loads(json.dumps(batches.config)) != plain.config
    assert again.config == batches.config


def test_validation_clips_are_as_they_are(folder):
    words = dict(SMALL, validation_split=0.4, seed=1, shuffle=False, clip_sampling="uniform")
    train, held_out = video_dataset_from_directory(folder, **words, subset="both", augment=Augmentation(speeds=(3,)))
    assert train.batches.augment is not None and held_out.batches.augment is None
    plain = video_dataset_from_directory(folder, **words, subset="validation")
    assert first_values(held_out) == first_values(plain)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (dict(flips=["sideways"]), "`flips`: expected one of"),
        (dict(flips="left_right"), "`flips`: expected"),
        (dict(crop=0.5), "`crop`: expected a number in .* Received: 0.5"),
        (dict(speeds=()), "`speeds`: expected at least one"),
        (dict(speeds=(0,)), "`speeds`: expected a number in .* Received: 0"),
        (dict(swaps={"left_right": [(1, 2)]}), "`swaps`: expected names of `flips`"),
        (dict(flips=["left_right", "turns"], swaps={"left_right": [(1, 2)]}), "`swaps`: .* no 'turns' among them"),
        (dict(flips=["up_down"], swaps={"up_down": [(1, 1)]}), "`swaps`: expected pairs of labels, each label once"),
        (dict(flips=["up_down"], swaps={"up_down": [(1, 2, 3)]}), "`swaps`: expected pairs of labels"),
    ],
)
def test_arguments_are_checked(words, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Augmentation(**words)


def test_what_clips_cannot_have_is_refused_by_name(still):
    listing = list_paths([still])
    for words, augment, message in (
        (dict(image_size=(8, 12)), Augmentation(flips=["turns"]), "`augment`: expected square clips for 'turns'"),
        ({}, Augmentation(speeds=(1.5,)), "`augment`: expected whole `speeds` without `target_fps`"),
        ({}, Augmentation(flips=["up_down"], swaps={"up_down": [(0, 1)]}), "`augment`: expected labels for `swaps`"),
        (dict(latents=object.__new__(LatentCache)), Augmentation(), "`augment`: expected none with `latents`"),
    ):
        with pytest.raises(ValueError, match=message):
            video_batches(listing, **{**WORDS, **words}, augment=augment)
    with pytest.raises(TypeError, match="`augment`: expected"):
        video_batches(listing, **WORDS, augment={"flips": ["up_down"]})
