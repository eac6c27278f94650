"""train: from files of clips to a run."""

from __future__ import annotations

import contextlib
import functools
import math
import pathlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kvdiff.cli.autoencoder import LATENTS, check_latent, chosen_autoencoder, latents_of
from kvdiff.cli.options import Links
from kvdiff.cli.room import room_for
from kvdiff.cli.runs import CHECKPOINTS, KERAS_FILE, TRAINING, quiet_tensorflow, require, save_keras
from kvdiff.cli.train_checks import check_folder, check_numbers, check_previews
from kvdiff.cli.workers import run_workers
from kvdiff.diffusion import ClipSpec
from kvdiff.media import check_folder_writable
from kvdiff.training.cluster import num_workers, worker_number

if TYPE_CHECKING:
    from kvdiff.data import VideoBatches
    from kvdiff.models.video_autoencoder import VideoAutoencoder
    from kvdiff.models.video_diffusion import VideoDiffusion

__all__ = ["train"]

_COMMAND = "from kvdiff.cli import main; main()"


def train(
    clips: Annotated[
        list[pathlib.Path],
        typer.Argument(metavar="CLIPS", help="Files (.gif, .mp4, .webm, .npy, …), or folders of them."),
    ],
    output: Annotated[
        pathlib.Path,
        typer.Option("--output", "-o", metavar="RUN", help="Folder for the trained model; created if need be."),
    ],
    frames: Annotated[
        int, typer.Option(metavar="N", min=2, help="Frames of a training clip; longer files are cut into windows.")
    ] = 8,
    stride: Annotated[
        int, typer.Option(metavar="N", min=1, help="Frames from the start of one window to the next.")
    ] = 1,
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="The model's clock: frames a second at which clips are read, now and for sampling. "
            "[default: frames as they are]",
        ),
    ] = None,
    default_fps: Annotated[
        float | None,
        typer.Option(metavar="X", help="Frames a second of arrays and folders of frames, which --fps needs to know."),
    ] = None,
    links: Links = None,
    size: Annotated[
        int, typer.Option(metavar="N", min=4, help="Height and width that videos are resized and cut to.")
    ] = 32,
    channels: Annotated[int, typer.Option(metavar="N", min=1, max=3, help="3 for colour, 1 for grey.")] = 3,
    cache: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="FOLDER", help="Keep decoded clips there. [default: in memory]"),
    ] = None,
    digest: Annotated[
        str, typer.Option(metavar="HOW", help="How --resume knows the files again: by 'parts' of them, or 'all'.")
    ] = "parts",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out files that cannot be read, up to a tenth of them.")
    ] = False,
    epochs: Annotated[int, typer.Option(metavar="N", min=1, help="Passes over all windows.")] = 50,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Windows a training step.")] = 16,
    learning_rate: Annotated[float, typer.Option(metavar="X", min=1e-8, help="Of Adam at its peak.")] = 1e-3,
    width: Annotated[
        int, typer.Option(metavar="N", min=24, help="Channels of the network's first level, a multiple of 24.")
    ] = 48,
    latent_factor: Annotated[
        int | None,
        typer.Option(metavar="N", help="Train an autoencoder first, whose frames are 2, 4 or 8 times smaller."),
    ] = None,
    latent_channels: Annotated[
        int, typer.Option(metavar="N", min=1, help="Numbers a latent pixel, with --latent-factor.")
    ] = 4,
    autoencoder_epochs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Passes over all frames, with --latent-factor.")
    ] = 20,
    autoencoder: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="FILE", help="Train in the latent of this autoencoder, from kvdiff autoencoder."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of weights, noise and order.")] = 0,
    save_every: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Training steps between checkpoints. [default: an epoch's]")
    ] = None,
    preview_every: Annotated[
        int, typer.Option(metavar="N", min=0, help="Epochs between GIFs of generated clips; 0 writes none.")
    ] = 10,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training that was cut off in the folder, bit for bit.")
    ] = False,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes on this machine that share every batch.")
    ] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in the folder.")] = False,
) -> None:
    """Train a model on your own clips.

    Writes RUN/model.keras, and into RUN/training checkpoints, configuration, metrics and previews. One training serves
    every task: generate, predict and interpolate. Ctrl-C and SIGTERM save it; the same command with --resume goes on.
    Until then, and while it trains, the other commands take the newest checkpoint of RUN.

    It trains on all GPUs of the machine; on a cluster, run it on every worker, with TF_CONFIG set and RUN in a folder
    that all share. Several workers end at once when interrupted, and go on from their newest checkpoint.

    Example: kvdiff train my_videos --epochs 100 -o saved_models/my_clips
    """
    check_numbers(channels=channels, size=size, width=width)
    check_latent(latent_factor, size, multiple=4, autoencoder=autoencoder)
    check_folder(output, clips, resume=resume, overwrite=overwrite)
    check_folder_writable(output)
    require("keras", "tensorflow", "filelock")
    if preview_every:
        check_previews()
    if workers > 1 and num_workers() == 1:
        raise typer.Exit(run_workers([sys.executable, "-c", _COMMAND, *sys.argv[1:]], workers))
    shape = (frames, size, size, channels)
    strategy, say = _strategy(), typer.echo if worker_number() == 0 else _nothing
    network = dict(factor=latent_factor, latent_channels=latent_channels)
    first = dict(epochs=autoencoder_epochs, links=links, seed=seed, resume=resume, strategy=strategy)
    codec = chosen_autoencoder(autoencoder, clips, output, shape[1:], network, **first)
    with strategy.scope():
        model = _model(ClipSpec(*shape, fps=fps), width, seed, **({} if codec is None else {"codec": codec}))
    reading: dict[str, Any] = dict(window_step=stride, target_fps=fps, default_fps=default_fps, digest=digest)
    reading |= dict(on_bad="skip" if skip_bad else "raise", links=links, seed=seed, cache=cache or "memory")
    reading |= dict(announce=functools.partial(say, err=True))
    batches = _batches(clips, shape, batch_size, **reading)
    if codec is not None:
        latents = latents_of(batches, output / LATENTS, model.spec, anew=not resume)
        batches = _batches(clips, shape, batch_size, latents=latents, **reading)
    steps = batches.steps_per_epoch
    say(f"{batches.num_samples} windows of {frames} frames: {epochs} epochs of {steps} steps.")
    with strategy.scope():
        _compile(model, learning_rate, epochs * steps)
    is_first = worker_number() == 0
    with _room(model, output) if is_first else contextlib.nullcontext(_nothing) as make_room:
        try:
            _fit(model, batches, output / TRAINING, epochs, preview_every, every=save_every, resume=resume)
        except (KeyboardInterrupt, SystemExit):
            if any((output / CHECKPOINTS).glob("step-*.npz")):
                sample = f"kvdiff generate {output} -o new.gif"
                say(f"The same command with --resume goes on. What there is can be used: {sample}", err=True)
            raise
        if is_first:
            make_room()
            typer.echo(f"Wrote {save_keras(model, output)}. Try: kvdiff generate {output} -o new.gif")


