"""Clips of training data: their shape, the kind of their numbers, and their range."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.transforms.values import Pixels, Values
from kvdiff.training.data_checks import check_limits, in_limits

_AXES = ("height", "width", "channels")


def checked_clips(clips: Any, values: Values, frame_shape: tuple[int | None, ...]) -> Any:
    """Clips [batch, frames, *frame_shape], once it is certain that their numbers are in the values' range.

    Sizes that are None in `frame_shape` may be any.

    Raises:
        ValueError, TypeError: clips of another shape, kind or range.
    """
    sizes = tuple(clips.shape[2:])
    if len(clips.shape) != 5 or any(want not in (None, size) for want, size in zip(frame_shape, sizes, strict=True)):
        wanted = ", ".join(name if size is None else str(size) for name, size in zip(_AXES, frame_shape, strict=True))
        raise ValueError(f"`x`: expected clips [batch, frames, {wanted}]. Received: {list(clips.shape)}")
    if None in sizes:
        raise ValueError(f"`x`: expected clips of a known height and width. Received: {list(clips.shape)}")
    return limited(clips, values)


def limited(clips: Any, values: Values) -> Any:
    """Clips, once it is certain that their numbers are in the values' range."""
    return in_limits(values, ops.cast(clips, "float32")) if _has_limits(clips, values) else clips


def check_clips(clips: Any, values: Values) -> None:
    """Raise ValueError where clips at hand are not in the values' range."""
    if _has_limits(clips, values):
        check_limits(values, clips)


def _has_limits(clips: Any, values: Values) -> bool:
    """Whether clips may be out of range, after a check that they are numbers of the values' kind."""
    dtype = keras.backend.standardize_dtype(clips.dtype)
    if dtype == "uint8" and isinstance(values, Pixels):
        return False
    values.check_kind("clips", np.empty(0, "float32" if "float" in dtype else dtype))
    return True
