"""Which frames are known. A task is such a mask: nothing else tells prediction from interpolation or generation."""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion.checks import check_count

__all__ = ["TASKS", "ends", "every", "first", "last", "none", "task_of"]

TASKS = ("generate", "predict", "interpolate", "infill", "rollout", "frame_rate")
"""The tasks for which a model may have sampling defaults of its own."""


def none(frames: int) -> np.ndarray:
    """bool [frames], all False: generation."""
    return np.zeros(check_count("frames", frames), bool)


def first(frames: int, count: int) -> np.ndarray:
    """bool [frames], the first `count` known: prediction."""
    check_count("count", count, at_least=0, at_most=check_count("frames", frames))
    return np.arange(frames) < count


def last(frames: int, count: int) -> np.ndarray:
    """bool [frames], the last `count` known: what came before."""
    check_count("count", count, at_least=0, at_most=check_count("frames", frames))
    return np.arange(frames) >= frames - count


def ends(frames: int, left: int, right: int) -> np.ndarray:
    """bool [frames], the first `left` and the last `right` known: interpolation across a gap."""
    check_count("left", left, at_least=0, at_most=check_count("frames", frames))
    check_count("right", right, at_least=0, at_most=frames - left)
    index = np.arange(frames)
    return (index < left) | (index >= frames - right)


def every(frames: int, stride: int) -> np.ndarray:
    """bool [frames], frames 0, stride, 2 stride, … known: raising the frame rate by `stride`."""
    check_count("stride", stride)
    return np.arange(check_count("frames", frames)) % stride == 0


def task_of(known: np.ndarray) -> str:
    """What a mask, bool [frames] or [batch, frames], asks for: "generate", "predict", "interpolate", else "infill"."""
    rows = np.atleast_2d(known)
    count = rows.sum(axis=1)
    if not count.any():
        return "generate"
    index = np.arange(rows.shape[1])
    if (rows == (index < count[:, None])).all():
        return "predict"
    gaps = np.diff(rows.astype(int), axis=1)  # One fall and one rise: a gap between two ends.
    return "interpolate" if rows[:, [0, -1]].all() and ((gaps < 0).sum(axis=1) == 1).all() else "infill"
