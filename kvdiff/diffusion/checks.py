"""Checks of arguments, so that every error names the argument, what was expected and what was received."""

from __future__ import annotations

import inspect
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

_Kind = TypeVar("_Kind")


def received(value: Any) -> str:
    """What an error says of a value that it did not expect: the value, shortened, and its type; an array's form."""
    if isinstance(value, np.ndarray):
        return f"dtype {value.dtype}, shape {list(value.shape)}"
    text = " ".join(repr(value).split())
    return f"{text if len(text) <= 80 else text[:77] + '...'} ({type(value).__name__})"


def optional(check: Callable[..., Any], name: str, value: Any, *args: Any, **bounds: Any) -> Any:
    """Return None where `value` is None, else what `check`, one of the others, returns of it."""
    return None if value is None else check(name, value, *args, **bounds)


def check_kind(name: str, value: Any, kind: Any, wanted: str | None = None) -> Any:
    """Return `value` when it is of a class; `wanted` says in words which, by default by its name."""
    if not isinstance(value, kind):
        raise TypeError(f"`{name}`: expected {wanted or f'a {kind.__name__}'}. Received: {received(value)}")
    return value


def check_can(name: str, value: Any, wanted: str, *methods: str) -> Any:
    """Return `value` when it can do what is wanted of it, else raise: it must have `methods`, or be called."""
    if not (all(callable(getattr(value, method, None)) for method in methods) if methods else callable(value)):
        raise TypeError(f"`{name}`: expected {wanted}. Received: {received(value)}")
    return value


def check_mapping(name: str, value: Any, kind: type | tuple[type, ...] = object, wanted: str = "values") -> Any:
    """Return `value` when it maps names to values of a kind, else raise."""
    if (
        not isinstance(value, Mapping)
        or not all(isinstance(key, str) for key in value)
        or not all(isinstance(each, kind) for each in value.values())
    ):
        raise TypeError(f"`{name}`: expected a dict of {wanted} by name. Received: {received(value)}")
    return value


def check_words(name: str, value: Any) -> tuple[str, ...]:
    """Return `value` as a tuple when it is a list of strings, and not one string, else raise."""
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"`{name}`: expected a list of strings. Received: {received(value)}")
    words = tuple(value)
    if not all(isinstance(word, str) for word in words):
        raise TypeError(f"`{name}`: expected a list of strings. Received: {received(value)}")
    return words


def check_path(name: str, value: Any) -> pathlib.Path:
    """Return `value` as a path when it is a string or one, else raise."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"`{name}`: expected a path. Received: {received(value)}")
    return pathlib.Path(value)


def check_flag(name: str, value: Any) -> bool:
    """Return `value` when it is True or False, else raise."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"`{name}`: expected True or False. Received: {received(value)}")
    return bool(value)


def check_array(name: str, value: Any, wanted: str = "real numbers") -> np.ndarray:
    """Return `value` as an array when it holds real numbers or booleans, else raise."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # Rows of different lengths.
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"`{name}`: expected {wanted}. Received: {received(value)}")
    return array


def built_from(name: str, config: Any, make: Callable[..., _Kind]) -> _Kind:
    """What `make` builds from the arguments in `config`, a dict of them by name, else raise.

    Raises:
        TypeError: no dict, an argument that `make` does not have, or one that is missing.
        TypeError, ValueError: those of `make`.
    """
    config = check_mapping(name, config, wanted="arguments")
    try:
        inspect.signature(make).bind(**config)
    except TypeError as error:
        raise TypeError(
            f"`{name}`: expected the arguments of {make.__name__}. Received: {received(dict(config))}, {error}"
        ) from error
    return make(**config)


def check_count(name: str, value: Any, *, at_least: int = 1, at_most: int | None = None) -> int:
    """Return `value` as an int when it is a whole number inside the bounds, else raise."""
    bounds = f">= {at_least}" if at_most is None else f"from {at_least} to {at_most}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"`{name}`: expected an integer {bounds}. Received: {received(value)}")
    count = int(value)
    if count < at_least or (at_most is not None and count > at_most):
        raise ValueError(f"`{name}`: expected an integer {bounds}. Received: {value}")
    return count


def check_real(name: str, value: Any, *, above: float = -np.inf, below: float = np.inf, closed: bool = False) -> float:
    """Return `value` as a float when it lies strictly inside (above, below), or in the closed range, else raise."""
    interval = f"[{above}, {below}]" if closed else f"({above}, {below})"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}`: expected a number in {interval}. Received: {received(value)}")
    try:
        number = float(value)
    except OverflowError:  # An integer beyond every float.
        number = np.inf
    inside = above <= number <= below if closed else above < number < below
    if not inside or not np.isfinite(number):
        raise ValueError(f"`{name}`: expected a number in {interval}. Received: {value}")
    return number


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value` when it is one of `choices`, else raise."""
    choices = sorted(choices)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"`{name}`: expected one of {choices}. Received: {value!r}")
    return value


def check_interval(name: str, interval: Any) -> tuple[float, float]:
    """Return `interval` as (low, high) when 0 <= low <= high <= 1, else raise."""
    if not isinstance(interval, Sequence) or isinstance(interval, str) or len(interval) != 2:
        raise TypeError(f"`{name}`: expected two numbers, (low, high). Received: {received(interval)}")
    low = check_real(name, interval[0], above=0.0, below=1.0, closed=True)
    return low, check_real(name, interval[1], above=low, below=1.0, closed=True)


def check_clip_shape(name: str, shape: Any) -> tuple[int, int, int, int]:
    """Return `shape` as (frames, height, width, channels), four integers >= 1, else raise."""
    if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) != 4:
        raise ValueError(f"`{name}`: expected shape (frames, height, width, channels). Received: {received(shape)}")
    frames, height, width, channels = (check_count(name, size) for size in shape)
    return frames, height, width, channels


def check_known(name: str, known: Any, batch: int, frames: int, *, all_known: bool = False) -> np.ndarray:
    """Return a known-frame mask as bool [batch, frames]; [frames] is repeated over the batch.

    Raises:
        TypeError: not boolean (a soft mask has no meaning: a frame is known or it is not).
        ValueError: wrong shape, or every frame of a clip is known, which leaves nothing to generate.
    """
    known = check_array(name, known, "booleans, one per frame")
    if known.dtype != np.bool_:
        raise TypeError(f"`{name}`: expected booleans, one per frame. Received: dtype {known.dtype}")
    if known.shape not in ((frames,), (batch, frames)):
        raise ValueError(f"`{name}`: expected shape [{frames}] or [{batch}, {frames}]. Received: {list(known.shape)}")
    known = np.broadcast_to(known, (batch, frames))
    if known.all(axis=1).any() and not all_known:
        raise ValueError(f"`{name}`: expected at least one frame to generate in every clip. Received: all frames known")
    return known


def unit_range(clip: np.ndarray) -> str | None:
    """What to say of floats that look as if black were 0 and not -1, which halves their contrast; else None."""
    if clip.dtype == np.uint8 or not 0.0 <= float(clip.min()) < float(clip.max()) <= 1.0:
        return None
    return (
        "its floats lie in [0, 1] and are taken as [-1, 1], where 0 is grey; if 0 is black, pass 2 * clip - 1 or uint8"
    )
