"""Flips and turns of clips, for data whose laws do not know up from down; vectors turn with the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FLIPS = ("left_right", "turns", "up_down")
"""The symmetries that data may have."""


def turned(
    clip: np.ndarray, *, flips: Sequence[str], numbers: np.ndarray, vectors: Sequence[tuple[int, int]] = ()
) -> np.ndarray:
    """A clip [frames, height, width, channels] as one of its mirror images.

    Args:
        clip: the clip.
        flips: which of `FLIPS` the data has; "turns" are by quarters.
        numbers: three uniform numbers in (0, 1) that choose.
        vectors: pairs of channels (across, down) that are components of vectors.
    """
    flipped = [axis for axis, name in enumerate(("up_down", "left_right")) if name in flips and numbers[axis] < 0.5]
    quarters = int(4 * numbers[2]) if "turns" in flips else 0
    out = np.flip(clip, tuple(1 + axis for axis in flipped)) if flipped else clip
    out = np.rot90(out, quarters, axes=(1, 2)) if quarters else out
    if not vectors or not (flipped or quarters):
        return np.ascontiguousarray(out)
    out = out.copy()
    for across, down in vectors:
        u = -out[..., across] if 1 in flipped else out[..., across]
        v = -out[..., down] if 0 in flipped else out[..., down]
        for _ in range(quarters):  # A quarter against the clock: what pointed right points up, against the rows.
            u, v = v, -u
        out[..., across], out[..., down] = u, v
    return out
