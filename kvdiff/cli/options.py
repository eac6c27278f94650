"""The arguments and options that commands share, as annotated types."""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer

from kvdiff.cli.runs import Runtime
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.tasks.plans import PLANS

__all__ = [
    "Actions",
    "ContextNoise",
    "Eta",
    "Fps",
    "Guidance",
    "Label",
    "NumFrames",
    "NumSteps",
    "OnlyNew",
    "Output",
    "Overwrite",
    "PlanName",
    "Run",
    "RuntimeName",
    "Scale",
    "Seed",
    "SolverName",
]

Run = Annotated[
    pathlib.Path,
    typer.Argument(metavar="RUN", help="Folder with a trained model: model.keras, denoiser.onnx, or both."),
]
Output = Annotated[
    pathlib.Path,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="File to write: .gif, .mp4 or .webm (several clips play in a grid), or .npy (every value of every clip).",
    ),
]
NumFrames = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Frames to make. [default: what fills a clip of the training length]"),
]
NumSteps = Annotated[
    int, typer.Option(metavar="N", min=1, help="Steps from noise to clip: more is slower and mostly better.")
]
SolverName = Annotated[str, typer.Option(metavar="NAME", help=f"How to take a step: {', '.join(SOLVERS)}.")]
Eta = Annotated[
    float | None,
    typer.Option(
        metavar="X", help="Fresh noise in every step, for solvers that let you choose: 0 none, 1 all. [default: theirs]"
    ),
]
Label = Annotated[
    int | None,
    typer.Option(metavar="N", help="The class of the clips, for a model of one class label. [default: untold]"),
]
Actions = Annotated[
    pathlib.Path | None,
    typer.Option(
        metavar="FILE",
        help="A .npy file of a vector a frame, [frames, n] or [clips, frames, n], for a model of actions: known frames "
        "included. [default: untold]",
    ),
]
Guidance = Annotated[
    float, typer.Option(metavar="X", min=0, help="How much label and actions count: 1 as trained, more exaggerates.")
]
PlanName = Annotated[
    str | None,
    typer.Option("--plan", metavar="NAME", help=f"Make long videos window by window: {', '.join(PLANS)}."),
]
ContextNoise = Annotated[
    float,
    typer.Option(
        metavar="X",
        min=0,
        max=0.99,
        help="Show finished frames with noise of this label, against drift; for models trained with known_noise.",
    ),
]
Seed = Annotated[
    int, typer.Option(metavar="N", min=0, help="The same seed makes the same clips, whatever the runtime.")
]
RuntimeName = Annotated[
    Runtime, typer.Option(help="What computes the network. auto: onnx where the run has been exported, else keras.")
]
Fps = Annotated[float, typer.Option(metavar="X", help="Frames a second of the written file.")]
Scale = Annotated[
    int, typer.Option(metavar="N", min=1, help="Enlarge every pixel so many times, so that tiny frames can be seen.")
]
OnlyNew = Annotated[bool, typer.Option("--only-new", help="Write the made frames without those they go by.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output file if it exists.")]
