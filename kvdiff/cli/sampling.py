"""generate, predict, interpolate, infill, rollout: from a run and known frames to a file."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
import typer

from kvdiff.cli.field_options import Forecasting
from kvdiff.cli.fields import is_forecast, opened_field, predict_field
from kvdiff.cli.long_videos import call_of, check_begun, write_stream
from kvdiff.cli.options import Links, NumFrames, NumMembers, OnlyNew, Run, Writing, with_sampling
from kvdiff.cli.progress import progress_bars
from kvdiff.cli.runs import open_run
from kvdiff.cli.videos import check_count, check_output, check_past, last_frames, read, write
from kvdiff.diffusion import Plan, Sampler, masks
from kvdiff.diffusion.checks import check_choice
from kvdiff.diffusion.solvers.by_name import DEFAULT_NUM_STEPS
from kvdiff.diffusion.tasks.plans import PLANS, plan_for
from kvdiff.fields import DATASET_SUFFIXES

Past = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="The clip's last frames to go by. [default: half the training length]"),
]


_MOST_SHOWN = 100  # Windows of a plan; a longer one has its title alone.


@with_sampling
def generate(
    run: Run,
    asked: Writing,
    num_clips: Annotated[int, typer.Option(metavar="N", min=1, help="How many clips to generate.")] = 1,
    num_frames: NumFrames = None,
) -> None:
    """Generate new clips from noise.

    Example: kvdiff generate saved_models/demo --num-clips 9 -o new.gif
    """
    sampler = _opened(run, asked)
    with _progress(asked.keywords(sampler)) as keywords:
        clips = sampler.generate(num_clips, num_frames=num_frames, **keywords)
    write(asked, sampler, [clips])


@with_sampling
def predict(
    run: Run,
    clip: Annotated[
        pathlib.Path,
        typer.Argument(metavar="CLIP", help="The past: a .gif, .mp4, .webm, .npy, .nc, .zarr, .tif, … file."),
    ],
    asked: Forecasting,
    past: Past = None,
    num_frames: NumFrames = None,
    only_new: OnlyNew = False,
    num_members: NumMembers = None,
    links: Links = None,
) -> None:
    """Continue a clip: predict the frames after its last.

    Videos of another size are resized and cut to the model's. Of data with units, a .nc or .zarr output has its
    coordinates continued.

    Example: kvdiff predict saved_models/demo past.gif -o future.gif
    """
    sampler = _opened(run, asked)
    check_past(sampler, past, num_frames)
    if is_forecast(clip, asked):
        opened = opened_field(run, clip, sampler, asked)
        with _progress(asked.keywords(sampler)) as keywords:
            sampling = {**keywords, "num_members": num_members}
            known, future = predict_field(opened, sampler, asked, past, num_frames, sampling)
        if asked.output.suffix.lower() not in DATASET_SUFFIXES:
            parts = [future] if only_new else [known, future]
            write(asked, sampler, parts, known=0 if only_new else known.shape[1])
        return
    known, source = last_frames(clip, sampler, past, links)
    if asked.plan is not None and num_frames is None:
        num_frames = sampler.spec.clip.num_frames
    with _progress(asked.keywords(sampler)) as keywords:
        future = sampler.predict_frames(known, num_frames, num_members=num_members, **keywords)
    parts = [future] if only_new else [known, future]
    write(asked, sampler, parts, known=0 if only_new else known.shape[1], source=source)


@with_sampling
def interpolate(
    run: Run,
    before: Annotated[
        pathlib.Path, typer.Argument(metavar="BEFORE", help="The clip before the gap; its last frames count.")
    ],
    after: Annotated[
        pathlib.Path, typer.Argument(metavar="AFTER", help="The clip after the gap; its first frames count.")
    ],
    asked: Writing,
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
    num_members: NumMembers = None,
    links: Links = None,
) -> None:
    """Fill the gap between two clips.

    Videos of another size are resized and cut to the model's.

    Example: kvdiff interpolate saved_models/demo a.gif b.gif -o filled.gif
    """
    sampler = _opened(run, asked)
    side = context or max(sampler.spec.clip.num_frames // 4, 1)
    (left, source), (right, _) = read(before, sampler, links, last=side), read(after, sampler, links, first=side)
    for path, clips in ((before, left), (after, right)):
        check_count("--context", context, clips, path)
    with _progress(asked.keywords(sampler)) as keywords:
        between = sampler.interpolate(left, right, num_frames, num_members=num_members, **keywords)
    parts = [between] if only_new else [left, between, right]
    write(asked, sampler, parts, known=0 if only_new else left.shape[1] + right.shape[1], source=source)


@with_sampling
def infill(
    run: Run,
    clip: Annotated[
        pathlib.Path, typer.Argument(metavar="CLIP", help="The clip: a .gif, .mp4, .webm, … or .npy file.")
    ],
    known: Annotated[
        str,
        typer.Option(metavar="FRAMES", help='The frames to keep, from 0, e.g. "0-2,6"; the others are generated.'),
    ],
    asked: Writing,
    num_members: NumMembers = None,
    links: Links = None,
) -> None:
    """Keep some frames of a clip and generate the others.

    Example: kvdiff infill saved_models/demo clip.gif --known 0-2,7 -o filled.gif
    """
    sampler = _opened(run, asked)
    clips, source = read(clip, sampler, links)
    mask = _known_frames(known, clips.shape[1])
    with _progress(asked.keywords(sampler)) as keywords:
        filled = sampler.infill(clips, mask, num_members=num_members, **keywords)
    write(asked, sampler, [filled], known=int(mask.sum()), source=source)


@with_sampling
def rollout(
    run: Run,
    asked: Writing,
    num_frames: Annotated[int, typer.Option(metavar="N", min=2, help="Frames of the whole video, the past included.")],
    clip: Annotated[
        pathlib.Path | None,
        typer.Argument(metavar="[CLIP]", help="The past: a .gif, .mp4, .webm, … or .npy file. [default: none]"),
    ] = None,
    past: Past = None,
    window: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="Frames of a window. [default: the training length]")
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Finished frames that a window of autoregressive or rolling goes by. [default: half, a quarter]",
        ),
    ] = None,
    num_clips: Annotated[int, typer.Option(metavar="N", min=1, help="How many videos, without a CLIP.")] = 1,
    num_members: NumMembers = None,
    links: Links = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the video that was cut off.")] = False,
) -> None:
    """Generate a video of any length, window by window.

    Frames are written as they come, to a folder beside the output until all are there. After Ctrl-C or a kill the same
    command with --resume goes on, and writes the same file.

    Example: kvdiff rollout saved_models/demo past.gif --num-frames 80 -o long.gif
    """
    check_begun(asked, resume=resume)
    sampler = _opened(run, asked)
    known, source = (None, None) if clip is None else last_frames(clip, sampler, past, links)
    keywords = asked.keywords(sampler)
    count = 0 if known is None else known.shape[1]
    if count >= num_frames:
        past_frames = f"the {count} frames of the past (--past says how many)"
        raise ValueError(f"`num_frames`: expected more than {past_frames}, for they count. Received: {num_frames}")
    options = dict(num_frames=num_frames, num_clips=num_clips, num_members=num_members, window=window, overlap=overlap)
    call = call_of(sampler, known, **options, **keywords)
    plan = _plan(
        sampler, num_frames, count, window, overlap, keywords.pop("plan", None), keywords.pop("at_a_time", None)
    )
    steps = keywords.get("num_steps", sampler.spec.sampling.get("rollout", {}).get("num_steps", DEFAULT_NUM_STEPS))
    calls, frame_calls = plan.calls(steps), plan.frame_calls(steps)
    shown = plan if len(plan.windows) <= _MOST_SHOWN else plan.title
    typer.echo(f"{shown}\n{calls} network calls with one a step, {frame_calls} frame-calls.")
    with _progress(keywords) as keywords:
        stream = sampler.stream(known, num_clips=num_clips, num_members=num_members, plan=plan, **keywords)
        write_stream(asked, sampler, stream, known, call, resume=resume, source=source)


def _opened(run: pathlib.Path, asked: Writing) -> Sampler:
    """The sampler of a run, once it is certain that its video can be written."""
    check_output(asked)
    return open_run(run, asked.runtime, asked.precision)


def _plan(
    sampler: Sampler,
    num_frames: int,
    known: int,
    window: int | None,
    overlap: int | None,
    name: str | None,
    at_a_time: int | None,
) -> Plan:
    """The plan that the options say, or the model's own."""
    own, length = sampler.spec.sampling.get("rollout", {}), window or sampler.spec.clip.num_frames
    if name is None and at_a_time is None and overlap is None:
        name, at_a_time = own.get("plan"), own.get("at_a_time")
    mask = masks.first(num_frames, known)
    if name is None and at_a_time is not None and overlap is None:
        return plan_for(None, at_a_time, mask, length, gaps=False)
    name = check_choice("plan", name or "autoregressive", PLANS)
    options: dict[str, Any] = {} if at_a_time is None else {"at_a_time": at_a_time}
    if overlap is not None:
        names = {"autoregressive": "overlap", "rolling": "context"}
        if name not in names:
            raise ValueError(f"`overlap`: expected only with a `plan` among {sorted(names)}. Received: plan {name!r}")
        options[names[name]] = overlap
    return PLANS[name](num_frames, length, known=known, **options)


def _known_frames(text: str, frames: int) -> np.ndarray:
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


@contextmanager
def _progress(keywords: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The keywords of sampling, with a progress bar among them."""
    with progress_bars() as report:
        yield {**keywords, "progress": functools.partial(report, "Sampling")}
