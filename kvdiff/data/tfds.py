"""Data sets in the form that TensorFlow Datasets gives them."""

from __future__ import annotations

import itertools
from typing import Any

from kvdiff.data.dataset import COLOR_MODES
from kvdiff.diffusion.checks import check_choice, check_count
from kvdiff.media import check_size


def video_dataset_from_tfds(
    dataset: Any,
    *,
    video_key: str = "video",
    label_key: str | None = None,
    action_key: str | None = None,
    num_frames: int = 16,
    frame_stride: int = 1,
    image_size: int | tuple[int, int] = (64, 64),
    crop_to_aspect_ratio: bool = True,
    clip_sampling: str = "random",
    color_mode: str = "rgb",
    batch_size: int = 16,
    drop_remainder: bool = False,
    shuffle: bool = True,
    shuffle_buffer: int = 256,
    seed: int = 0,
) -> Any:
    """Clips of fixed shape from `tfds.load(…)`: one clip an example an epoch.

    ```python
    clips = kvdiff.data.video_dataset_from_tfds(tfds.load("ucf101", split="train"), label_key="label")
    ```

    Examples with fewer frames than a clip needs are left out. The order is a function of (seed, epoch), for the epochs
    are the iterations over the result, as long as `dataset` itself keeps its order (`shuffle_files=False`).

    Args:
        dataset: a `tf.data.Dataset` of dictionaries.
        video_key: where the video is, uint8 [frames, height, width, 1 or 3]. "a/b" looks inside; where "a" is itself a
            data set (the `steps` of an RLDS episode) its elements are put together first.
        label_key: where an integer label is.
        action_key: where a row a frame is, [frames, n]; a clip gets those of its frames.
        num_frames, frame_stride, image_size, crop_to_aspect_ratio, color_mode, batch_size, drop_remainder, shuffle,
            seed: as in `video_dataset_from_directory`.
        clip_sampling: "random": from anywhere. "uniform": from the middle.
        shuffle_buffer: examples held to draw from, as `tf.data.Dataset.shuffle` has it.

    Returns:
        A `tf.data.Dataset` of uint8 clips [batch, frames, height, width, channels], of (clips, labels) with labels
        int32 [batch], or with `action_key` of (clips, conditions): {"action": float32 [batch, frames, n]} and, with
        `label_key`, {"label": int32 [batch]}.
    """
    import tensorflow as tf

    check_choice("clip_sampling", clip_sampling, ("random", "uniform"))
    check_choice("color_mode", color_mode, COLOR_MODES)
    check_count("num_frames", num_frames)
    check_count("frame_stride", frame_stride)
    span = (num_frames - 1) * frame_stride + 1
    shape = (num_frames, *check_size("image_size", image_size), COLOR_MODES[color_mode])
    given = {"video": video_key, "label": label_key, "action": action_key}
    keys = {name: key for name, key in given.items() if key is not None}

    def cut(epoch: Any, row: Any) -> Any:
        index, example = row
        number = tf.random.stateless_uniform([], tf.stack([seed + epoch * 2**20, index]))
        room = tf.cast(tf.shape(example["video"])[0] - span + 1, tf.float32)
        start = tf.cast(room * (number if clip_sampling == "random" else 0.5), tf.int32)
        return _clip(example, start + frame_stride * tf.range(num_frames), shape, crop_to_aspect_ratio)

    rows = dataset.map(lambda example: {name: _found(example, key) for name, key in keys.items()})
    rows = rows.filter(lambda example: tf.shape(example["video"])[0] >= span).enumerate()
    if shuffle:
        rows = rows.shuffle(shuffle_buffer, seed=seed, reshuffle_each_iteration=True)
    counter = itertools.count()
    # One number for the whole of an iteration: which epoch it is.
    epoch = tf.data.Dataset.from_generator(
        lambda: itertools.repeat(next(counter)), output_signature=tf.TensorSpec([], tf.int64)
    )
    clips = tf.data.Dataset.zip((epoch, rows)).map(cut, num_parallel_calls=tf.data.AUTOTUNE)
    return clips.batch(batch_size, drop_remainder=drop_remainder).prefetch(2)


def _clip(example: dict[str, Any], ticks: Any, shape: tuple[int, int, int, int], crop: bool) -> Any:
    """The frames `ticks` of an example, brought to `shape`, and what belongs to them."""
    import tensorflow as tf

    _, height, width, channels = shape
    clip = _resized(_in_color(tf.gather(example["video"], ticks), channels), (height, width), crop)
    clip = tf.ensure_shape(clip, shape)
    label = tf.cast(example["label"], tf.int32) if "label" in example else None
    if "action" not in example:
        return clip if label is None else (clip, label)
    conditions = {"action": tf.cast(tf.gather(example["action"], ticks), tf.float32)}
    return clip, conditions if label is None else {**conditions, "label": label}


def _found(example: Any, key: str) -> Any:
    """The value at "a/b/c"; a data set on the way becomes its elements put together."""
    import tensorflow as tf

    for part in key.split("/"):
        if isinstance(example, tf.data.Dataset):
            example = example.batch(tf.int64.max).get_single_element()
        if part not in example:
            raise ValueError(f"expected a feature {key!r}. Received: {sorted(example)}")
        example = example[part]
    return example


def _in_color(frames: Any, channels: int) -> Any:
    import tensorflow as tf

    if frames.dtype != tf.uint8:
        raise ValueError(f"`video_key`: expected uint8 pixels. Received: {frames.dtype.name}")
    given = frames.shape[-1]
    if given not in (1, 3):
        raise ValueError(f"`video_key`: expected frames of 1 or 3 channels. Received: {frames.shape}")
    if given == channels:
        return frames
    return tf.image.grayscale_to_rgb(frames) if channels == 3 else tf.image.rgb_to_grayscale(frames)


def _resized(frames: Any, size: tuple[int, int], crop: bool) -> Any:
    """uint8 [frames, height, width, channels] by area averaging: covering `size` and cut evenly, or stretched."""
    import tensorflow as tf

    if not crop:
        inner = tf.constant(size)
    else:
        shape = tf.cast(tf.shape(frames)[1:3], tf.float32)
        ratio = tf.reduce_max(tf.cast(size, tf.float32) / shape)
        inner = tf.maximum(tf.cast(tf.round(shape * ratio), tf.int32), size)
    scaled = tf.cast(tf.round(tf.image.resize(frames, inner, method="area")), tf.uint8)
    top, left = (inner[0] - size[0]) // 2, (inner[1] - size[1]) // 2
    return scaled[:, top : top + size[0], left : left + size[1]]
