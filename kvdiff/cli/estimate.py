"""estimate: time and memory of a training, before there is any data."""

from __future__ import annotations

from typing import Annotated

import typer

from kvdiff.cli.field_options import parse_size
from kvdiff.cli.runs import quiet_tensorflow, require
from kvdiff.cli.train_checks import check_numbers
from kvdiff.diffusion import ClipSpec


def estimate(
    size: Annotated[str, typer.Option(metavar="HxW", help="Height and width of clips, or one number for both.")] = "32",
    frames: Annotated[int, typer.Option(metavar="N", min=2, help="Frames of a training clip.")] = 8,
    channels: Annotated[int, typer.Option(metavar="N", min=1, max=3, help="3 for colour, 1 for grey.")] = 3,
    recipe: Annotated[
        str,
        typer.Option(metavar="NAME", help="Network and settings: 'tiny', 'small' or 'base'."),
    ] = "small",
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Clips a training step. [default: the recipe's]")
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=24, help="Channels of the network's first level, a multiple of 24. [default: the recipe's]"
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Of the training. [default: the fewest that were worth looking at]",
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="X", min=0.1, help="Of the training, in place of --steps.")
    ] = None,
) -> None:
    """Say how long a training takes, and how much memory, from its settings.

    Builds the network and times eleven steps on noise, on this machine. `kvdiff train` says the same after its own
    first steps. Decoded clips that are kept in memory come on top, a byte a pixel and channel.

    Example: kvdiff estimate --size 48x64 --frames 12 --batch-size 8 --minutes 60
    """
    height, breadth = parse_size(size)
    check_numbers(channels=channels, size=(height, breadth), width=width)
    if steps is not None and minutes is not None:
        raise ValueError(f"--minutes: expected it without --steps. Received: both, {minutes:g} and {steps}")
    require("keras", "tensorflow")
    with quiet_tensorflow():
        from kvdiff.models.recipes import recipe_named, seeded_model
        from kvdiff.training.estimate import estimate_training, in_words
    import numpy as np

    chosen = recipe_named(recipe).changed(width=width, batch_size=batch_size)
    clip = ClipSpec(frames, height, breadth, channels)
    model = seeded_model(chosen, clip, 0)
    model.compile(chosen.optimizer(chosen.rate(chosen.enough_steps)))
    noise = np.random.default_rng(0).uniform(-1.0, 1.0, (chosen.batch_size, *clip.shape)).astype(np.float32)
    found = estimate_training(model, noise)
    typer.echo(found)
    if minutes is not None:
        steps = found.steps(60.0 * minutes)
        typer.echo(f"{minutes:g} minutes are about {steps} steps of {chosen.batch_size} clips.")
        return
    steps = steps or chosen.enough_steps
    typer.echo(f"{steps} steps of {chosen.batch_size} clips take about {in_words(found.seconds(steps))}.")
