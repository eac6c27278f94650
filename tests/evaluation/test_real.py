"""Which real clips a protocol takes, from arrays, from folders of videos, and made on the fly."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from kvdiff import media
from kvdiff.evaluation import real as module
from kvdiff.evaluation.protocols import ClipRule, Protocol, Task, protocol_named
from kvdiff.evaluation.real import real_clips


def protocol(source: str, shape=(4, 8, 8, 1), num_clips=3, **rule) -> Protocol:
    return Protocol(
        "test", 1, ClipRule(source, "test clips", **rule), shape, num_clips, (Task("generation"),), "nobody"
    )


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_an_array_is_taken_in_order(tmp_path):
    clips = pixels(7, 6, 8, 8, 1)
    np.save(tmp_path / "clips.npy", clips)
    taken = real_clips(protocol("array"), tmp_path / "clips.npy")
    np.testing.assert_array_equal(taken.truth, clips[:3, :4])
    np.testing.assert_array_equal(taken.second, clips[3:6, :4])
    assert taken.training is None
    assert taken.config["sha256"] == hashlib.sha256(clips[:3, :4].tobytes()).hexdigest()
    assert taken.config["for_the_floor"] == 3 and "clips.npy" in taken.source


def test_too_few_clips_for_a_second_set_leave_none(tmp_path):
    np.save(tmp_path / "clips.npy", pixels(5, 4, 8, 8, 1))
    assert real_clips(protocol("array"), tmp_path / "clips.npy").second is None


def test_moving_mnist_comes_with_its_frames_first(tmp_path):
    sequences = pixels(20, 7, 8, 8)
    np.save(tmp_path / "mnist_test_seq.npy", sequences)
    taken = real_clips(protocol("array"), tmp_path / "mnist_test_seq.npy")
    np.testing.assert_array_equal(taken.truth[..., 0], sequences[:4, :3].swapaxes(0, 1))


def test_training_clips_are_all_taken(tmp_path):
    np.save(tmp_path / "clips.npy", pixels(6, 4, 8, 8, 1))
    np.save(tmp_path / "training.npy", pixels(11, 5, 8, 8, 1))
    taken = real_clips(protocol("array"), tmp_path / "clips.npy", tmp_path / "training.npy")
    np.testing.assert_array_equal(taken.training, pixels(11, 5, 8, 8, 1)[:, :4])


@pytest.mark.parametrize(
    "array",
    [
        pixels(2, 4, 8, 8, 1),
        pixels(6, 3, 8, 8, 1),
        pixels(6, 4, 8, 9, 1),
        pixels(6, 4, 8, 8, 3),
        np.zeros((6, 4, 8, 8, 1)),
    ],
)
def test_arrays_of_another_shape_are_refused(tmp_path, array):
    np.save(tmp_path / "clips.npy", array)
    with pytest.raises(ValueError, match=r"expected uint8 \[3 or more, 4 or more, 8, 8, 1\]"):
        real_clips(protocol("array"), tmp_path / "clips.npy")


def test_missing_data_is_named(tmp_path):
    with pytest.raises(ValueError, match="`data`: test needs test clips"):
        real_clips(protocol("array"))
    with pytest.raises(FileNotFoundError, match="expected a .npy file"):
        real_clips(protocol("array"), tmp_path / "none.npy")
    with pytest.raises(ValueError, match="`data`: expected none"):
        real_clips(protocol_named("moving-digits-8@1"), tmp_path)


@pytest.fixture
def videos(tmp_path):
    """Three GIFs whose frame i is of level 10 i + its number, one of them too short, and one of another name."""
    pytest.importorskip("av")
    for number, frames in enumerate((12, 9, 2)):
        levels = (10 * np.arange(frames) + number).astype(np.uint8)
        clip = np.broadcast_to(levels[:, None, None, None], (frames, 10, 12, 1))
        media.write_clip(tmp_path / f"person2{number + 1}_walk.gif", clip)
    media.write_clip(tmp_path / "person11_walk.gif", np.full((12, 10, 12, 1), 255, np.uint8))
    return tmp_path


def test_windows_of_videos_keep_stride_pattern_and_seed(videos):
    rule = protocol("videos", num_clips=10, pattern="person2[1-5]_*", frame_stride=2)
    taken = real_clips(rule, videos)
    levels = taken.truth[:, :, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(np.diff(levels, axis=1), 20)
    assert set(levels[:, 0] % 10) == {0, 1}  # The long ones of the pattern.
    assert len(set(levels[:, 0])) > 3  # From different starts.
    assert levels.max() <= 111 and taken.truth.shape == (10, 4, 8, 8, 1)
    np.testing.assert_array_equal(real_clips(rule, videos).truth, taken.truth)
    other = dataclasses.replace(rule, clips=dataclasses.replace(rule.clips, seed=1))
    assert not np.array_equal(real_clips(other, videos).truth, taken.truth)


def test_the_folders_that_videos_lie_in_do_not_matter(videos):
    rule = protocol("videos", num_clips=6, pattern="person2*")
    flat = real_clips(rule, videos).truth
    (videos / "z").mkdir()
    (videos / "person21_walk.gif").rename(videos / "z" / "person21_walk.gif")
    np.testing.assert_array_equal(real_clips(rule, videos).truth, flat)


def test_every_start_of_a_video_can_be_drawn(videos):
    taken = real_clips(protocol("videos", num_clips=60, pattern="person21_*"), videos)
    assert set(taken.truth[:, 0, 0, 0, 0]) == {10 * start for start in range(9)}


def test_a_folder_without_fitting_videos_is_refused(videos):
    with pytest.raises(ValueError, match="expected videos named v_\\*. Received: none"):
        real_clips(protocol("videos", pattern="v_*"), videos)
    with pytest.raises(ValueError, match="at least 40 frames. Received: only shorter ones"):
        real_clips(protocol("videos", shape=(40, 8, 8, 1)), videos)


def test_digits_are_unseen_and_the_training_clips_are_the_shipped_models(monkeypatch):
    pytest.importorskip("sklearn")
    from kvdiff.data import moving_digits

    monkeypatch.setattr(module, "_SHIPPED_TRAINING", 6)
    taken = real_clips(protocol_named("moving-digits-8@1").reduced(5))
    truth, labels = moving_digits(5, split="test", seed=1000, return_labels=True)
    np.testing.assert_array_equal(taken.truth, truth)
    np.testing.assert_array_equal(taken.labels, labels)
    np.testing.assert_array_equal(taken.second, moving_digits(5, split="test", seed=1001))
    np.testing.assert_array_equal(taken.training, moving_digits(6, split="train", seed=0))
