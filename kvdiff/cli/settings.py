"""Settings of a command in a TOML file, in place of options: --config reads one, and a training writes its own."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import json
import pathlib
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from kvdiff.cli.options import option_name

Config = Annotated[
    pathlib.Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help='A TOML file of options, by their names: clips = ["my_videos"], batch-size = 8. What is said on the '
        "command line counts more.",
    ),
]


@dataclasses.dataclass(frozen=True)
class Setting:
    """An option or argument of a command, as a file may say it.

    Attributes:
        name: of the parameter.
        key: of the option, without dashes in front; of an argument its name.
        kind: bool, int, float, str or `pathlib.Path`.
        is_list: whether it is a list of them.
        low, high: between which a number must lie; None is no bound.
    """

    name: str
    key: str
    kind: type
    is_list: bool
    low: float | None
    high: float | None

    def value(self, received: Any, path: pathlib.Path) -> Any:
        """What a file says, as the command takes it.

        Raises:
            ValueError: another type, or out of range.
        """
        items = received if self.is_list and isinstance(received, list) else [received]
        accepted = {float: (int, float), pathlib.Path: (str,)}.get(self.kind, (self.kind,))
        is_right = self.is_list == isinstance(received, list) and all(
            isinstance(item, accepted) and isinstance(item, bool) == (self.kind is bool) for item in items
        )
        if is_right and self.kind in (int, float):
            low, high = (default if end is None else end for end, default in ((self.low, -1e300), (self.high, 1e300)))
            is_right = all(low <= item <= high for item in items)
        if not is_right:
            raise ValueError(f"{path}: {self.key}: expected {self._expected()}. Received: {received!r}")
        values = [self.kind(item) for item in items]
        return values if self.is_list else values[0]

    def _expected(self) -> str:
        one, many = _WORDS[self.kind]
        ends = [f"at {word} {end:g}" for word, end in (("least", self.low), ("most", self.high)) if end is not None]
        return " ".join([f"a list of {many}" if self.is_list else one, " and ".join(ends)]).strip()


_INSTEAD = {"epochs": "minutes", "minutes": "epochs"}
"""What the command line says in place of a file's."""
_WORDS = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text", "texts"),
    pathlib.Path: ("a path as a text", "paths as texts"),
}


def settings_of(command: Callable[..., None]) -> dict[str, Setting]:
    """What a command can be told, by the key that a file says."""
    found = {}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        if typing.get_origin(parameter.annotation) is not Annotated:
            continue  # Typer's context.
        hint, info = typing.get_args(parameter.annotation)[:2]
        if isinstance(hint, types.UnionType):
            hint = next(each for each in typing.get_args(hint) if each is not type(None))
        is_list = typing.get_origin(hint) is list
        kind = typing.get_args(hint)[0] if is_list else hint
        key = option_name(name, info).removeprefix("--")
        found[key] = Setting(name, key, kind, is_list, info.min, info.max)
    return found


def read_settings(path: pathlib.Path, known: Mapping[str, Setting]) -> dict[str, Any]:
    """The values of a TOML file by their parameters' names.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not TOML, an unknown key, or a value of another type or out of range.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--config: expected a TOML file. Received: {path}, which is none")
    try:
        said = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected TOML. Received: {error}") from error
    values = {}
    for key, received in said.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            example = f", such as {near[0]}" if near else ""
            raise ValueError(f"{path}: {key}: expected an option of the command{example}. Received: an unknown one")
        values[known[key].name] = known[key].value(received, path)
    return values


def written_settings(values: Mapping[str, Any]) -> str:
    """TOML of texts, paths, numbers, truth values and lists of them by key; None is left out."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items() if value is not None)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    # A text of JSON is one of TOML, but for this sign.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The command with --config, a file whose values stand for what the command line does not say.

    Parameters without a default are wanted of one of the two.
    """
    declared = inspect.signature(command).parameters
    known = settings_of(command)
    wanted = [each.name for each in declared.values() if each.default is inspect.Parameter.empty]
    added = dict(kind=inspect.Parameter.KEYWORD_ONLY)
    parameters = [inspect.Parameter("context", annotation=typer.Context, **added)]
    for each in declared.values():
        hint = each.annotation
        if each.name in wanted:
            inner, *rest = typing.get_args(hint)
            hint = Annotated[inner | None, *rest]
        default = None if each.name in wanted else each.default
        parameters.append(inspect.Parameter(each.name, annotation=hint, default=default, **added))
    parameters.insert(1 + len(wanted), inspect.Parameter("config", annotation=Config, default=None, **added))

    @functools.wraps(command)
    def wrapped(context: typer.Context, config: pathlib.Path | None, **arguments: Any) -> None:
        def is_said(name: str) -> bool:
            source = context.get_parameter_source(name)
            is_default = source is None or source.name.startswith("DEFAULT")
            return not is_default and arguments[name] not in (None, (), [])

        said = {name for name in arguments if is_said(name)}
        for name, value in ({} if config is None else read_settings(config, known)).items():
            if not said & {name, _INSTEAD.get(name, name)}:
                arguments[name] = value
        for key, setting in known.items():
            if setting.name in wanted and arguments[setting.name] in (None, (), []):
                raise ValueError(f"`{setting.name}`: expected it here or in --config, as {key}. Received: none")
        command(**arguments)

    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped
