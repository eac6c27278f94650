"""From a listing of videos and the options that all loaders share to a `tf.data.Dataset`."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np

from kvdiff.data.augmentation import Augmentation
from kvdiff.data.bad_files import BadFiles
from kvdiff.data.batches import VideoBatches
from kvdiff.data.latents import LatentCache, LatentStore
from kvdiff.data.listing import Listing
from kvdiff.data.store import VideoStore
from kvdiff.data.vectors import FrameVectorFiles
from kvdiff.data.windows import ClipWindows
from kvdiff.diffusion.checks import (
    check_can,
    check_choice,
    check_count,
    check_flag,
    check_kind,
    check_path,
    check_real,
    optional,
)
from kvdiff.media import ClipReader, ClipRequest, ReadLimits, VideoError, check_size

COLOR_MODES = {"grayscale": 1, "rgb": 3}
_LABEL_MODES = ("int", "categorical", "binary")


class ClipOptions(TypedDict, total=False):
    """The keywords that all loaders share; `video_dataset_from_directory` explains them."""

    label_mode: str | None
    num_frames: int
    frame_stride: int
    target_fps: float | None
    image_size: int | tuple[int, int]
    crop_to_aspect_ratio: bool
    clip_sampling: str
    clips_per_video: int | str
    balance: str | None
    window_step: int | None
    color_mode: str
    batch_size: int
    drop_remainder: bool
    shuffle: bool
    seed: int
    digest: str
    validation_split: float | None
    subset: str | None
    augment: Augmentation | None
    cache: str | os.PathLike[str] | None
    index: str | os.PathLike[str] | None
    latents: LatentCache | None
    vectors: str | os.PathLike[str] | FrameVectorFiles | None
    default_fps: float | None
    num_workers: int | None
    limits: ReadLimits | None
    on_bad: str
    max_bad_share: float
    report: str | os.PathLike[str] | None
    verbose: bool


def clip_dataset(
    listing: Listing,
    *,
    validation_split: float | None = None,
    subset: str | None = None,
    seed: int = 0,
    drop_remainder: bool = False,
    verbose: bool = True,
    **options: Any,
) -> Any:
    """The data set of a listing, or with `subset="both"` those of its two parts. Options: `ClipOptions`."""
    if (validation_split is None) != (subset is None):
        raise ValueError(
            f"`validation_split`, `subset`: expected both or neither. Received: {validation_split!r}, {subset!r}"
        )
    for name, flag in (("drop_remainder", drop_remainder), ("verbose", verbose)):
        check_flag(name, flag)
    _announce_listing(check_kind("listing", listing, Listing), verbose)
    if validation_split is None or subset is None:
        return _dataset(listing, seed, drop_remainder, verbose, options)
    check_choice("subset", subset, ("training", "validation", "both"))
    made = []
    for name in ("training", "validation") if subset == "both" else (subset,):
        part = listing.split(validation_split, name, seed)
        if verbose:
            print(f"Using {len(part.file_paths)} files for {name}.")
        own = options if name == "training" else {**options, "augment": None}
        made.append(_dataset(part, seed, drop_remainder, verbose, own))
    return tuple(made) if subset == "both" else made[0]


def video_batches(
    listing: Listing,
    *,
    label_mode: str | None = "int",
    num_frames: int = 16,
    frame_stride: int = 1,
    target_fps: float | None = None,
    image_size: int | tuple[int, int] = (64, 64),
    crop_to_aspect_ratio: bool = True,
    clip_sampling: str = "random",
    clips_per_video: int | str = 1,
    balance: str | None = None,
    window_step: int | None = None,
    color_mode: str = "rgb",
    batch_size: int = 16,
    shuffle: bool = True,
    seed: int = 0,
    digest: str = "parts",
    augment: Augmentation | None = None,
    cache: str | os.PathLike[str] | None = None,
    index: str | os.PathLike[str] | None = None,
    latents: LatentCache | None = None,
    vectors: str | os.PathLike[str] | FrameVectorFiles | None = None,
    default_fps: float | None = None,
    num_workers: int | None = None,
    limits: ReadLimits | None = None,
    on_bad: str = "raise",
    max_bad_share: float = 0.1,
    report: str | os.PathLike[str] | None = None,
    announce: Callable[[str], None] | None = None,
) -> VideoBatches:
    """The batches of a listing; options as in `video_dataset_from_directory`."""
    check_kind("listing", listing, Listing)
    check_choice("color_mode", color_mode, COLOR_MODES)
    check_flag("shuffle", shuffle)
    check_flag("crop_to_aspect_ratio", crop_to_aspect_ratio)
    optional(check_choice, "label_mode", label_mode, _LABEL_MODES)
    optional(check_real, "default_fps", default_fps, above=0.0)
    optional(check_path, "report", report)
    optional(check_can, "announce", announce, "a function of a line of text")
    optional(check_count, "num_workers", num_workers)
    optional(check_kind, "limits", limits, ReadLimits)
    optional(check_kind, "latents", latents, LatentCache)
    _check_outside("cache", None if cache == "memory" else cache, listing)
    _check_outside("index", index, listing)
    check_count("seed", seed, at_least=0, at_most=2**64 - 1)
    windows = ClipWindows(
        num_frames=num_frames,
        frame_stride=frame_stride,
        target_fps=target_fps,
        sampling=clip_sampling,
        clips_per_video=clips_per_video,
        window_step=window_step,
    )
    size, encode = check_size("image_size", image_size), label_encoder(listing, label_mode)
    if vectors is not None:
        vectors = _vectors_of(vectors, listing, augment, has_labels=encode is not None)
    pixels = VideoStore(
        _shared_reader(num_workers, limits),
        image_size=_read_size(augment, size, windows, has_labels=encode is not None, has_latents=latents is not None),
        crop=crop_to_aspect_ratio,
        channels=COLOR_MODES[color_mode],
        cache=cache,
        index=index,
        default_fps=default_fps,
    )
    return VideoBatches(
        listing,
        pixels if latents is None else LatentStore(latents, pixels, listing),
        windows,
        BadFiles(len(listing.videos), on_bad, max_bad_share, report),
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        digest=digest,
        balance=balance,
        augment=augment,
        image_size=None if augment is None else size,
        encode=encode,
        vectors=vectors,
        announce=announce,
    )


def _vectors_of(vectors: Any, listing: Listing, augment: Augmentation | None, *, has_labels: bool) -> FrameVectorFiles:
    """The files of a listing's vectors; refuses what they cannot be had with."""
    if has_labels:
        raise ValueError("`vectors`: expected none with labels; pass `label_mode=None`. Received: both")
    if augment is not None:
        raise ValueError("`vectors`: expected none with `augment`, which would change what they mean. Received: both")
    folder = vectors.folder if isinstance(vectors, FrameVectorFiles) else vectors
    _check_outside("vectors", folder, listing)
    return vectors if isinstance(vectors, FrameVectorFiles) else FrameVectorFiles(folder, listing)


