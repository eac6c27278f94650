"""The options of data with units: its recipe, its values, and what a training on it is told."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Annotated, Any

import typer

from kvdiff.cli.options import Sampling, Writing
from kvdiff.diffusion.checks import check_choice
from kvdiff.diffusion.transforms.curves import OUTSIDE
from kvdiff.diffusion.transforms.fitting import FITTED
from kvdiff.fields import FieldRecipe, is_field, parse_region, parse_seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which numbers of a file with units are clips. None is what the run was trained on, or what the file says."""

    variable: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of .nc, .zarr, .h5, …: a variable; may be repeated, each is a channel."),
    ] = None
    dims: Annotated[
        str | None,
        typer.Option(
            metavar="T,Y,X", help="The dimensions that are time, height, width (and channel). [default: found]"
        ),
    ] = None
    region: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIM=A..B", help="A part of a dimension, e.g. lat=40..50, time=2019-05..2019-06 or level=500."
        ),
    ] = None
    time_step: Annotated[
        str | None, typer.Option(metavar="TIME", help="From frame to frame of a clip, e.g. 5min. [default: the data's]")
    ] = None
    max_gap: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Absent frames in a row that do not end a clip. [default: 0]")
    ] = None
    units: Annotated[
        list[str] | None, typer.Option(metavar="UNIT", help="Of each variable; files in others are refused.")
    ] = None

    @property
    def is_said(self) -> bool:
        """Whether any of these options was given."""
        return any(getattr(self, field.name) is not None for field in dataclasses.fields(DataOptions))

    def recipe(self, base: FieldRecipe | None = None) -> FieldRecipe:
        """The recipe that they say, on top of `base`."""
        said: dict[str, Any] = {}
        if self.variable is not None:
            said["variable"] = tuple(self.variable)
        if self.dims is not None:
            said["dims"] = tuple(name.strip() for name in self.dims.split(","))
        if self.region is not None:
            said["region"] = {**(base.region if base else {}), **parse_region(self.region)}
        if self.time_step is not None:
            said["time_step"] = parse_seconds(self.time_step)
        if self.max_gap is not None:
            said["max_gap"] = self.max_gap
        if self.units is not None:
            said["units"] = tuple(self.units)
        return dataclasses.replace(base or FieldRecipe(), **said)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecasting(Writing, DataOptions):
    """The options of `predict`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluating(Sampling, DataOptions):
    """The options of `evaluate`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FieldTraining(DataOptions):
    """What a training on data with units is told besides."""

    values: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help=f"What the numbers mean, fitted to the data: {', '.join(FITTED)}; options as in log1p:scale=0.1; may "
            "be repeated, one a channel. [default: linear, for data with units]",
        ),
    ] = None
    outside: Annotated[
        str,
        typer.Option(metavar="HOW", help=f"What becomes of numbers out of the values' range: {', '.join(OUTSIDE)}."),
    ] = "refuse"
    past: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Frames that are known in most training clips. [default: every task alike]"
        ),
    ] = None
    flips: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A symmetry of the data, in which clips are drawn: left_right, up_down or turns; may be repeated.",
        ),
    ] = None
    crop: Annotated[
        float | None,
        typer.Option(metavar="X", min=1, help="Read videos so many times larger; cut each clip from a drawn place."),
    ] = None
    speed: Annotated[
        list[float] | None,
        typer.Option(metavar="X", help="Of videos: a speed at which clips are drawn; may be repeated. [default: 1]"),
    ] = None
    importance: Annotated[
        bool, typer.Option("--importance", help="Draw clips by what happens in them, with weights that undo it.")
    ] = False

    def kinds(self, channels: int) -> list[tuple[str, dict[str, Any]]]:
        """The kind of values and its options of each channel."""
        kinds: list[tuple[str, dict[str, Any]]] = []
        for text in self.values or ["linear"]:
            kind, _, rest = text.partition(":")
            options: dict[str, Any] = {}
            for name, _, number in (pair.partition("=") for pair in filter(None, rest.split(","))):
                try:
                    options[name] = int(number) if name == "knots" else float(number)
                except ValueError:
                    raise ValueError(f"`values`: expected KIND:NAME=NUMBER,…. Received: {text!r}") from None
            outside = {} if kind == "standardised" else {"outside": check_choice("outside", self.outside, OUTSIDE)}
            kinds.append((check_choice("values", kind, FITTED), {**options, **outside}))
        if len(kinds) not in (1, channels):
            received = [kind for kind, _ in kinds]
            raise ValueError(
                f"`values`: expected one kind, or one for each of {channels} channels. Received: {received}"
            )
        return kinds * channels if len(kinds) == 1 else kinds

    def augmentation(self, *, fields: bool, latent: bool) -> dict[str, Any]:
        """How clips of videos are changed, an option of their loader; refuses what fields and latents cannot have."""
        said = {"--flips": self.flips, "--crop": self.crop, "--speed": self.speed}
        given = [name for name, value in said.items() if value is not None]
        if fields and given not in ([], ["--flips"]):
            raise ValueError(f"{given[-1]}: expected with videos alone; --size cuts data with units. Received: fields")
        if latent and given:
            raise ValueError(f"{given[0]}: expected without an autoencoder, for latents are of unchanged frames")
        if fields or not given:
            return {}
        from kvdiff.data import Augmentation

        augment = Augmentation(flips=self.flips or (), crop=self.crop or 1.0, speeds=self.speed or (1.0,))
        return {"augment": augment}

    def wanted(self, paths: list[pathlib.Path]) -> bool:
        """Whether the training is on fields: by a file's kind, or by one of these options."""
        return self.is_said or self.values is not None or any(map(is_field, paths))


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of "48x64", or of "64" for both."""
    numbers = text.lower().replace("×", "x").split("x")
    if len(numbers) > 2 or not all(number.strip().isdecimal() and int(number) for number in numbers):
        raise ValueError(f"`size`: expected HEIGHTxWIDTH, e.g. 48x64, or one number for both. Received: {text!r}")
    return int(numbers[0]), int(numbers[-1])
