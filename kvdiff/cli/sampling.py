"""generate, predict, interpolate, infill: from a run and known frames to a file."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
import typer

from kvdiff.cli.options import (
    Actions,
    Eta,
    Fps,
    Guidance,
    Label,
    NumFrames,
    NumSteps,
    OnlyNew,
    Output,
    Overwrite,
    PlanName,
    Run,
    RuntimeName,
    Scale,
    Seed,
    SolverName,
)
from kvdiff.cli.progress import progress_bars
from kvdiff.cli.runs import Runtime, open_run
from kvdiff.diffusion import ClipSampler
from kvdiff.diffusion.conditions.kinds import ClassLabel, FrameVectors
from kvdiff.diffusion.solvers.by_name import DEFAULT_NUM_STEPS, DEFAULT_SOLVER

__all__ = ["generate", "infill", "interpolate", "predict"]


def generate(
    run: Run,
    output: Output,
    num_clips: Annotated[int, typer.Option(metavar="N", min=1, help="How many clips to make.")] = 1,
    num_frames: NumFrames = None,
    num_steps: NumSteps = DEFAULT_NUM_STEPS,
    solver: SolverName = DEFAULT_SOLVER,
    eta: Eta = None,
    label: Label = None,
    actions: Actions = None,
    guidance: Guidance = 1.0,
    seed: Seed = 0,
    runtime: RuntimeName = Runtime.auto,
    fps: Fps = 8.0,
    scale: Scale = 1,
    overwrite: Overwrite = False,
) -> None:
    """Make new clips from noise.

    Example: kvdiff generate saved_models/demo --num-clips 9 -o new.gif
    """
    check_output(output, overwrite)
    sampler = open_run(run, runtime)
    with sampling_keywords(sampler, num_steps, solver, eta, label, actions, guidance, seed) as keywords:
        clips = sampler.generate(num_clips, num_frames=num_frames, **keywords)
    write(output, [clips], fps, scale)


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
    plan: PlanName = None,
    only_new: OnlyNew = False,
    num_steps: NumSteps = DEFAULT_NUM_STEPS,
    solver: SolverName = DEFAULT_SOLVER,
    eta: Eta = None,
    label: Label = None,
    actions: Actions = None,
    guidance: Guidance = 1.0,
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
    check_output(output, overwrite)
    sampler = open_run(run, runtime)
    known = read(clip, sampler)[:, -(past or max(sampler.clip_spec.num_frames // 2, 1)) :]
    with sampling_keywords(sampler, num_steps, solver, eta, label, actions, guidance, seed) as keywords:
        if plan is None:
            made = sampler.predict_frames(known, num_frames, **keywords)
        else:
            given = known.shape[1]
            made = sampler.rollout(given + (num_frames or sampler.clip_spec.num_frames), known, plan=plan, **keywords)
            made = made[:, given:]
    write(output, [made] if only_new else [known, made], fps, scale)


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
    num_steps: NumSteps = DEFAULT_NUM_STEPS,
    solver: SolverName = DEFAULT_SOLVER,
    eta: Eta = None,
    label: Label = None,
    actions: Actions = None,
    guidance: Guidance = 1.0,
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
    check_output(output, overwrite)
    sampler = open_run(run, runtime)
    side = context or max(sampler.clip_spec.num_frames // 4, 1)
    left, right = read(before, sampler)[:, -side:], read(after, sampler)[:, :side]
    with sampling_keywords(sampler, num_steps, solver, eta, label, actions, guidance, seed) as keywords:
        made = sampler.interpolate(left, right, num_frames, **keywords)
    write(output, [made] if only_new else [left, made, right], fps, scale)


def infill(
    run: Run,
    clip: Annotated[
        pathlib.Path, typer.Argument(metavar="CLIP", help="The clip: a .gif, .mp4, .webm, … or .npy file.")
    ],
    known: Annotated[
        str, typer.Option(metavar="FRAMES", help='The frames to keep, from 0, e.g. "0-2,6"; the others are made anew.')
    ],
    output: Output,
    num_steps: NumSteps = DEFAULT_NUM_STEPS,
    solver: SolverName = DEFAULT_SOLVER,
    eta: Eta = None,
    label: Label = None,
    actions: Actions = None,
    guidance: Guidance = 1.0,
    seed: Seed = 0,
    runtime: RuntimeName = Runtime.auto,
    fps: Fps = 8.0,
    scale: Scale = 1,
    overwrite: Overwrite = False,
) -> None:
    """Keep some frames of a clip and make the others.

    Example: kvdiff infill saved_models/demo clip.gif --known 0-2,7 -o filled.gif
    """
    check_output(output, overwrite)
    sampler = open_run(run, runtime)
    clips = read(clip, sampler)
    mask = known_frames(known, clips.shape[1])
    with sampling_keywords(sampler, num_steps, solver, eta, label, actions, guidance, seed) as keywords:
        made = sampler.infill(clips, mask, **keywords)
    write(output, [made], fps, scale)


def known_frames(text: str, frames: int) -> np.ndarray:
    """bool [frames] from a list such as "0-2,6"."""
    known = np.zeros(frames, bool)
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or not int(first) <= int(last or first) < frames:
            raise ValueError(
                f'`known`: expected frames from 0 to {frames - 1} such as "0-2,6". Received: {part!r} in {text!r}'
            )
        known[int(first) : int(last or first) + 1] = True
    return known


def conditions(sampler: ClipSampler, label: int | None, actions: pathlib.Path | None) -> dict[str, Any]:
    """What --label and --actions say, by the names that the model's conditions have."""
    told: dict[str, Any] = {}
    for option, kind, value in (("--label", ClassLabel, label), ("--actions", FrameVectors, actions)):
        if value is None:
            continue
        names = [name for name, condition in sampler.conditions.items() if isinstance(condition, kind)]
        if len(names) != 1:
            raise ValueError(
                f"{option}: expected a model with one condition of kind {kind.name}. "
                f"Received: one with conditions {sorted(sampler.conditions) or 'none'}"
            )
        told[names[0]] = np.load(value, allow_pickle=False) if isinstance(value, pathlib.Path) else value
    return told