def _read_size(
    augment: Augmentation | None,
    image_size: tuple[int, int],
    windows: ClipWindows,
    *,
    has_labels: bool,
    has_latents: bool,
) -> tuple[int, int]:
    """The size at which frames are read; refuses what clips cannot be changed by."""
    optional(check_kind, "augment", augment, Augmentation)
    if augment is None:
        return image_size
    if has_latents:
        raise ValueError("`augment`: expected none with `latents`, which are of unchanged frames. Received: both")
    augment.check(image_size, windows, has_labels=has_labels)
    return augment.read_size(image_size)


def other_frame_size(listing: Listing, size: tuple[int, int]) -> tuple[pathlib.Path, tuple[int, int]] | None:
    """The first file whose upright frames are not of `size`, (height, width), and theirs; None where all are.

    A frame of each file is decoded, and no more than the first such file is looked for. Files that cannot be read are
    passed over.
    """
    reader = _shared_reader(None, None)
    for video in listing.videos.files:
        request = ClipRequest(path=str(video.path), root=str(video.root), links=video.links, wanted=(0,), size=(1, 1))
        try:
            facts = reader.read(request).facts
        except VideoError:
            continue
        if (facts.height, facts.width) != tuple(size):
            return video.path, (facts.height, facts.width)
    return None


@functools.lru_cache(maxsize=4)
def _shared_reader(num_workers: int | None, limits: ReadLimits | None) -> ClipReader:
    """Data sets with the same demands share their workers, as training and validation set do."""
    return ClipReader(num_workers, limits)


def _check_outside(name: str, path: str | os.PathLike[str] | None, listing: Listing) -> None:
    """Refuse a folder among the data: the arrays of a cache would be taken for clips the next time."""
    if path is None:
        return
    folder = check_path(name, path).resolve()
    for root in {root.resolve() for root in listing.roots}:
        if folder.is_relative_to(root) and not any(part.startswith(".") for part in folder.relative_to(root).parts):
            raise ValueError(f"`{name}`: expected a folder outside {root}, or a hidden one. Received: {path}")


def label_encoder(listing: Listing, label_mode: str | None) -> Callable[[int], np.ndarray] | None:
    """What a batch holds of an integer label: "int" int32 [], "categorical" float32 [classes], "binary" float32 [1]."""
    if label_mode is None or listing.labels is None:
        return None
    classes = len(listing.class_names) if listing.class_names else int(listing.labels.max()) + 1
    if label_mode == "int":
        return lambda label: np.array(label, np.int32)
    if label_mode == "categorical":
        return lambda label: np.eye(classes, dtype=np.float32)[label]
    if classes != 2:
        raise ValueError(f'`label_mode`: expected 2 classes for "binary". Received: {classes} classes')
    return lambda label: np.array([label], np.float32)


def _dataset(listing: Listing, seed: int, drop_remainder: bool, verbose: bool, options: dict[str, Any]) -> Any:
    batches = video_batches(listing, seed=seed, announce=print if verbose else None, **options)
    dataset = batches.epochs(drop_remainder)
    # As Keras' loaders do; transformations of the data set leave them behind.
    dataset.class_names = None if listing.class_names is None else list(listing.class_names)
    dataset.file_paths = listing.file_paths
    dataset.batches = batches
    return dataset


def _announce_listing(listing: Listing, verbose: bool) -> None:
    if verbose:
        classes = f" belonging to {len(listing.class_names)} classes" if listing.class_names else ""
        print(f"Found {len(listing.file_paths)} files{classes}.")
