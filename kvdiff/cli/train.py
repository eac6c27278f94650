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
from kvdiff.cli.field_options import FieldTraining
from kvdiff.cli.options import with_sampling
from kvdiff.cli.room import room_for
from kvdiff.cli.runs import CHECKPOINTS, KERAS_FILE, TRAINING, quiet_tensorflow, require, save_keras
from kvdiff.cli.settings import settings_of, with_settings, written_settings
from kvdiff.cli.train_checks import check_folder, check_previews, check_training
from kvdiff.cli.train_data import field_data, video_data, windows_read
from kvdiff.cli.train_options import Training
from kvdiff.cli.workers import run_workers
from kvdiff.media import check_folder_writable, write_bytes
from kvdiff.training.cluster import num_workers, worker_number

if TYPE_CHECKING:
    from kvdiff.data import FieldBatches, VideoBatches
    from kvdiff.models.video_diffusion import VideoDiffusion

SETTINGS = "settings.toml"


@with_settings
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
    *,
    asked: Training,
    fields: FieldTraining,
) -> None:
    """Train a model on your own clips.

    Writes RUN/model.keras, and into RUN/training checkpoints, settings, metrics and previews. One training serves
    every task: generate, predict and interpolate. Ctrl-C and SIGTERM save it; the same command with --resume goes on.
    Until then, and while it trains, the other commands take the newest checkpoint of RUN.

    It trains on all GPUs of the machine; on a cluster, run it on every worker, with TF_CONFIG set and RUN in a folder
    that all share. Several workers end at once when interrupted, and go on from their newest checkpoint.

    Example: kvdiff train my_videos --minutes 60 -o saved_models/my_clips

    From a model that is trained already: kvdiff train my_videos --from moving_digits --lora 8 --minutes 10 -o run

    Options from a file, such as the one that every training leaves: kvdiff train --config run/training/settings.toml
    -o again

    Data with units (.nc, .zarr, .h5, .grib, .tif, .dcm, …) keeps them: kvdiff train radar.zarr --variable rate
    --values log1p --past 6 --frames 12 -o run
    """
    began, is_field = time.monotonic(), fields.wanted(clips)
    check_training(asked, fields, output, fields=is_field)
    reading = {**windows_read(output, asked), **fields.augmentation(fields=is_field, latent=asked.is_latent)}
    check_folder(output, clips, resume=asked.resume, overwrite=asked.overwrite)
    check_folder_writable(output)
    require("keras", "tensorflow", "filelock")
    check_previews(asked.preview_every)
    if asked.workers > 1 and num_workers() == 1:
        raise typer.Exit(run_workers([sys.executable, "-m", "kvdiff", *sys.argv[1:]], asked.workers))
    strategy, say = _strategy(), typer.echo if worker_number() == 0 else _nothing
    note, recipe = functools.partial(say, err=True), asked.chosen_recipe()
    if is_field:
        model, batches, previews = field_data(clips, output, asked, fields, strategy, note)
        held_out = None
    else:
        how = dict(past=fields.past, announce=note, **reading)
        model, batches, held_out, previews = video_data(clips, output, asked, strategy, **how)
    with strategy.scope():
        rate = recipe.rate(asked.num_epochs * batches.steps_per_epoch)
        model.compile(recipe.optimizer(rate))
    if (minutes := asked.minutes) is not None:
        rate.steps, seconds = steps_in(minutes, model, batches, output / TRAINING, began=began, resume=asked.resume)
        if asked.base is None and rate.steps < recipe.enough_steps:
            note(too_short(rate.steps, recipe.enough_steps, minutes, seconds))
    frames = model.spec.clip.num_frames
    say(f"{batches.num_samples} windows of {frames} frames: {rate.steps} steps of {batches.batch_size}.")
    is_first = worker_number() == 0
    with _room(model, output) if is_first else contextlib.nullcontext(_nothing) as make_room:
        used = dict(clips=clips, output=output, **asked.used(model, recipe, fields=is_field), **vars(fields))
        try:
            _fit(model, batches, held_out, output / TRAINING, rate.steps, previews, _settings(used), asked)
        except (KeyboardInterrupt, SystemExit):
            if any((output / CHECKPOINTS).glob("step-*.npz")):
                sample = f"kvdiff generate {output} -o new.gif"
                note(f"The same command with --resume goes on. What there is can be used: {sample}")
            raise
        make_room()
        if model.lora is not None:
            model.merge_lora()
        if is_first:
            typer.echo(f"Wrote {save_keras(model, output)}. Try: kvdiff generate {output} -o new.gif")


def _nothing(text: str = "", *, err: bool = False) -> None:
    """What every worker but the first says and does."""


def _settings(values: dict[str, Any]) -> str:
    """What --config replays. How this command was called, such as --resume, is left out."""
    once = ("resume", "overwrite", "workers")
    return written_settings(
        {key: values[each.name] for key, each in settings_of(train).items() if each.name in values.keys() - once}
    )


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
    held_out: VideoBatches | None,
    folder: pathlib.Path,
    steps: int,
    previews: list[Any],
    settings: str,
    asked: Training,
) -> None:
    """Train, with settings and checkpoints that the first worker writes, a record of each, and previews."""
    import keras

    from kvdiff.training import RunRecord, StepBudget, Throughput, TrainingCheckpoint

    number = worker_number()
    record = RunRecord(folder / f"worker{number}" if number else folder, data=batches.config)
    recorded: list[Any] = [Throughput(batches.batch_size), record]
    if asked.patience is not None:
        recorded.append(keras.callbacks.EarlyStopping("val_loss", patience=asked.patience, restore_best_weights=True))
    budget = StepBudget(steps, (lambda _: None) if number else (lambda text: typer.echo(f"\n{text}", err=True)))
    saving: dict[str, Any] = dict(every=asked.save_every, resume=asked.resume, writes=not number)
    checkpoint = TrainingCheckpoint(folder / "checkpoints", batches, callbacks=recorded, **saving)
    if not number:
        write_bytes(folder / SETTINGS, settings.encode("utf-8", "replace"))
    if checkpoint.step and not number:
        typer.echo(f"Going on after step {checkpoint.step} of {steps}.")
    options = dict(steps_per_epoch=batches.steps_per_epoch, shuffle=False, verbose=0 if number else "auto")
    options["epochs"] = -(-steps // batches.steps_per_epoch)
    if held_out is not None:
        several = model.distribute_strategy.num_replicas_in_sync > 1  # None of them may have an empty batch.
        options["validation_data"] = held_out.epochs(drop_remainder=several)
    with advice_on_bad_files(getattr(batches, "bad_files", None)):
        model.fit(checkpoint.dataset(), callbacks=[*recorded, budget, *previews, checkpoint], **options)