def _nothing(text: str = "", *, err: bool = False) -> None:
    """What every worker but the first says and does."""


def _room(model: VideoDiffusion, output: pathlib.Path) -> contextlib.AbstractContextManager[Callable[[], None]]:
    """Room for model.keras: weights, their averages and Adam's two moments, and a little for the archive."""
    output.mkdir(parents=True, exist_ok=True)
    weights = sum(math.prod(variable.shape) for variable in model.variables)
    return room_for(output / KERAS_FILE, 4 * 4 * weights + 2**21)


def _strategy() -> Any:
    with quiet_tensorflow():
        from kvdiff.training.cluster import training_strategy

        return training_strategy()


def _model(clip: ClipSpec, width: int, seed: int, codec: VideoAutoencoder | None = None) -> VideoDiffusion:
    import keras

    import kvdiff

    keras.utils.set_random_seed(seed)
    channels = clip.channels if codec is None else codec.shape.latent_channels
    denoiser = kvdiff.UNet3D(channels, widths=(width, 2 * width))
    return kvdiff.VideoDiffusion(clip, denoiser, codec=codec, seed=seed)


def _compile(model: VideoDiffusion, learning_rate: float, steps: int) -> None:
    """Adam with a cosine to zero; the averaged weights reach back over a tenth of the training."""
    import keras

    from kvdiff.training import FusedAdam

    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    momentum = min(max(1.0 - 10.0 / steps, 0.0), 0.999)
    model.compile(FusedAdam(rate, global_clipnorm=1.0, use_ema=True, ema_momentum=momentum))


def _batches(
    paths: list[pathlib.Path],
    clip_shape: tuple[int, int, int, int],
    batch_size: int,
    *,
    links: str | None = None,
    **options: Any,
) -> VideoBatches:
    """Every window of every clip, decoded once."""
    from kvdiff.data import list_paths, video_batches

    frames, height, width, channels = clip_shape
    batches = video_batches(
        list_paths(paths, links=links),
        label_mode=None,
        num_frames=frames,
        image_size=(height, width),
        clip_sampling="all",
        color_mode="grayscale" if channels == 1 else "rgb",
        batch_size=batch_size,
        **options,
    )
    batches.batch_size = min(batch_size, batches.num_samples)
    return batches


def _fit(
    model: VideoDiffusion,
    batches: VideoBatches,
    folder: pathlib.Path,
    epochs: int,
    preview_every: int,
    **saving: Any,
) -> None:
    """Train, with checkpoints that the first worker writes, a record of each, and previews where there is but one."""
    from kvdiff.training import Previews, RunRecord, Throughput, TrainingCheckpoint

    number, steps = worker_number(), batches.steps_per_epoch
    record = RunRecord(folder / f"worker{number}" if number else folder, data=batches.config)
    told = [Throughput(batches.batch_size), record]
    preview_every = preview_every if num_workers() == 1 else 0
    shown = [Previews(folder / "previews", every=preview_every, num_steps=20, scale=2)] if preview_every else []
    checkpoint = TrainingCheckpoint(folder / "checkpoints", batches, callbacks=told, writes=not number, **saving)
    if checkpoint.step and not number:
        typer.echo(f"Going on after step {checkpoint.step} of {epochs * steps}.")
    options = dict(epochs=epochs, steps_per_epoch=steps, shuffle=False, verbose=0 if number else "auto")
    model.fit(checkpoint.dataset(), callbacks=[*told, *shown, checkpoint], **options)
