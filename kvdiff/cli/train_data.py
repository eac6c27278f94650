"""What `kvdiff train` trains on: the windows of videos, or their latents, and pictures of them on the way."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.cli.autoencoder import LATENTS, chosen_autoencoder, latents_of
from kvdiff.cli.bad_files import advice_on_bad_files
from kvdiff.cli.base import opened_base
from kvdiff.cli.previews import previews
from kvdiff.cli.runs import TRAINING
from kvdiff.diffusion import ClipSpec
from kvdiff.diffusion.conditions import ClassLabel, Condition, FrameVectors
from kvdiff.training.cluster import worker_number

if TYPE_CHECKING:
    from kvdiff.cli.field_options import FieldTraining
    from kvdiff.cli.train_options import Training
    from kvdiff.data import Listing, VideoBatches
    from kvdiff.data.vectors import FrameVectorFiles
    from kvdiff.models.video_diffusion import VideoDiffusion


LABEL, ACTION = "label", "action"
"""The conditions of models that --labels and --actions train."""


def listed(clips: list[pathlib.Path], asked: Training) -> Listing:
    """The videos to train on; with --labels the folders inside of one folder are their classes."""
    from kvdiff.data import list_directory, list_paths

    if not asked.labels:
        return list_paths(clips, links=asked.links)
    if len(clips) != 1 or not clips[0].is_dir():
        names = ", ".join(map(str, clips))
        raise ValueError(f"--labels: expected CLIPS to be one folder, with a folder a class. Received: {names}")
    return list_directory(clips[0], links=asked.links)


def learnt(listing: Listing, vectors: FrameVectorFiles | None) -> dict[str, Condition]:
    """The conditions that a new model learns of the videos."""
    if listing.class_names is not None:
        return {LABEL: ClassLabel(len(listing.class_names), tuple(listing.class_names))}
    return {} if vectors is None else {ACTION: FrameVectors(vectors.size)}


def as_of(listing: Listing, vectors: FrameVectorFiles | None, model: VideoDiffusion, base: str) -> Listing:
    """The videos with their labels as a trained model's condition counts them.

    Raises:
        ValueError: labels or actions for a model that learnt none, none for one that did, or classes unknown to it.
    """
    own, here = model.spec.conditions, learnt(listing, vectors)
    kinds = [[condition.name for condition in each.values()] for each in (own, here)]
    if kinds[0] != kinds[1]:
        options = {ClassLabel.name: "--labels", FrameVectors.name: "--actions"}
        expected, received = (" and ".join(options.get(kind, kind) for kind in each) or "neither" for each in kinds)
        raise ValueError(f"--labels, --actions: expected {expected}, as {base} was trained. Received: {received}")
    condition: Any = next(iter(own.values()), None)
    if vectors is not None and condition.size != vectors.size:
        raise ValueError(f"--actions: expected vectors of {condition.size}, as of {base}. Received: of {vectors.size}")
    if listing.class_names is None:
        return listing
    known = list(condition.class_names or map(str, range(condition.num_classes)))
    if unknown := [name for name in listing.class_names if name not in known]:
        raise ValueError(
            f"--labels: expected folders among {', '.join(known)}, the classes of {base}. "
            f"Received: {', '.join(unknown)}"
        )
    numbers = np.array([known.index(name) for name in listing.class_names])[listing.labels]
    return dataclasses.replace(listing, labels=numbers, class_names=tuple(known))


def new_model(
    clips: list[pathlib.Path],
    conditions: dict[str, Condition],
    past: int | None,
    output: pathlib.Path,
    asked: Training,
    strategy: Any,
) -> VideoDiffusion:
    """A recipe's model for videos, made on the devices of `strategy`; its autoencoder is trained first where asked.

    Args:
        clips: the files.
        conditions: what it learns besides.
        past: frames that most training clips know; None: every task alike.
        output: the run.
        asked: the options.
        strategy: of the training.
    """
    from kvdiff.models.recipes import continuing, seeded_model

    clip = ClipSpec(asked.frames or 8, *(asked.sizes or (32, 32)), asked.channels or 3, fps=asked.fps)
    network = dict(factor=asked.latent_factor, latent_channels=asked.latent_channels)
    how = dict(epochs=asked.autoencoder_epochs, links=asked.links, seed=asked.seed, resume=asked.resume)
    codec = chosen_autoencoder(asked.autoencoder, clips, output, clip.frame_shape, network, strategy=strategy, **how)
    options: dict[str, Any] = {} if codec is None else {"codec": codec}
    if conditions:
        options["network"] = {"conditions": conditions}
    if past is not None:
        options["known_frames"] = continuing(past)
    with strategy.scope(), asked.computing():
        return seeded_model(asked.chosen_recipe(), clip, asked.seed, **options)


def field_data(
    clips: list[pathlib.Path],
    output: pathlib.Path,
    asked: Training,
    of_fields: FieldTraining,
    strategy: Any,
    say: Callable[[str], None],
) -> tuple[VideoDiffusion, Any, list[Any]]:
    """A new model for data with units, its clips, and its previews; the run keeps how the data was read."""
    from kvdiff.cli.fields import TrainingData

    recipe, drawn = asked.chosen_recipe(), dict(window_step=asked.stride, seed=asked.seed)
    data = TrainingData.of(of_fields, clips, asked.frames or 8, asked.sizes, say, recipe.batch_size, **drawn)
    with asked.computing():
        made = data.trained(recipe, strategy, output / TRAINING, asked.preview_every)
    if worker_number() == 0:
        data.write_record(output)
    return made


def video_data(
    clips: list[pathlib.Path],
    output: pathlib.Path,
    asked: Training,
    strategy: Any,
    *,
    past: int | None,
    announce: Callable[[str], None],
    **reading: Any,
) -> tuple[VideoDiffusion, Any, Any, list[Any]]:
    """The model, new or that of --from; the videos' windows; those held out, or None; and its previews.

    Args:
        clips: the files.
        output: the run.
        asked: the options.
        strategy: of the training, on whose devices the model is made.
        past: as in `new_model`.
        announce: called with a line of what is to be known.
        **reading: of the files.
    """
    from kvdiff.data.vectors import FrameVectorFiles

    listing = listed(clips, asked)
    vectors = None if asked.actions is None else FrameVectorFiles(asked.actions, listing)
    if asked.base is None:
        model = new_model(clips, learnt(listing, vectors), past, output, asked, strategy)
    else:
        model = opened_base(asked, strategy)
        listing = as_of(listing, vectors, model, asked.base)
    check_frame_sizes(listing, model.spec.clip, asked, announce)
    return model, *_windows(listing, model, output, asked, vectors=vectors, announce=announce, **reading)


def _windows(
    listing: Listing, model: VideoDiffusion, output: pathlib.Path, asked: Training, **reading: Any
) -> tuple[Any, Any, list[Any]]:
    """The windows of videos for a model, or with an autoencoder their latents; those held out, or None; previews."""
    batch_size = asked.chosen_recipe().batch_size
    reading |= dict(target_fps=model.spec.clip.fps, default_fps=asked.default_fps, window_step=asked.stride)
    reading |= dict(seed=asked.seed, digest=asked.digest, label_mode="int" if asked.labels else None)
    reading["on_bad"] = "skip" if asked.skip_bad else "raise"
    parts = {"training": listing}
    if asked.validation_split is not None:
        parts = {name: listing.split(asked.validation_split, name, asked.seed) for name in ("training", "validation")}
    found, pictures, anew = [], list[Any](), not asked.resume
    for name, part in parts.items():
        if name == "validation":  # The same clips in every epoch, as they are.
            reading |= dict(augment=None, shuffle=False, balance=None)
            reading |= {"clip_sampling": "uniform"} if asked.draw else {}
        batches = windows_of(part, model.spec.clip.shape, batch_size, **reading)
        if name == "training":
            pictures = previews(batches, output / TRAINING, asked.preview_every)
        if model.autoencoder is not None:
            with advice_on_bad_files():
                latents = latents_of(batches, output / LATENTS, model.spec, anew=anew)
            batches, anew = windows_of(part, model.spec.clip.shape, batch_size, latents=latents, **reading), False
        found.append(batches)
    return found[0], found[1] if len(found) > 1 else None, pictures


def check_frame_sizes(listing: Listing, clip: ClipSpec, asked: Training, say: Callable[[str], None]) -> None:
    """See to it that nobody's frames are resized unknown to them, where --size does not say it.

    With a trained model of --from they are refused; without, a line says what becomes of them.

    Raises:
        ValueError: files of another frame size than the trained model's.
    """
    from kvdiff.data.dataset import other_frame_size

    found = None if asked.size is not None else other_frame_size(listing, (clip.height, clip.width))
    if found is None:
        return
    path, other = found
    own, theirs = (f"{height}x{width}" for height, width in ((clip.height, clip.width), other))
    if asked.base is not None:
        raise ValueError(
            f"--size: expected frames of {own}, as of {asked.base}; --size {own} resizes and cuts others. "
            f"Received: {path}, of {theirs}"
        )
    say(f"{path} has frames of {theirs}: all are resized and cut to {own}, unless --size says another.")


def windows_read(output: pathlib.Path, asked: Training) -> dict[str, Any]:
    """Which windows of the files are read: all, whose frames are kept, or with --draw random ones when they are needed.

    Indices of long files lie in the cache or with the run.
    """
    cache = asked.cache
    if not asked.draw:
        return {"cache": cache or "memory"}
    sampling = dict(clip_sampling="random", clips_per_video="by length", balance="videos" if asked.balance else None)
    return {**sampling, "cache": cache, "index": output / TRAINING / "index" if cache is None else cache}


def windows_of(
    clips: Listing | list[pathlib.Path],
    clip_shape: tuple[int, int, int, int],
    batch_size: int,
    *,
    links: str | None = None,
    **options: Any,
) -> VideoBatches:
    """Every window of every clip, decoded once, or what `options` say."""
    from kvdiff.data import Listing, list_paths, video_batches

    frames, height, width, channels = clip_shape
    with advice_on_bad_files():
        batches = video_batches(
            clips if isinstance(clips, Listing) else list_paths(clips, links=links),
            num_frames=frames,
            image_size=(height, width),
            color_mode="grayscale" if channels == 1 else "rgb",
            batch_size=batch_size,
            **{"clip_sampling": "all", "label_mode": None, **options},
        )
    batches.batch_size = min(batch_size, batches.num_samples)
    return batches
