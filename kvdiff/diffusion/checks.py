"""Checks of arguments, so that every error names the argument, what was expected and what was received."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

__all__ = [
    "check_choice",
    "check_clip_shape",
    "check_count",
    "check_interval",
    "check_known",
    "check_real",
    "unit_range",
]


def check_count(name: str, value: Any, *, at_least: int = 1, at_most: int | None = None) -> int:
    """Return `value` as an int when it is a whole number inside the bounds, else raise."""
    bounds = f">= {at_least}" if at_most is None else f"from {at_least} to {at_most}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"`{name}`: expected an integer {bounds}. Received: {value!r} ({type(value).__name__})")
    count = int(value)
    if count < at_least or (at_most is not None and count > at_most):
        raise ValueError(f"`{name}`: expected an integer {bounds}. Received: {value}")
    return count


def check_real(name: str, value: Any, *, above: float = -np.inf, below: float = np.inf, closed: bool = False) -> float:
    """Return `value` as a float when it lies strictly inside (above, below), or in the closed range, else raise."""
    interval = f"[{above}, {below}]" if closed else f"({above}, {below})"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}`: expected a number in {interval}. Received: {value!r} ({type(value).__name__})")
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
    if value not in choices:
        raise ValueError(f"`{name}`: expected one of {choices}. Received: {value!r}")
    return str(value)


def check_interval(name: str, interval: Any) -> tuple[float, float]:
    """Return `interval` as (low, high) when 0 <= low <= high <= 1, else raise."""
    if not isinstance(interval, Sequence) or isinstance(interval, str) or len(interval) != 2:
        raise TypeError(f"`{name}`: expected two numbers, (low, high). Received: {interval!r}")
    low = check_real(name, interval[0], above=0.0, below=1.0, closed=True)
    return low, check_real(name, interval[1], above=low, below=1.0, closed=True)


def check_clip_shape(name: str, shape: Any) -> tuple[int, int, int, int]:
    """Return `shape` as (frames, height, width, channels), four integers >= 1, else raise."""
    if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) != 4:
        raise ValueError(f"`{name}`: expected shape (frames, height, width, channels). Received: {shape!r}")
    frames, height, width, channels = (check_count(name, size) for size in shape)
    return frames, height, width, channels


def check_known(name: str, known: Any, batch: int, frames: int) -> np.ndarray:
    """Return a known-frame mask as bool [batch, frames]; [frames] is repeated over the batch.

    Raises:
        TypeError: not boolean (a soft mask has no meaning: a frame is given or it is not).
        ValueError: wrong shape, or every frame of a clip is known, which leaves nothing to make.
    """
    known = np.asarray(known)
    if known.dtype != np.bool_:
        raise TypeError(f"`{name}`: expected booleans, one per frame. Received: dtype {known.dtype}")
    if known.shape not in ((frames,), (batch, frames)):
        raise ValueError(f"`{name}`: expected shape [{frames}] or [{batch}, {frames}]. Received: {list(known.shape)}")
    known = np.broadcast_to(known, (batch, frames))
    if known.all(axis=1).any():
        raise ValueError(f"`{name}`: expected at least one frame to make in every clip. Received: all frames known")
    return known


def unit_range(clip: np.ndarray) -> str | None:
    """What to say of floats that look as if black were 0 and not -1, which halves their contrast; else None."""
    if clip.dtype == np.uint8 or not 0.0 <= float(clip.min()) < float(clip.max()) <= 1.0:
        return None
    return (
        "its floats lie in [0, 1] and are taken as [-1, 1], where 0 is grey; if 0 is black, pass 2 * clip - 1 or uint8"
    )
