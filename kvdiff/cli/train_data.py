"""What `kvdiff train` trains on: the windows of videos, or their latents, and pictures of them on the way."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.cli.autoencoder import LATENTS, chosen_autoencoder, latents_of
from kvdiff.cli.bad_files import advice_on_bad_files
from kvdiff.cli.runs import TRAINING
from kvdiff.diffusion import ClipSpec
from kvdiff.training.cluster import num_workers

if TYPE_CHECKING:
    from kvdiff.cli.train_options import Training
    from kvdiff.data import VideoBatches
    from kvdiff.models.recipes import Recipe
    from kvdiff.models.video_diffusion import VideoDiffusion


def new_model(
    clips: list[pathlib.Path], recipe: Recipe, output: pathlib.Path, asked: Training, strategy: Any
) -> VideoDiffusion:
    """A recipe's model for videos, made on the devices of `strategy`; its autoencoder is trained first where asked."""
    from kvdiff.models.recipes import seeded_model

    clip = ClipSpec(asked.frames or 8, *(asked.sizes or (32, 32)), asked.channels or 3, fps=asked.fps)
    network = dict(factor=asked.latent_factor, latent_channels=asked.latent_channels)
    how = dict(epochs=asked.autoencoder_epochs, links=asked.links, seed=asked.seed, resume=asked.resume)
    codec = chosen_autoencoder(asked.autoencoder, clips, output, clip.frame_shape, network, strategy=strategy, **how)
    with strategy.scope():
        return seeded_model(recipe, clip, asked.seed, **({} if codec is None else {"codec": codec}))


def video_data(
    clips: list[pathlib.Path],
    model: VideoDiffusion,
    batch_size: int,
    output: pathlib.Path,
    asked: Training,
    **reading: Any,
) -> tuple[Any, list[Any]]:
    """The windows of videos for a model, or with an autoencoder their latents; and its previews."""
    reading |= dict(target_fps=model.spec.clip.fps, default_fps=asked.default_fps, window_step=asked.stride)
    reading |= dict(links=asked.links, seed=asked.seed, digest=asked.digest)
    reading["on_bad"] = "skip" if asked.skip_bad else "raise"
    batches = windows_of(clips, model.spec.clip.shape, batch_size, **reading)
    pictures = previews(batches, output / TRAINING, asked.preview_every)
    if model.autoencoder is not None:
        with advice_on_bad_files():
            latents = latents_of(batches, output / LATENTS, model.spec, anew=not asked.resume)
        batches = windows_of(clips, model.spec.clip.shape, batch_size, latents=latents, **reading)
    return batches, pictures


def check_frame_sizes(clips: list[pathlib.Path], clip: ClipSpec, asked: Training, say: Callable[[str], None]) -> None:
    """See to it that nobody's frames are resized unknown to them, where --size does not say it.

    With a trained model of --from they are refused; without, a line says what becomes of them.

    Raises:
        ValueError: files of another frame size than the trained model's.
    """
    from kvdiff.data import list_paths
    from kvdiff.data.dataset import other_frame_size

    if asked.size is not None:
        return
    found = other_frame_size(list_paths(clips, links=asked.links), (clip.height, clip.width))
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
