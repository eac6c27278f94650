"""Clips from files in a model's size and clock, and sampled videos to a file."""

from __future__ import annotations

import math
import pathlib

import numpy as np
import typer

from kvdiff.cli.field_options import DataOptions
from kvdiff.cli.options import Writing
from kvdiff.diffusion import Sampler
from kvdiff.diffusion.tasks.known_frames import most_known
from kvdiff.fields import DATASET_SUFFIXES, check_dataset_writable, pictures_of

_SLOWEST = 0.5  # Frames a second: a picture of a slower clock, such as a radar's, plays at a pace to look at.


def read(
    path: pathlib.Path, sampler: Sampler, links: str | None = None, **part: int
) -> tuple[np.ndarray, float | None]:
    """The clips of a file in the model's size, channels and clock, and frames a second, None without a clock.

    uint8 [clips, frames, height, width, channels]. A model without a clock takes frames as they are. `first=…` or
    `last=…` is how many frames to read.
    """
    from kvdiff.media import read_timed_clips

    height, width, channels = sampler.spec.clip.frame_shape
    size, clock = None if path.suffix.lower() == ".npy" else (height, width), sampler.spec.clip.fps
    clips = read_timed_clips(path, size=size, channels=channels, links=links, target_fps=clock, **part)
    if clock is not None and clips.source_fps is None:
        typer.echo(f"{path} has no clock: its frames are taken as {clock:g} a second.", err=True)
    elif clock is not None and not math.isclose(clips.source_fps or 0.0, clock, rel_tol=0.01):
        typer.echo(f"{path}: source {clips.source_fps:g} fps → model {clock:g} fps.", err=True)
    if size not in (None, clips.source_size):
        theirs = "×".join(map(str, clips.source_size))
        typer.echo(f"{path}: frames of {theirs} → model {height}×{width}, resized and cut.", err=True)
    return clips.frames, clips.fps


def last_frames(
    path: pathlib.Path, sampler: Sampler, count: int | None, links: str | None = None
) -> tuple[np.ndarray, float | None]:
    """The last `count` frames of a file's clips, by default half the training length, or all where there are fewer.

    With them frames a second, as `read` returns it.
    """
    clips, source = read(path, sampler, links, last=count or max(sampler.spec.clip.num_frames // 2, 1))
    check_count("--past", count, clips, path)
    return clips, source


def check_count(option: str, count: int | None, clips: np.ndarray, path: pathlib.Path) -> None:
    """Refuse to take fewer frames than were asked for."""
    if count is not None and count > clips.shape[1]:
        raise ValueError(f"`{option}`: expected at most the {clips.shape[1]} frames of {path}. Received: {count}")


def check_past(sampler: Sampler, past: int | None, num_frames: int | None) -> None:
    """Refuse more known frames than training showed in a clip that is generated at once."""
    clip, trained = sampler.spec.clip, sampler.spec.known_frames
    if past is None or num_frames is not None or trained is None:  # Of a longer video each window knows fewer.
        return
    most = most_known(trained, clip.num_frames)
    if past > most:
        raise ValueError(
            f"--past: expected 1 to {most}, as in the training, of {clip.num_frames} frames, or --num-frames too. "
            f"Received: {past}"
        )


def check_output(asked: Writing) -> None:
    """Refuse before the work what could not be written after it."""
    from kvdiff.media import check_writable

    if isinstance(asked, DataOptions) and asked.output.suffix.lower() in DATASET_SUFFIXES:
        check_dataset_writable(asked.output, overwrite=asked.overwrite)
        return
    check_writable(asked.output, fps=8.0 if asked.fps is None else asked.fps)
    if asked.output.exists() and not asked.overwrite:
        raise FileExistsError(f"{asked.output}: exists; pass --overwrite to replace it")


def write(
    asked: Writing, sampler: Sampler, parts: list[np.ndarray], *, known: int = 0, source: float | None = None
) -> None:
    """Write parts that follow each other in time, known pixels or generated numbers.

    Each is [clips, frames, height, width, channels], or of an ensemble [members, clips, …]; members share the others.

    Args:
        asked: the file, and how.
        sampler: whose values and clock they are.
        parts: as above.
        known: how many of the frames are known, which a line says.
        source: frames a second of the file of known frames: the rate where neither option nor model says one.
    """
    from kvdiff.media import enlarge, write_array, write_clips

    ensemble = max((part.shape[:-5] for part in parts), key=len)
    clips = np.concatenate([_checked(sampler, part, ensemble) for part in parts], axis=-4)
    if asked.output.suffix.lower() == ".npy":
        write_array(asked.output, enlarge(clips, asked.scale))
    else:
        pictures = pictures_of(sampler.spec.values, clips)
        write_clips(asked.output, pictures, fps=rate_of(asked, sampler, source), scale=asked.scale)
    say_written(asked, clips.shape, known=known)


def rate_of(asked: Writing, sampler: Sampler, source: float | None) -> float:
    """Frames a second of the file to write, by what `write` says of them."""
    clock = sampler.spec.clip.fps if (sampler.spec.clip.fps or 0.0) >= _SLOWEST else None
    return asked.fps or clock or source or 8.0


def say_written(asked: Writing, shape: tuple[int, ...], *, known: int) -> None:
    """The line that says what was written: clips of that shape, of which so many frames are known."""
    count, frames, height, width, _ = shape[-5:]
    members = "".join(f"{number} member{'s' * (number > 1)} of " for number in shape[:-5])
    generated = f"{known} known, {frames - known} generated" if known else "all generated"
    typer.echo(
        f"Wrote {asked.output}: {members}{count} clip{'s' * (count > 1)} of {frames} frames ({generated}), "
        f"{height}×{width} pixels."
    )


def _checked(sampler: Sampler, part: np.ndarray, ensemble: tuple[int, ...]) -> np.ndarray:
    """A part in the model's numbers, for every member."""
    numbers = sampler.spec.checked("clips", part.reshape(-1, *part.shape[-4:]))
    return np.broadcast_to(numbers.reshape(part.shape), (*ensemble, *part.shape[-5:]))
