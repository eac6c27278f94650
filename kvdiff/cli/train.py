"""train: from files of clips to a run."""

from __future__ import annotations

import contextlib
import functools
import math
import pathlib
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kvdiff.cli.bad_files import advice_on_bad_files
from kvdiff.cli.budget import steps_in, too_short
from kvdiff.cli.field_options import FieldTraining, parse_size
from kvdiff.cli.fields import TrainingData
from kvdiff.cli.options import Links, with_sampling
from kvdiff.cli.room import room_for
from kvdiff.cli.runs import CHECKPOINTS, KERAS_FILE, TRAINING, quiet_tensorflow, require, save_keras
from kvdiff.cli.train_checks import (
    check_folder,
    check_latents,
    check_length,
    check_numbers,
    check_previews,
)
from kvdiff.cli.train_data import video_data, windows_read
from kvdiff.cli.workers import run_workers
from kvdiff.diffusion import ClipSpec
from kvdiff.media import check_folder_writable
from kvdiff.training.cluster import num_workers, worker_number

if TYPE_CHECKING:
    from kvdiff.data import FieldBatches, VideoBatches
    from kvdiff.models.video_diffusion import VideoDiffusion


@with_sampling
def train(
    clips: Annotated[
        list[pathlib.Path],
        typer.Argument(metavar="CLIPS", help="Files (.gif, .mp4, .webm, .npy, .nc, .zarr, …), or folders of them."),
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
        str | None,
        typer.Option(
            metavar="HxW",
            help="Height and width that videos are resized and cut to, e.g. 48x64, or one number for both; of data "
            "with units the part that a clip shows. [default: 32; whole frames of data with units]",
        ),
    ] = None,
    channels: Annotated[int, typer.Option(metavar="N", min=1, max=3, help="3 for colour, 1 for grey.")] = 3,
    cache: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="FOLDER", help="Keep decoded clips there. [default: in memory; with --draw not at all]"),
    ] = None,
    draw: Annotated[
        bool,
        typer.Option(
            "--draw",
            help="For long files: as many windows an epoch, each from anywhere in its part of a file and decoded when "
            "it is needed, in place of all of them from memory.",
        ),
    ] = False,
    balance: Annotated[
        bool, typer.Option("--balance", help="With --draw, every file equally often, however long it is.")
    ] = False,
    digest: Annotated[
        str, typer.Option(metavar="HOW", help="How --resume knows the files again: by 'parts' of them, or 'all'.")
    ] = "parts",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out files that cannot be read, up to a tenth of them.")
    ] = False,
    recipe: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Network and settings: 'tiny' for minutes of training, 'small' for an hour, 'base' for a night.",
        ),
    ] = "small",
    epochs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Passes over all windows. [default: 50, without --minutes]")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0.1, help="Train for about so long, in place of --epochs; a step is timed first."
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Windows a training step. [default: the recipe's]")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(metavar="X", min=1e-8, help="Of Muon at its peak. [default: the recipe's]")
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=24, help="Channels of the network's first level, a multiple of 24. [default: the recipe's]"
        ),
    ] = None,
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
    *,
    asked: FieldTraining,
) -> None:
    """Train a model on your own clips.

    Writes RUN/model.keras, and into RUN/training checkpoints, configuration, metrics and previews. One training serves
    every task: generate, predict and interpolate. Ctrl-C and SIGTERM save it; the same command with --resume goes on.
    Until then, and while it trains, the other commands take the newest checkpoint of RUN.

    It trains on all GPUs of the machine; on a cluster, run it on every worker, with TF_CONFIG set and RUN in a folder
    that all share. Several workers end at once when interrupted, and go on from their newest checkpoint.

    Example: kvdiff train my_videos --minutes 60 -o saved_models/my_clips

    Data with units (.nc, .zarr, .h5, .grib, .tif, .dcm, …) keeps them: kvdiff train radar.zarr --variable rate
    --values log1p --past 6 --frames 12 -o run
    """
    began = time.monotonic()
    sizes, fields = None if size is None else parse_size(size), asked.wanted(clips)
    kept = windows_read(output, cache, draw=draw, balance=balance, fields=fields)
    check_numbers(channels=channels, size=(4, 4) if fields else sizes or (32, 32), width=width)
    check_length(epochs, minutes)
    check_latents(latent_factor, sizes or (32, 32), autoencoder, fields=fields)
    reading = asked.augmentation(fields=fields, latent=bool(latent_factor or autoencoder))
    check_folder(output, clips, resume=resume, overwrite=overwrite)
    check_folder_writable(output)
    require("keras", "tensorflow", "filelock")
    check_previews(preview_every)
    if workers > 1 and num_workers() == 1:
        raise typer.Exit(run_workers([sys.executable, "-m", "kvdiff", *sys.argv[1:]], workers))
    from kvdiff.models.recipes import recipe_named

    chosen = recipe_named(recipe).changed(width=width, batch_size=batch_size, learning_rate=learning_rate)
    strategy, say = _strategy(), typer.echo if worker_number() == 0 else _nothing
    note = functools.partial(say, err=True)
    if fields:
        data = TrainingData.of(asked, clips, frames, sizes, note, chosen.batch_size, window_step=stride, seed=seed)
        model, batches, previews = data.trained(chosen, strategy, output / TRAINING, preview_every)
    else:
        reading |= dict(window_step=stride, target_fps=fps, default_fps=default_fps, digest=digest)
        reading |= dict(on_bad="skip" if skip_bad else "raise", links=links, seed=seed, announce=note, **kept)
        network = dict(factor=latent_factor, latent_channels=latent_channels)
        first = autoencoder, network, dict(epochs=autoencoder_epochs, resume=resume, strategy=strategy)
        clip = ClipSpec(frames, *(sizes or (32, 32)), channels, fps=fps)
        model, batches, previews = video_data(clips, clip, chosen, output, first, preview_every, **reading)
    with strategy.scope():
        rate = chosen.rate((epochs or 50) * batches.steps_per_epoch)
        model.compile(chosen.optimizer(rate))
    if minutes is not None:
        rate.steps, seconds = steps_in(minutes, model, batches, output / TRAINING, began=began, resume=resume)
        if rate.steps < chosen.enough_steps:
            say(too_short(rate.steps, chosen.enough_steps, minutes, seconds), err=True)
    say(f"{batches.num_samples} windows of {frames} frames: {rate.steps} steps of {batches.batch_size}.")
    is_first = worker_number() == 0
    if is_first and fields:
        data.write_record(output)
    with _room(model, output) if is_first else contextlib.nullcontext(_nothing) as make_room:
        try:
            _fit(model, batches, output / TRAINING, rate.steps, previews, every=save_every, resume=resume)
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


