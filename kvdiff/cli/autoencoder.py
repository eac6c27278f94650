"""autoencoder: the latent of one's own clips, trained before a denoiser, or by itself."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kvdiff.cli.field_options import parse_size
from kvdiff.cli.options import Links
from kvdiff.cli.progress import progress_bars
from kvdiff.cli.runs import quiet_tensorflow, require
from kvdiff.diffusion import ModelSpec, NoiseSchedule, Prediction
from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.transforms.autoencoder import FACTORS
from kvdiff.media import check_folder_writable
from kvdiff.training.cluster import worker_number

if TYPE_CHECKING:
    from kvdiff.data import LatentCache, VideoBatches
    from kvdiff.models.video_autoencoder import VideoAutoencoder

AUTOENCODER_FILE, AUTOENCODER, LATENTS = "autoencoder.keras", "autoencoder", "latents"
_BATCH = 32  # Frames a step.
_SHOWN = 16  # Clips that are measured.

Size = Annotated[
    str,
    typer.Option(
        metavar="HxW", help="Height and width that videos are resized and cut to, e.g. 48x64, or one number for both."
    ),
]
Channels = Annotated[int, typer.Option(metavar="N", min=1, max=3, help="3 for colour, 1 for grey.")]


def autoencoder(
    clips: Annotated[
        list[pathlib.Path],
        typer.Argument(metavar="CLIPS", help="Files (.gif, .mp4, .webm, .npy, …), or folders of them."),
    ],
    output: Annotated[
        pathlib.Path,
        typer.Option("--output", "-o", metavar="RUN", help="Folder for autoencoder.keras; created if need be."),
    ],
    factor: Annotated[int, typer.Option(metavar="N", help="By how much height and width shrink: 2, 4 or 8.")] = 4,
    latent_channels: Annotated[int, typer.Option(metavar="N", min=1, help="Numbers a latent pixel.")] = 4,
    size: Size = "64",
    channels: Channels = 3,
    width: Annotated[int, typer.Option(metavar="N", min=4, help="Channels of the networks.")] = 64,
    epochs: Annotated[int, typer.Option(metavar="N", min=1, help="Passes over all frames.")] = 20,
    links: Links = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of weights, noise and order.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training that was cut off.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the autoencoder in the folder.")] = False,
) -> None:
    """Train an autoencoder on your own clips: what makes 64 × 64 pixels 16 × 16 × 4 numbers.

    Writes RUN/autoencoder.keras, its checkpoints and RUN/autoencoder/reconstruction.html, a page with clips, what came
    back of them, PSNR, SSIM and a spectrum: look at it before you train a denoiser on these latents.

    Example: kvdiff autoencoder my_videos -o saved_models/my_clips, then: kvdiff train my_videos --autoencoder
    saved_models/my_clips/autoencoder.keras -o saved_models/my_clips
    """
    height, width_of_frames = parse_size(size)
    for side in (height, width_of_frames):
        check_latent(factor, side, multiple=1, argument="--factor")
    check_folder_writable(output)
    require("keras", "tensorflow", "filelock")
    if (output / AUTOENCODER_FILE).exists() and not overwrite:
        raise FileExistsError(f"{output}: holds {AUTOENCODER_FILE}; pass --overwrite or name another folder")
    if _begun(output) and not (resume or overwrite):
        raise FileExistsError(f"{output}: holds a training; pass --resume to go on or --overwrite to begin anew")
    network = dict(factor=factor, latent_channels=latent_channels, widths=(width,))
    trained_autoencoder(
        clips,
        output,
        (height, width_of_frames, channels),
        network,
        epochs=epochs,
        links=links,
        seed=seed,
        resume=resume,
    )


def check_latent(
    factor: int | None,
    size: int,
    *,
    multiple: int,
    argument: str = "--latent-factor",
    autoencoder: pathlib.Path | None = None,
) -> None:
    """Refuse a factor that there is none of, and frames whose latents the denoiser does not take."""
    if factor is None:
        return
    if autoencoder is not None:
        raise ValueError("--autoencoder, --latent-factor: expected one of them. Received: both")
    if factor not in FACTORS:
        raise ValueError(f"{argument}: expected one of {list(FACTORS)}. Received: {factor}")
    if size % (factor * multiple):
        below = size // (factor * multiple) * factor * multiple
        nearest = f"{below} or {below + factor * multiple}" if below else f"{factor * multiple}"
        raise ValueError(f"--size: expected a multiple of {factor * multiple}, e.g. {nearest}. Received: {size}")


def chosen_autoencoder(
    trained: pathlib.Path | None,
    clips: list[pathlib.Path],
    output: pathlib.Path,
    frame_shape: tuple[int, int, int],
    network: dict[str, Any],
    **training: Any,
) -> VideoAutoencoder | None:
    """The autoencoder of a denoiser: one that is there already, one that is trained first, or none."""
    if trained is not None:
        return opened_autoencoder(trained)
    if network["factor"] is None:
        return None
    return trained_autoencoder(clips, output, frame_shape, network, **training)


def trained_autoencoder(
    clips: list[pathlib.Path],
    output: pathlib.Path,
    frame_shape: tuple[int, int, int],
    network: dict[str, Any],
    *,
    epochs: int,
    links: str | None = None,
    seed: int = 0,
    resume: bool = False,
    strategy: Any = None,
) -> VideoAutoencoder:
    """The autoencoder of a run: trained, gone on with, or opened where it is trained already."""
    with quiet_tensorflow():
        import keras

        import kvdiff
        from kvdiff.training import FusedAdam, TrainingCheckpoint

    path = output / AUTOENCODER_FILE
    scope = contextlib.nullcontext if strategy is None else strategy.scope
    keras.utils.set_random_seed(seed)
    with scope():
        model = kvdiff.VideoAutoencoder(frame_shape[-1], seed=seed, **network)
    if resume and path.exists():
        found = kvdiff.load_autoencoder(path, compile=False)
        if found.shape != model.shape:
            raise ValueError(f"{path}: expected an autoencoder of {model.shape}. Received: {found.shape}")
        return found
    batches = _frames(clips, frame_shape, links, seed)
    steps = epochs * batches.steps_per_epoch
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(steps - 300, 1), warmup_target=5e-4, warmup_steps=min(300, max(steps // 3, 1))
    )
    momentum = min(max(1.0 - 20.0 / steps, 0.0), 0.999)
    with scope():
        model.compile(FusedAdam(rate, beta_2=0.99, global_clipnorm=1.0, use_ema=True, ema_momentum=momentum))
    typer.echo(f"Autoencoder: {batches.num_samples} frames, {epochs} epochs of {batches.steps_per_epoch} steps.")
    first = worker_number() == 0
    checkpoint = TrainingCheckpoint(output / AUTOENCODER / "checkpoints", batches, resume=resume, writes=first)
    if checkpoint.step:
        typer.echo(f"Going on with the autoencoder after step {checkpoint.step} of {steps}.")
    options = dict(
        epochs=epochs, steps_per_epoch=batches.steps_per_epoch, shuffle=False, verbose="auto" if first else 0
    )
    model.fit(checkpoint.dataset(), callbacks=[checkpoint], **options)
    if first:
        _report(model, batches, output)
        _save(model, path)
    return model


def _begun(output: pathlib.Path) -> bool:
    return any((output / AUTOENCODER / "checkpoints").glob("step-*.npz"))


def _save(model: VideoAutoencoder, path: pathlib.Path) -> None:
    """Write the file whole or not at all."""
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        model.save(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _report(model: VideoAutoencoder, batches: VideoBatches, output: pathlib.Path) -> None:
    """Measure what comes back, print it, and write the page."""
    import numpy as np

    from kvdiff.evaluation.reconstruction import reconstruction

    step = max(batches.num_samples // (8 * _SHOWN), 1)
    places = range(0, min(batches.num_samples, 8 * _SHOWN * step), step)
    frames = np.stack([batches.sample(0, place)[0][0] for place in places])
    frames = frames[: max(len(frames) // 8, 1) * 8] if len(frames) >= 8 else frames
    found = reconstruction(model, frames.reshape(-1, min(8, len(frames)), *frames.shape[1:]), output / AUTOENCODER)
    for line in found.lines():
        typer.echo(line)
    typer.echo(f"Measured on {len(frames)} frames of the clips; wrote {output / AUTOENCODER / 'reconstruction.html'}.")


def _frames(clips: list[pathlib.Path], frame_shape: tuple[int, int, int], links: str | None, seed: int) -> VideoBatches:
    """Every frame of every clip, by itself."""
    from kvdiff.data import list_paths, video_batches

    height, width, channels = frame_shape
    batches = video_batches(
        list_paths(clips, links=links),
        label_mode=None,
        num_frames=1,
        image_size=(height, width),
        clip_sampling="all",
        color_mode="grayscale" if channels == 1 else "rgb",
        batch_size=_BATCH,
        seed=seed,
        cache="memory",
    )
    batches.batch_size = min(_BATCH, batches.num_samples)
    return batches


def frame_spec(model: VideoAutoencoder, frame_shape: tuple[int, int, int]) -> ModelSpec:
    """A spec for frames in the latent of an autoencoder, which is all that a cache of latents asks for."""
    codec = model.codec(frame_shape)
    schedule, prediction = NoiseSchedule.from_config({"name": "cosine"}), Prediction("v")
    return ModelSpec(ClipSpec(1, *frame_shape), schedule, prediction, values=model.values, codec=codec)


def opened_autoencoder(path: pathlib.Path) -> VideoAutoencoder:
    """A trained autoencoder: its file, a folder that has one, or a model that has one inside."""
    with quiet_tensorflow():
        from kvdiff.models.loading import load_autoencoder

    return load_autoencoder(path / AUTOENCODER_FILE if (path / AUTOENCODER_FILE).is_file() else path, compile=False)


def latents_of(batches: VideoBatches, folder: pathlib.Path, spec: ModelSpec, *, anew: bool) -> LatentCache:
    """The cache of a run's latents, filled with what is missing."""
    from kvdiff.data import LatentCache

    if anew:
        shutil.rmtree(folder, ignore_errors=True)
    cache = LatentCache(folder, spec)
    with progress_bars() as progress:
        encoded = cache.prepare(batches, progress=lambda done, total: progress("Encoding", done, total))
    typer.echo(f"Encoded {encoded} clips; latents are in {folder}.")
    return cache
