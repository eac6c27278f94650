"""Data sets of TensorFlow Datasets' form: dictionaries, nested features, episodes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow as tf

from kvdiff.data import video_dataset_from_tfds
from tests.data.conftest import numbered_clip

SMALL = dict(num_frames=4, image_size=8, batch_size=3)


@pytest.fixture(scope="module")
def examples():
    """Six videos of 6 to 11 frames; the label is the video, the action the number of the frame, twice."""

    def generate():
        for index in range(6):
            frames = 6 + index
            action = np.repeat(np.arange(frames, dtype=np.float64)[:, None], 2, axis=1)
            yield {"video": numbered_clip(20 * index, frames), "label": index, "motion": {"action": action}}

    spec = {
        "video": tf.TensorSpec([None, None, None, 3], tf.uint8),
        "label": tf.TensorSpec([], tf.int64),
        "motion": {"action": tf.TensorSpec([None, 2], tf.float64)},
    }
    return tf.data.Dataset.from_generator(generate, output_signature=spec)


def test_clips_labels_and_actions_belong_together(examples):
    dataset = video_dataset_from_tfds(examples, label_key="label", action_key="motion/action", frame_stride=2, **SMALL)
    clips, conditions = dataset.element_spec
    assert clips.shape == (None, 4, 8, 8, 3) and clips.dtype == tf.uint8
    assert conditions["action"].shape == (None, 4, 2) and conditions["label"].dtype == tf.int32
    seen = []
    for clips, conditions in dataset:
        values, labels = clips.numpy()[:, :, 0, 0, 0], conditions["label"].numpy()
        np.testing.assert_array_equal(values - 20 * labels[:, None], conditions["action"].numpy()[:, :, 0])
        assert (np.diff(values.astype(int), axis=1) == 2).all()
        seen += labels.tolist()
    assert sorted(seen) == [1, 2, 3, 4, 5]  # The first has 6 frames, and 7 are needed.


def test_epochs_are_functions_of_seed_and_number(examples):
    def epochs(seed):
        dataset = video_dataset_from_tfds(examples, **SMALL, seed=seed)
        return [[clips.numpy()[:, 0, 0, 0, 0].tolist() for clips in dataset] for _ in range(2)]

    assert epochs(1) == epochs(1)
    assert epochs(1)[0] != epochs(1)[1]
    assert epochs(1) != epochs(2)


def test_uniform_clips_come_from_the_middle_in_order(examples):
    dataset = video_dataset_from_tfds(examples, label_key="label", **SMALL, clip_sampling="uniform", shuffle=False)
    values = np.concatenate([clips.numpy()[:, 0, 0, 0, 0] for clips, _ in dataset])
    assert values.tolist() == [1, 22, 42, 63, 83, 104]


def test_grey_and_cropped(examples):
    clips = next(iter(video_dataset_from_tfds(examples, **{**SMALL, "image_size": (8, 12)}, color_mode="grayscale")))
    assert clips.shape == (3, 4, 8, 12, 1)
    frame = np.zeros((4, 16, 32, 3), np.uint8)
    frame[:, :, 8:24] = 255  # The middle square, all that a square crop keeps.
    one = tf.data.Dataset.from_tensors({"video": frame})
    assert next(iter(video_dataset_from_tfds(one, **SMALL))).numpy().min() > 250
    assert next(iter(video_dataset_from_tfds(one, **SMALL, crop_to_aspect_ratio=False))).numpy().min() == 0


def test_episodes_of_steps_are_put_together():
    def steps(index):
        frames = tf.cast(tf.range(10)[:, None, None, None] + 20 * tf.cast(index, tf.int32), tf.uint8)
        frames = tf.broadcast_to(frames, [10, 16, 16, 3])
        action = tf.repeat(tf.range(10, dtype=tf.float32)[:, None], 2, axis=1)
        return tf.data.Dataset.from_tensor_slices({"observation": {"image": frames}, "action": action})

    episodes = tf.data.Dataset.range(3).map(lambda index: {"steps": steps(index)})
    dataset = video_dataset_from_tfds(
        episodes, video_key="steps/observation/image", action_key="steps/action", **SMALL, shuffle=False
    )
    clips, conditions = next(iter(dataset))
    starts = clips.numpy()[:, 0, 0, 0, 0] - [0, 20, 40]
    np.testing.assert_array_equal(starts, conditions["action"].numpy()[:, 0, 0])


def test_a_missing_feature_is_named(examples):
    with pytest.raises(ValueError, match="expected a feature 'clip'"):
        video_dataset_from_tfds(examples, video_key="clip", **SMALL)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int32])
def test_pixels_of_another_kind_are_refused(dtype):
    """They would be cut to 8 bits: 16-bit counts wrapped, floats in [0, 1] made black and nearly black."""
    examples = tf.data.Dataset.from_tensors({"video": np.zeros((8, 16, 16, 3), dtype)})
    with pytest.raises(ValueError, match=f"`video_key`: expected uint8 pixels. Received: {np.dtype(dtype).name}"):
        video_dataset_from_tfds(examples, **SMALL)
