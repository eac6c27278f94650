"""The arguments of `VideoDiffusion`, checked before anything is built from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_Built = TypeVar("_Built")


def named(name: str, choice: Any) -> dict[str, Any]:
    """A choice by its name alone, or with its options, as `{"name": …, **options}`.

    Raises:
        TypeError: something else.
    """
    if isinstance(choice, str):
        return {"name": choice}
    if not isinstance(choice, Mapping) or "name" not in choice:
        raise TypeError(f'`{name}`: expected a name, or {{"name": …}} with its options. Received: {choice!r}')
    return dict(choice)


def built(name: str, received: Any, build: Callable[[], _Built]) -> _Built:
    """What `build` makes of an argument, which its errors then name.

    Raises:
        TypeError, ValueError: those of `build`, e.g. for an option that there is none of.
    """
    try:
        return build()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if f"`{name}`" in str(error):
            raise
        if isinstance(error, ValueError):
            raise ValueError(f"`{name}`: {error}") from error
        text = f"expected another kind, or other options. Received: {received!r} ({error})"
        raise TypeError(f"`{name}`: {text}") from error


def made(name: str, kind: Any, choice: Any) -> Any:
    """A `NoiseSchedule` or a `Prediction`, whichever `kind` is, from one, from its name or from its configuration."""
    return choice if isinstance(choice, kind) else built(name, choice, lambda: kind.from_config(named(name, choice)))
