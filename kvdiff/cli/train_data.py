"""What `kvdiff train` trains on: the windows of videos, or their latents, and pictures of them on the way."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.cli.autoencoder import LATENTS, chosen_autoencoder, latents_of
from kvdiff.cli.bad_files import advice_on_bad_files
from kvdiff.cli.runs import TRAINING
from kvdiff.cli.train_checks import check_drawing
from kvdiff.training.cluster import num_workers

if TYPE_CHECKING:
    from kvdiff.data import VideoBatches
    from kvdiff.diffusion import ClipSpec
    from kvdiff.models.recipes import Recipe
    from kvdiff.models.video_diffusion import VideoDiffusion


def video_data(
    clips: list[pathlib.Path],
    clip: ClipSpec,
    recipe: Recipe,
    output: pathlib.Path,
    first: tuple[pathlib.Path | None, dict[str, Any], dict[str, Any]],
    preview_every: int,
    **reading: Any,
) -> tuple[VideoDiffusion, Any, list[Any]]:
    """A recipe's model for videos; their windows, or with an autoencoder their latents; and its previews.

    Args:
        clips: the files.
        clip: what the model is for.
        recipe: its settings.
        output: the run.
        first: the file of an autoencoder, the network of one to train first, and how.
        preview_every: epochs.
        **reading: of the files.
    """
    from kvdiff.models.recipes import seeded_model

    trained, network, how = first
    links, seed = reading.get("links"), reading["seed"]
    codec = chosen_autoencoder(trained, clips, output, clip.frame_shape, network, links=links, seed=seed, **how)
    with how["strategy"].scope():
        model = seeded_model(recipe, clip, seed, **({} if codec is None else {"codec": codec}))
    batches = windows_of(clips, clip.shape, recipe.batch_size, **reading)
    pictures = previews(batches, output / TRAINING, preview_every)
    if codec is not None:
        with advice_on_bad_files():
            latents = latents_of(batches, output / LATENTS, model.spec, anew=not how["resume"])
        batches = windows_of(clips, clip.shape, recipe.batch_size, latents=latents, **reading)
    return model, batches, pictures


def windows_read(
    output: pathlib.Path, cache: pathlib.Path | None, *, draw: bool, balance: bool, fields: bool
) -> dict[str, Any]:
    """Which windows of the files are read: all, whose frames are kept, or with `draw` random ones when they are needed.

    Indices of long files lie in the cache or with the run.

    Raises:
        ValueError: options of windows that are drawn where none are.
    """
    check_drawing(draw, balance, fields=fields)
    if not draw:
        return {"cache": cache or "memory"}
    sampling = dict(clip_sampling="random", clips_per_video="by length", balance="videos" if balance else None)
    return {**sampling, "cache": cache, "index": output / TRAINING / "index" if cache is None else cache}


def windows_of(
    paths: list[pathlib.Path],
    clip_shape: tuple[int, int, int, int],
    batch_size: int,
    *,
    links: str | None = None,
    **options: Any,
) -> VideoBatches:
    """Every window of every clip, decoded once, or what `options` say."""
    from kvdiff.data import list_paths, video_batches

    frames, height, width, channels = clip_shape
    listing = list_paths(paths, links=links)
    with advice_on_bad_files():
        batches = video_batches(
            listing,
            label_mode=None,
            num_frames=frames,
            image_size=(height, width),
            color_mode="grayscale" if channels == 1 else "rgb",
            batch_size=batch_size,
            **{"clip_sampling": "all", **options},
        )
    batches.batch_size = min(batch_size, batches.num_samples)
    return batches


def previews(batches: VideoBatches | None, folder: pathlib.Path, every: int) -> list[Any]:
    """Generated clips, and predictions of some of `batches`; none where several workers train."""
    from kvdiff.training import Previews

    if not every or num_workers() > 1:
        return []
    if batches is None:
        return [Previews(folder / "previews", every=every, scale=2)]
    past = np.stack([batches.sample(0, place)[0] for place in range(min(4, batches.num_samples))])
    return [Previews(folder / "previews", every=every, past=past[:, : past.shape[1] // 2], scale=2)]
