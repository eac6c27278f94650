"""Pixels, 0 … 255, and the floats in [-1, 1] that stand for them: the one place that says how."""

from __future__ import annotations

from typing import Any

import numpy as np

HALF_RANGE = 127.5
"""Levels of a pixel from the middle of its range to an end."""


def from_pixels(pixels: Any, xp: Any = np, dtype: str = "float32") -> Any:
    """Floats in [-1, 1] of pixels 0 … 255, of any shape; `xp` is `numpy` or `keras.ops`."""
    scale = np.dtype(dtype).type
    return as_type(xp, pixels, dtype) / scale(HALF_RANGE) - scale(1.0)


def levels(x: Any) -> Any:
    """The levels 0 … 255 of floats in [-1, 1], between whole numbers too, for arrays of any kind."""
    return (x + 1.0) * HALF_RANGE


def to_pixels(x: Any, xp: Any = np) -> Any:
    """The nearest uint8 pixels of floats, which are clamped to [-1, 1]."""
    return as_type(xp, xp.round(levels(xp.clip(x, -1.0, 1.0))), "uint8")


def as_type(xp: Any, array: Any, dtype: str) -> Any:
    """An array of `xp` in another type."""
    return xp.cast(array, dtype) if hasattr(xp, "cast") else np.asarray(array).astype(dtype)
