"""What `kvdiff train` refuses before it works."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from kvdiff.cli.autoencoder import AUTOENCODER, check_latent
from kvdiff.cli.runs import CHECKPOINTS, KERAS_FILE, ONNX_FILE
from kvdiff.cli.train_options import PRECISIONS, Training
from kvdiff.diffusion.checks import check_choice

if TYPE_CHECKING:
    from kvdiff.cli.field_options import FieldTraining

_OF_FIELDS = {"outside": "--outside", "importance": "--importance"}
_OF_VIDEOS = {
    "fps": "--fps",
    "default_fps": "--default-fps",
    "links": "--links",
    "channels": "--channels",
    "labels": "--labels",
    "actions": "--actions",
    "validation_split": "--validation",
    "cache": "--cache",
    "digest": "--digest",
    "skip_bad": "--skip-bad",
}


def check_training(asked: Training, of_fields: FieldTraining, output: pathlib.Path, *, fields: bool) -> None:
    """Refuse options that do not go together, or not with the data."""
    sizes = asked.sizes or (32, 32)
    check_kind_of_data(asked, of_fields, fields=fields)
    if asked.precision is not None:
        check_choice("precision", asked.precision, PRECISIONS)
    if asked.patience is not None and asked.validation_split is None:
        raise ValueError(f"--patience: expected it with --validation. Received: {asked.patience} alone")
    if asked.labels and asked.actions is not None:
        raise ValueError(f"--labels, --actions: expected one of them. Received: both, {asked.actions}")
    past, frames = of_fields.past, asked.frames or 8
    if past is not None and past >= frames:
        raise ValueError(f"--past: expected 1 to {frames - 1}, of clips of {frames} frames. Received: {past}")
    check_drawing(asked.draw, asked.balance, fields=fields)
    check_numbers(channels=asked.channels or 3, size=(4, 4) if fields else sizes, width=asked.width)
    check_length(asked.epochs, asked.minutes)
    check_base(asked, past, output, fields=fields)
    check_latents(asked.latent_factor, sizes, asked.autoencoder, fields=fields)


def check_kind_of_data(asked: Training, of_fields: FieldTraining, *, fields: bool) -> None:
    """Refuse options that say nothing of such data, rather than pass over them."""
    other, owner = (asked, _OF_VIDEOS) if fields else (of_fields, _OF_FIELDS)
    for name, option in owner.items():
        if getattr(other, name) != type(other).__dataclass_fields__[name].default:
            raise ValueError(
                f"{option}: expected it with {'videos' if fields else 'data with units'} alone. Received: "
                f"{'data with units' if fields else 'videos'}"
            )


def check_base(asked: Training, past: int | None, output: pathlib.Path, *, fields: bool) -> None:
    """Refuse options that choose a network where a trained one is named, and those that need one where none is."""
    base = asked.base
    if base is None:
        if asked.lora is not None:
            raise ValueError(f"--lora: expected it with --from, whose model it tunes. Received: {asked.lora} alone")
        return
    if fields:
        raise ValueError(f"--from: expected it with videos alone. Received: {base} with data with units")
    for option, said in (
        ("--past", past),
        ("--precision", asked.precision),
        ("--recipe", asked.recipe),
        ("--width", asked.width),
        ("--latent-factor", asked.latent_factor),
        ("--autoencoder", asked.autoencoder),
    ):
        if said is not None:
            raise ValueError(f"{option}: expected it without --from, whose model has its own. Received: {said}, {base}")
    if pathlib.Path(base).resolve() in (output.resolve(), (output / KERAS_FILE).resolve()):
        raise ValueError(f"--output: expected another folder than --from, which stays as it is. Received: {output}")


def check_numbers(*, channels: int, size: tuple[int, int], width: int | None) -> None:
    """Refuse what the network cannot be built for, by the option's own name."""
    if channels not in (1, 3):
        raise ValueError(f"--channels: expected 1 for grey or 3 for colour. Received: {channels}")
    for name, number, unit in (("--size", size[0], 4), ("--size", size[1], 4), ("--width", width, 24)):
        if number is not None and number % unit:
            below = number // unit * unit
            nearest = f"{below} or {below + unit}" if below else f"{unit}"
            raise ValueError(f"{name}: expected a multiple of {unit}, e.g. {nearest}. Received: {number}")


def check_length(epochs: int | None, minutes: float | None) -> None:
    """Refuse two lengths."""
    if epochs is not None and minutes is not None:
        raise ValueError(f"--minutes: expected it without --epochs. Received: both, {minutes:g} and {epochs}")


def check_drawing(draw: bool, balance: bool, *, fields: bool) -> None:
    """Refuse options of windows that are drawn where none are."""
    if draw and fields:
        raise ValueError("--draw: expected it without data with units, whose windows are always read when needed")
    if balance and not draw:
        raise ValueError("--balance: expected it with --draw. Received: it alone")


def check_latents(factor: int | None, size: tuple[int, int], autoencoder: pathlib.Path | None, *, fields: bool) -> None:
    """Refuse an autoencoder that does not go with the data or the frames."""
    if fields and (factor or autoencoder):
        raise ValueError("--latent-factor, --autoencoder: expected neither with data with units. Received: one")
    for side in size:
        check_latent(factor, side, multiple=4, autoencoder=autoencoder)


def check_previews(every: int) -> None:
    """Miss PyAV now and not at the first preview."""
    if not every:
        return
    from kvdiff.media.libraries import import_av

    try:
        import_av()
    except ImportError as error:
        raise ImportError(f"{error}; or leave the previews out, with --preview-every 0") from error


def check_folder(output: pathlib.Path, clips: list[pathlib.Path], *, resume: bool, overwrite: bool) -> None:
    """Refuse to replace anything unasked, to write where nothing can be written, and to write among the clips."""
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(f"{output}: expected a folder. Received: a file")
    for folder in (path.resolve() for path in clips if path.is_dir()):
        inside = output.resolve()
        if inside.is_relative_to(folder) and not any(p.startswith(".") for p in inside.relative_to(folder).parts):
            raise ValueError(
                f"--output: expected a folder outside of the clips, {folder}, or a hidden one, for what a training "
                f"writes would be read as clips the next time. Received: {output}"
            )
    begun = any(any((output / folder).glob("step-*.npz")) for folder in (CHECKPOINTS, f"{AUTOENCODER}/checkpoints"))
    if resume and begun:
        return
    there = [name for name in (KERAS_FILE, ONNX_FILE) if (output / name).exists()]
    if there and not overwrite:
        raise FileExistsError(f"{output}: holds {' and '.join(there)}; pass --overwrite or name another folder")
    if begun and not overwrite:
        raise FileExistsError(f"{output}: holds a training; pass --resume to go on or --overwrite to begin anew")
