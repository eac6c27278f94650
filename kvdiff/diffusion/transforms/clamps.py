"""What keeps the predicted x_0 in the range of its values: the `clamp` that `step` takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_real

Bounds = tuple[float, float] | None
"""(lowest, highest) value, or None for values without bounds: latents and standardised fields."""


def clamp_to(bounds: Bounds, xp: Any = np) -> Callable[[Any], Any]:
    """The function that clamps arrays of `xp` to `bounds`; the identity where there are none."""
    if bounds is None:
        return lambda x: x
    low, high = bounds
    return lambda x: xp.clip(x, low, high)


def dynamic(quantile: float = 0.995, xp: Any = np) -> Callable[[Any], Any]:
    """Dynamic thresholding (Saharia et al. 2022, arXiv:2205.11487, section 2.3): guidance saturates fewer pixels.

    Each clip is clamped to [-s, s] and divided by s, the `quantile` of its absolute pixels where that exceeds 1.

    Args:
        quantile: in (0, 1]; 1 divides by the largest pixel.
        xp: `numpy` or `keras.ops`.

    Returns:
        A function of clips [batch, frames, height, width, channels], for the argument `clamp` of an engine.
    """
    if check_real("quantile", quantile, above=0.0, below=1.0, closed=True) == 0.0:
        raise ValueError("`quantile`: expected a number in (0, 1]. Received: 0")

    def clamp(x: Any) -> Any:
        size = xp.quantile(xp.abs(x), quantile, axis=(1, 2, 3, 4), keepdims=True)
        size = xp.maximum(size, xp.ones_like(size))
        return xp.clip(x / size, -1.0, 1.0)

    return clamp
