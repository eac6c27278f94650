"""The arguments and options that commands share: annotated types, and the options of sampling as one group."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import pathlib
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import typer

from kvdiff.cli.runs import KERAS
from kvdiff.diffusion import Sampler
from kvdiff.diffusion.conditions import ClassLabel, Condition, FrameVectors
from kvdiff.diffusion.conditions.condition import names_of
from kvdiff.diffusion.process.spacing import SPACINGS
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.tasks.plans import PLANS
from kvdiff.fields.recipe import number_or_text
from kvdiff.runtime import FORMATS

Run = Annotated[
    pathlib.Path,
    typer.Argument(metavar="RUN", help="Folder with a trained model (model.keras, exports, or both), or one file."),
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
    typer.Option(metavar="N", min=1, help="Frames to generate. [default: what fills a clip of the training length]"),
]
NumMembers = Annotated[
    int | None,
    typer.Option(
        "--members",
        metavar="N",
        min=1,
        help="Samples of each clip, an ensemble: a tile each, or in a .npy file an axis before the others. "
        "[default: one sample, without an axis]",
    ),
]
RuntimeName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"What computes the network: {KERAS}, {', '.join(FORMATS)}. "
        "[default: onnx where it is exported and installed, else keras, else another export]",
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of the exported file, e.g. float16. [default: float32 where it is there]"),
]
Fps = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        help="Frames a second of the written file. [default: the model's clock, else the source's, else 8]",
    ),
]
Scale = Annotated[
    int, typer.Option(metavar="N", min=1, help="Enlarge every pixel so many times, so that tiny frames can be seen.")
]
Links = Annotated[
    str | None,
    typer.Option(
        metavar="WHERE",
        help='Where links inside a folder may lead besides it: another folder, or "anywhere". [default: nowhere]',
    ),
]
OnlyNew = Annotated[bool, typer.Option("--only-new", help="Write the generated frames without the known ones.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output file if it exists.")]


@dataclasses.dataclass(frozen=True)
class Sampling:
    """The options of sampling that every sampling command has. None is the model's own default."""

    num_steps: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Steps from noise to clip. [default: the model's, else 20]"),
    ] = None
    solver: Annotated[str | None, typer.Option(metavar="NAME", help=f"How to take a step: {', '.join(SOLVERS)}.")] = (
        None
    )
    spacing: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=f"Which noise levels: {', '.join(SPACINGS)}. [default: what suits the solver]"
        ),
    ] = None
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of the solver, e.g. eta=0.5 or order=3; may be repeated."),
    ] = None
    plan: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Generate window by window: {', '.join(PLANS)}.")
    ] = None
    at_a_time: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Frames to generate in a window, by all frames before them.")
    ] = None
    label: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The class of the clips, by its name or number, for a model of one class label. [default: none]",
        ),
    ] = None
    actions: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FILE",
            help="A .npy file of a vector a frame, [frames, n] or [clips, frames, n], for a model of actions: known "
            "frames included. [default: none]",
        ),
    ] = None
    condition: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A condition by its name: a number, or a .npy file; may be repeated."),
    ] = None
    guidance: Annotated[
        float, typer.Option(metavar="X", min=0, help="How much conditions count: 1 as trained, more exaggerates.")
    ] = 1.0
    history_guidance: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0,
            help="How much known frames count: 1 as trained, more exaggerates. [default: the model's, else 1]",
        ),
    ] = None
    known_noise: Annotated[
        float,
        typer.Option(
            metavar="X",
            min=0,
            max=0.99,
            help="Noise label of known frames, against drift; at most the known_noise that the model was trained with.",
        ),
    ] = 0.0
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Clips that are generated together.")] = 32
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="The same seed generates the same clips, whatever the runtime.")
    ] = 0

    def keywords(self, sampler: Sampler) -> dict[str, Any]:
        """The keywords of `Sampler.infill`, for a sampler whose conditions have names of their own."""
        named = ("num_steps", "solver", "spacing", "plan", "at_a_time", "history_guidance")
        keywords = {name: getattr(self, name) for name in named if getattr(self, name) is not None}
        keywords |= _pairs("--option", self.option)
        conditions = self._conditions(sampler.spec.conditions)
        if conditions:
            keywords["conditions"] = conditions
        others = ("guidance", "known_noise", "batch_size", "seed")
        return keywords | {name: getattr(self, name) for name in others}

    def _conditions(self, conditions: Mapping[str, Condition]) -> dict[str, Any]:
        """What --label, --actions and --condition say, by the names of the model's conditions."""
        given = _pairs("--condition", self.condition)
        for option, kind, value in (("--label", ClassLabel, self.label), ("--actions", FrameVectors, self.actions)):
            if value is None:
                continue
            names = names_of(conditions, kind)
            if len(names) != 1:
                raise ValueError(
                    f"{option}: expected a model with one condition of kind {kind.name}. "
                    f"Received: one with conditions {sorted(conditions) or 'none'}"
                )
            given[names[0]] = _array(option, value) if isinstance(value, pathlib.Path) else value
        return given


