"""demo: the main job on moving digits."""

from __future__ import annotations

import pathlib
import shlex
import sys
from typing import Annotated

import typer

from kvdiff.cli.progress import progress_bars
from kvdiff.cli.runs import quiet_tensorflow


def demo(
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="Train the whole recipe (up to 90 minutes); goes on where it was cut off."),
    ] = False,
    directory: Annotated[
        pathlib.Path,
        typer.Option(metavar="FOLDER", help="Folder for the results; an earlier demo's files in it are replaced."),
    ] = pathlib.Path("saved_models/demo"),
    num_clips: Annotated[
        int, typer.Option(metavar="N", min=1, help="Unseen clips to predict, interpolate and generate.")
    ] = 64,
    num_steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Sampling steps. [default: the model's own for each task]")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of sampling.")] = 0,
) -> None:
    """Train, export, sample and report on moving digits.

    Trains the shipped model on for a little, exports it, predicts, interpolates and generates unseen digits with ONNX
    Runtime, and writes a report. Exits with 1 where the numbers fall short.

    Example: kvdiff demo, then open saved_models/demo/report.html
    """
    from kvdiff.demo import run_demo

    with quiet_tensorflow():
        import keras  # noqa: F401
    command = shlex.join(["kvdiff", *sys.argv[1:]])
    with progress_bars() as progress:
        code = run_demo(
            directory,
            from_scratch=from_scratch,
            num_clips=num_clips,
            num_steps=num_steps,
            seed=seed,
            command=command,
            progress=progress,
        )
    raise typer.Exit(code)
