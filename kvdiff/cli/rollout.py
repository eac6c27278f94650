"""rollout: a video of any length, its plan shown before it is made."""

from __future__ import annotations

import pathlib
from typing import Annotated, Any

import typer

from kvdiff.cli.options import (
    Actions,
    ContextNoise,
    Eta,
    Fps,
    Guidance,
    Label,
    NumSteps,
    Output,
    Overwrite,
    Run,
    RuntimeName,
    Scale,
    Seed,
    SolverName,
)
from kvdiff.cli.runs import Runtime, open_run
from kvdiff.cli.sampling import check_output, read, sampling_keywords, write
from kvdiff.diffusion import ClipSampler
from kvdiff.diffusion.checks import check_choice
from kvdiff.diffusion.solvers.by_name import DEFAULT_NUM_STEPS, DEFAULT_SOLVER
from kvdiff.diffusion.tasks.plan import Plan
from kvdiff.diffusion.tasks.plans import PLANS

__all__ = ["rollout"]


def rollout(
    run: Run,
    output: Output,
    num_frames: Annotated[int, typer.Option(metavar="N", min=2, help="Frames of the whole video, the past included.")],
    clip: Annotated[
        pathlib.Path | None,
        typer.Argument(metavar="[CLIP]", help="The past: a .gif, .mp4, .webm, … or .npy file. [default: none]"),
    ] = None,
    past: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="The clip's last frames to go by. [default: half the training length]"),
    ] = None,
    plan: Annotated[str, typer.Option(metavar="NAME", help=f"Which windows: {', '.join(PLANS)}.")] = "autoregressive",
    window: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="Frames made together. [default: the training length]")
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Finished frames that a window of autoregressive or rolling goes by. [default: half, a quarter]",
        ),
    ] = None,
    context_noise: ContextNoise = 0.0,
    num_clips: Annotated[int, typer.Option(metavar="N", min=1, help="How many videos, where no CLIP is given.")] = 1,
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
    """Make a video of any length, window by window.

    Example: kvdiff rollout saved_models/demo past.gif --num-frames 80 -o long.gif
    """
    check_output(output, overwrite)
    sampler = open_run(run, runtime)
    known = None if clip is None else read(clip, sampler)[:, -(past or max(sampler.clip_spec.num_frames // 2, 1)) :]
    chosen = _plan(sampler, plan, num_frames, 0 if known is None else known.shape[1], window, overlap)
    clips = num_clips if known is None else len(known)
    megabytes = chosen.memory(sampler.clip_spec.frame_shape, num_clips=clips) / 2**20
    typer.echo(
        f"{chosen}\n{chosen.calls(num_steps)} network calls with one a step; about {megabytes:.1f} MiB of video."
    )
    with sampling_keywords(sampler, num_steps, solver, eta, label, actions, guidance, seed) as keywords:
        made = sampler.rollout(
            num_frames, known, num_clips=num_clips, plan=chosen, context_noise=context_noise, **keywords
        )
    write(output, [made], fps, scale)


def _plan(
    sampler: ClipSampler, name: str, num_frames: int, known: int, window: int | None, overlap: int | None
) -> Plan:
    """The plan by name, with what was said of its windows."""
    options: dict[str, Any] = {}
    if overlap is not None:
        names = {"autoregressive": "overlap", "rolling": "context"}
        options[names[check_choice("overlap of plan", name, names)]] = overlap
    make = PLANS[check_choice("plan", name, PLANS)]
    return make(num_frames, window or sampler.clip_spec.num_frames, known=known, **options)