@dataclasses.dataclass(frozen=True, kw_only=True)
class Writing(Sampling):
    """The options of a command that samples a video and writes it to a file."""

    output: Output
    runtime: RuntimeName = None
    precision: Precision = None
    fps: Fps = None
    scale: Scale = 1
    overwrite: Overwrite = False


def _pairs(option: str, texts: list[str] | None) -> dict[str, Any]:
    """Values by name of texts such as "eta=0.5" or "action=moves.npy"."""
    pairs: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name or not equals or not value:
            raise ValueError(f"`{option}`: expected NAME=VALUE. Received: {text!r}")
        pairs[name] = _array(option, value) if value.endswith(".npy") else number_or_text(value)
    return pairs


def _array(option: str, path: str | pathlib.Path) -> np.ndarray:
    """The array in a .npy file that an option names."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "other content"
        raise ValueError(f"`{option}`: expected a .npy file. Received: {path}, {reason}") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"`{option}`: expected a .npy file. Received: {path}, several arrays")
    return array


def option_name(name: str, info: typer.models.ParameterInfo) -> str:
    """How a parameter of a command is said: "--from"; an argument by its name alone."""
    if isinstance(info, typer.models.ArgumentInfo):
        return name
    said = (info.default, *(info.param_decls or ()))  # Typer takes the first for a default.
    long = [each for each in said if isinstance(each, str) and each.startswith("--")]
    return long[0] if long else f"--{name.replace('_', '-')}"


def with_sampling(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of its dataclasses, such as `Sampling` or one above it, as options in place of them.

    They come where the parameter stands, the options of sampling after all others.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    kinds = {name: hint for name, hint in hints.items() if isinstance(hint, type) and dataclasses.is_dataclass(hint)}
    last = [field.name for field in dataclasses.fields(Sampling)]
    parameters: list[inspect.Parameter] = []
    at_the_end: list[inspect.Parameter] = []
    for own in inspect.signature(command).parameters.values():
        if own.name not in kinds:
            parameters.append(_option(own, hints[own.name]))
            continue
        kind = kinds[own.name]
        of_kind = typing.get_type_hints(kind, include_extras=True)
        for field in dataclasses.fields(kind):
            is_last = issubclass(kind, Sampling) and field.name in last
            (at_the_end if is_last else parameters).append(_option(field, of_kind[field.name]))
    parameters += sorted(at_the_end, key=lambda each: last.index(each.name))

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        groups = {
            name: kind(**{field.name: arguments.pop(field.name) for field in dataclasses.fields(kind)})
            for name, kind in kinds.items()
        }
        command(**arguments, **groups)

    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def _option(each: Any, hint: Any) -> inspect.Parameter:
    """A parameter of a command, or the field of a dataclass, as a keyword."""
    default = (
        inspect.Parameter.empty if each.default in (dataclasses.MISSING, inspect.Parameter.empty) else each.default
    )
    return inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