def _fit(
    model: VideoDiffusion,
    batches: VideoBatches | FieldBatches,
    folder: pathlib.Path,
    steps: int,
    previews: list[Any],
    **saving: Any,
) -> None:
    """Train, with checkpoints that the first worker writes, a record of each, and previews."""
    from kvdiff.training import RunRecord, StepBudget, Throughput, TrainingCheckpoint

    number = worker_number()
    record = RunRecord(folder / f"worker{number}" if number else folder, data=batches.config)
    recorded = [Throughput(batches.batch_size), record]
    budget = StepBudget(steps, (lambda _: None) if number else (lambda text: typer.echo(f"\n{text}", err=True)))
    checkpoint = TrainingCheckpoint(folder / "checkpoints", batches, callbacks=recorded, writes=not number, **saving)
    if checkpoint.step and not number:
        typer.echo(f"Going on after step {checkpoint.step} of {steps}.")
    options = dict(steps_per_epoch=batches.steps_per_epoch, shuffle=False, verbose=0 if number else "auto")
    options["epochs"] = -(-steps // batches.steps_per_epoch)
    with advice_on_bad_files(getattr(batches, "bad_files", None)):
        model.fit(checkpoint.dataset(), callbacks=[*recorded, budget, *previews, checkpoint], **options)