@contextmanager
def sampling_keywords(
    sampler: ClipSampler,
    num_steps: int,
    solver: str,
    eta: float | None,
    label: int | None,
    actions: pathlib.Path | None,
    guidance: float,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """The keywords of sampling, with a progress bar among them."""
    keywords: dict[str, Any] = {} if eta is None else {"eta": eta}
    keywords |= {"conditions": conditions(sampler, label, actions), "guidance": guidance}
    with progress_bars() as report:
        progress = functools.partial(report, "Sampling")
        yield dict(num_steps=num_steps, solver=solver, seed=seed, progress=progress, **keywords)


def read(path: pathlib.Path, sampler: ClipSampler) -> np.ndarray:
    """The clips of a file in the model's size and channels: uint8 [clips, frames, height, width, channels]."""
    from kvdiff.media import read_clips

    height, width, channels = sampler.clip_spec.frame_shape
    size = None if path.suffix.lower() == ".npy" else (height, width)
    return read_clips(path, size=size, channels=channels)


def check_output(path: pathlib.Path, overwrite: bool) -> None:
    """Refuse before the work what could not be written after it."""
    from kvdiff.media import check_writable

    check_writable(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists; pass --overwrite to replace it")


def write(path: pathlib.Path, parts: list[np.ndarray], fps: float, scale: int) -> None:
    """Write parts that follow each other in time, pixels (given) or floats (made), [clips, frames, …] each."""
    from kvdiff.media import write_clips

    floats = [part / np.float32(127.5) - np.float32(1) if part.dtype == np.uint8 else part for part in parts]
    clips = np.concatenate(floats, axis=1)
    write_clips(path, clips, fps=fps, scale=scale)
    count, frames, height, width, _ = clips.shape
    typer.echo(f"Wrote {path}: {count} clip{'s' * (count > 1)} of {frames} frames, {height}×{width} pixels.")
