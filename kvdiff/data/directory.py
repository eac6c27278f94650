"""A folder of videos as a data set, in the manner of `keras.utils.image_dataset_from_directory`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Unpack

from kvdiff.data.dataset import ClipOptions, clip_dataset
from kvdiff.data.listing import list_directory


def video_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: str | Sequence[int] | None = "inferred",
    *,
    class_names: Sequence[str] | None = None,
    links: str | os.PathLike[str] | None = None,
    **options: Unpack[ClipOptions],
) -> Any:
    """Clips of fixed shape from a folder of videos, arrays and folders of frames.

    ```python
    train, held_out = kvdiff.data.video_dataset_from_directory(
        "videos", num_frames=16, target_fps=8, image_size=(64, 64), validation_split=0.1, subset="both", seed=1
    )
    model.fit(train, epochs=10, validation_data=held_out)
    ```

    The folder holds a folder a class (`labels="inferred"`), or is searched whole. Files end in one of
    `kvdiff.media.READABLE`; a folder of pictures is one video, in the order of their numbers; pictures beside files of
    clips are taken for thumbnails, GIFs and arrays named after a video for what goes with it; an array file may hold
    several clips. Files may be damaged or hostile: they are
    decoded in other processes, under `limits`. What should be known of how a file was read is said as a warning.

    Args:
        directory: the folder.
        labels: "inferred"; a sequence of integers, one a file in the order of their names; or None.
        class_names: with inferred labels, which folders are classes, in which order; by default all, sorted.
        links: where links may lead besides `directory`: into another folder, such as the blobs of a hub's cache, or
            "anywhere"; by default nowhere, and one that leads out is a bad file.
        label_mode: "int" (default): int32 [batch]; "categorical": float32 [batch, classes]; "binary": float32
            [batch, 1]; None: no labels.
        num_frames: frames of a clip (16).
        frame_stride: take every n-th frame (1), of those that `target_fps` leaves.
        target_fps: frames a second, by the times at which frames are shown, so videos of variable rate come out right,
            and no clip is one frame that is shown for long; by default frames are taken as they are, whatever their
            rate.
        image_size: (height, width), or one number for both ((64, 64)). Frames are scaled by area averaging.
        crop_to_aspect_ratio: scale until the frame covers `image_size` and cut what stands over evenly (True, unlike
            Keras'), or stretch it.
        clip_sampling: "random" (default): `clips_per_video` clips a video an epoch, from anywhere. "uniform":
            the same places every time, spread evenly; one clip is the middle. "all": every clip that begins a multiple
            of `window_step` ticks after the first; the videos are decoded once to count them, so give a `cache`.
        clips_per_video: clips of every video an epoch (1), for "random" and "uniform"; or "by length": as many as "all"
            would cut, of which random ones are spread over the whole video. The videos' lengths are found first.
        balance: "videos": every video gives equally many of an epoch's clips, however long it is; "classes": every
            class does. None (default): each as many as `clips_per_video` says.
        window_step: for "all" and "by length", the frames from a clip's beginning to the next one's; by default clips
            share no frame.
        color_mode: "rgb" (default) or "grayscale".
        batch_size: clips a batch (16).
        drop_remainder: leave out an epoch's last batch where it is not full (False).
        shuffle: another order every epoch (True).
        seed: of order, random clips and split (0).
        digest: how a training that goes on knows the files again: "parts" (default), by sizes and eight blocks of each;
            "all", by every byte.
        augment: an `Augmentation`: how training clips are changed when they are read, each in every epoch in a way of
            its own; those of "validation" are not (None).
        validation_split: share of the files to hold out, in (0, 1); a file is on one side with all its clips, and
            stays there when others are added. Which ones depends on `seed` and their names alone.
        subset: "training", "validation", or "both" for a pair of data sets.
        cache: None: decode every time. "memory": keep every decoded video. A folder: keep them there, as uint8 .npy
            files of `image_size`.
        index: a folder for the indices of the key frames of long videos, so that no further program need make them;
            by default they lie in a `cache` that is a folder, else in memory. Without a cache a clip is decoded from
            the key frame before it, exactly as from the beginning, in files that allow it.
        latents: a `LatentCache` that has these videos: batches hold latents, float32, in place of pixels.
        vectors: a folder of what goes with each frame, such as actions: for `directory`/a/b.mp4 the file a/b.npy there,
            [frames, size]; needs `label_mode=None`. Batches are (clips, vectors), float32 [batch, frames, size].
        default_fps: frames a second of arrays and folders of frames, which `target_fps` needs.
        num_workers: processes that decode; by default one a CPU.
        limits: what one file may ask for: `kvdiff.media.ReadLimits`.
        on_bad: "raise" (default), or "skip": the next good file takes the place of a bad one. A video that is too short
            for one clip is bad; "all" and "by length" leave it out and say so.
        max_bad_share: with "skip", raise after all where more than this share of the files is bad (0.1).
        report: file for a list of the skipped files, JSON.
        verbose: print what was found and, after the first epoch, how fast it was read (True).

    Returns:
        A `tf.data.Dataset` of one epoch, every iteration over it the next: uint8 clips [batch, frames, height, width,
        channels], or (clips, labels). It has the attributes `class_names`, `file_paths` and `batches`, a
        `VideoBatches`: `batches.dataset(start_step)` begins at any training step, and `batches.bad_files.errors` holds
        what was skipped. With `subset="both"`, two of them.

    Raises:
        ValueError, TypeError: arguments that are not as above.
        NotADirectoryError: no such folder.
        VideoError: a bad file found while clips are counted ("all", "by length"). Found while the data set is read, it
            arrives as what `tf.data` makes of it, `tf.errors.InvalidArgumentError` with the same text.
    """
    return clip_dataset(list_directory(directory, labels, class_names, links=links), **options)
