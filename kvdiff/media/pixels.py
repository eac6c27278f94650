"""Pixels: between floats in [-1, 1], uint8, one channel and three."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_choice
from kvdiff.diffusion.transforms.pixels import to_pixels as nearest_pixels


def check_single_clip(name: str, clip: Any) -> np.ndarray:
    """Return one clip, uint8 or float [frames, height, width, 1 or 3], unchanged, else raise.

    Raises:
        ValueError: wrong rank or channels, an empty axis, NaN, or floats outside [-1, 1].
        TypeError: neither floating point nor uint8.
    """
    clip = check_array(name, clip)
    if clip.ndim != 4 or clip.shape[-1] not in (1, 3) or 0 in clip.shape:
        raise ValueError(f"`{name}`: expected shape [frames, height, width, 1 or 3]. Received: {list(clip.shape)}")
    if clip.dtype == np.uint8:
        return clip
    if not np.issubdtype(clip.dtype, np.floating):
        raise TypeError(f"`{name}`: expected uint8 pixels or floats in [-1, 1]. Received: dtype {clip.dtype}")
    low, high = float(clip.min()), float(clip.max())
    if not (-1.0001 <= low and high <= 1.0001):  # NaN fails both comparisons.
        raise ValueError(f"`{name}`: expected values in [-1, 1], no NaN. Received: minimum {low}, maximum {high}")
    return clip


def on_white(pixels: np.ndarray) -> np.ndarray:
    """uint8 [height, width, 4], the last channel opacity, to uint8 [height, width, 3]: as on a white page."""
    opacity = pixels[..., 3:] / 255.0
    return np.round(pixels[..., :3] * opacity + 255.0 * (1.0 - opacity)).astype(np.uint8)


def to_pixels(clip: np.ndarray) -> np.ndarray:
    """Floats in [-1, 1] to the nearest uint8 pixel, any shape; uint8 comes back as it is."""
    clip = np.asarray(clip)
    if clip.dtype == np.uint8:
        return clip
    return nearest_pixels(clip)


def is_grey(clip: np.ndarray) -> bool:
    """Whether every pixel of uint8 [..., 1 or 3] is a shade of grey."""
    return bool((clip == clip[..., :1]).all())


def with_channels(clip: np.ndarray, channels: int | None) -> np.ndarray:
    """uint8 [..., 1 or 3] with the number of channels asked for; None: 1 where every pixel is grey, else 3.

    Colour becomes grey by luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), so grey stays what it was.
    """
    if channels is None:
        channels = 1 if is_grey(clip) else 3
    check_choice("channels", str(channels), ("1", "3"))
    if clip.shape[-1] == channels:
        return clip
    if channels == 3:
        return np.repeat(clip, 3, axis=-1)
    if is_grey(clip):
        return np.ascontiguousarray(clip[..., :1])
    return np.round(clip @ np.array([[0.299], [0.587], [0.114]])).astype(np.uint8)
