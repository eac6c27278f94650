"""Frames enlarged to a size that a network divides, and cut back again."""

from __future__ import annotations

from typing import Any

import numpy as np


def whole(size: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `size`."""
    return -(-size // multiple) * multiple


def padded(clip: Any, multiple: int, xp: Any = np) -> Any:
    """Frames whose height and width are multiples, by repeating the last row and the last column.

    Args:
        clip: [..., height, width, channels], of known height and width.
        multiple: what height and width are to be multiples of.
        xp: `numpy` or `keras.ops`.
    """
    for axis, after in ((-3, 2), (-2, 1)):
        size = clip.shape[axis]
        if missing := whole(size, multiple) - size:
            last = clip[(..., slice(size - 1, size), *[slice(None)] * after)]
            clip = xp.concatenate([clip, *[last] * missing], axis=axis)
    return clip


def cropped(clip: Any, height: int, width: int) -> Any:
    """The first `height` rows and `width` columns: what `padded` was given."""
    return clip if tuple(clip.shape[-3:-1]) == (height, width) else clip[..., :height, :width, :]
