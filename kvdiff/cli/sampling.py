"""generate, predict, interpolate: from a run and known frames to a file."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
import typer

from kvdiff.cli.options import (
    Eta,
    Fps,
    NumFrames,
    NumSteps,
    OnlyNew,
    Output,
    Overwrite,
    Run,
    RuntimeName,
    Scale,
    Seed,
    SolverName,
)
from kvdiff.cli.progress import progress_bars
from kvdiff.cli.runs import Runtime, open_run
from kvdiff.diffusion import ClipSampler

__all__ = ["generate", "interpolate", "predict"]


def generate(
    run: Run,
    output: Output,
    num_clips: Annotated[int, typer.Option(metavar="N", min=1, help="How many clips to make.")] = 1,
    num_frames: NumFrames = None,
    num_steps: NumSteps = 20,
    solver: SolverName = "ddim",
    eta: Eta = None,
    seed: Seed = 0,
    runtime: RuntimeName = Runtime.auto,
    fps: Fps = 8.0,
    scale: Scale = 1,
    overwrite: Overwrite = False,
) -> None:
    """Make new clips from noise.

    Example: kvdiff generate saved_models/demo --num-clips 9 -o new.gif
    """
    _check_output(output, overwrite)
    sampler = open_run(run, runtime)
    with _sampling(num_steps, solver, eta, seed) as keywords:
        clips = sampler.generate(num_clips, num_frames=num_frames, **keywords)
    _write(output, [clips], fps, scale)


def predict(
    run: Run,
    clip: Annotated[
        pathlib.Path, typer.Argument(metavar="CLIP", help="The past: a .gif, .mp4, .webm, … or .npy file.")
    ],
    output: Output,
    past: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="The clip's last frames to go by. [default: half the training length]"),
    ] = None,
    num_frames: NumFrames = None,
    only_new: OnlyNew = False,
    num_steps: NumSteps = 20,
    solver: SolverName = "ddim",
    eta: Eta = None,
    seed: Seed = 0,
    runtime: RuntimeName = Runtime.auto,
    fps: Fps = 8.0,
    scale: Scale = 1,
    overwrite: Overwrite = False,
) -> None:
    """Continue a clip: predict the frames after its last.

    Videos of another size are resized and cut to the model's.

    Example: kvdiff predict saved_models/demo past.gif -o future.gif
    """
    _check_output(output, overwrite)
    sampler = open_run(run, runtime)
    known = _read(clip, sampler)[:, -(past or max(sampler.clip_spec.num_frames // 2, 1)) :]
    with _sampling(num_steps, solver, eta, seed) as keywords:
        made = sampler.predict_frames(known, num_frames, **keywords)
    _write(output, [made] if only_new else [known, made], fps, scale)


def interpolate(
    run: Run,
    before: Annotated[
        pathlib.Path, typer.Argument(metavar="BEFORE", help="The clip before the gap; its last frames count.")
    ],
    after: Annotated[
        pathlib.Path, typer.Argument(metavar="AFTER", help="The clip after the gap; its first frames count.")
    ],
    output: Output,
    context: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Frames to go by on each side; two tell the motion. [default: a quarter of the length]",
        ),
    ] = None,
    num_frames: NumFrames = None,
    only_new: OnlyNew = False,
    num_steps: NumSteps = 20,
    solver: SolverName = "ddim",
    eta: Eta = None,
    seed: Seed = 0,
    runtime: RuntimeName = Runtime.auto,
    fps: Fps = 8.0,
    scale: Scale = 1,
    overwrite: Overwrite = False,
) -> None:
    """Fill the gap between two clips.

    Videos of another size are resized and cut to the model's.

    Example: kvdiff interpolate saved_models/demo a.gif b.gif -o filled.gif
    """
    _check_output(output, overwrite)
    sampler = open_run(run, runtime)
    side = context or max(sampler.clip_spec.num_frames // 4, 1)
    left, right = _read(before, sampler)[:, -side:], _read(after, sampler)[:, :side]
    with _sampling(num_steps, solver, eta, seed) as keywords:
        made = sampler.interpolate(left, right, num_frames, **keywords)
    _write(output, [made] if only_new else [left, made, right], fps, scale)


@contextmanager
def _sampling(num_steps: int, solver: str, eta: float | None, seed: int) -> Iterator[dict[str, Any]]:
    """The keywords of sampling, with a progress bar among them."""
    options = {} if eta is None else {"eta": eta}
    with progress_bars() as report:
        progress = functools.partial(report, "Sampling")
        yield dict(num_steps=num_steps, solver=solver, seed=seed, progress=progress, **options)


def _read(path: pathlib.Path, sampler: ClipSampler) -> np.ndarray:
    """The clips of a file in the model's size and channels: uint8 [clips, frames, height, width, channels]."""
    from kvdiff.media import read_clips

    height, width, channels = sampler.clip_spec.frame_shape
    size = None if path.suffix.lower() == ".npy" else (height, width)
    return read_clips(path, size=size, channels=channels)


def _check_output(path: pathlib.Path, overwrite: bool) -> None:
    """Refuse before the work what could not be written after it."""
    from kvdiff.media import check_writable

    check_writable(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists; pass --overwrite to replace it")


def _write(path: pathlib.Path, parts: list[np.ndarray], fps: float, scale: int) -> None:
    """Write parts that follow each other in time, pixels (given) or floats (made), [clips, frames, …] each."""
    from kvdiff.media import write_clips

    floats = [part / np.float32(127.5) - np.float32(1) if part.dtype == np.uint8 else part for part in parts]
    clips = np.concatenate(floats, axis=1)
    write_clips(path, clips, fps=fps, scale=scale)
    count, frames, height, width, _ = clips.shape
    typer.echo(f"Wrote {path}: {count} clip{'s' * (count > 1)} of {frames} frames, {height}×{width} pixels.")
