"""Generated clips beside true ones: animations and film strips, as bytes of GIF and PNG files."""

from __future__ import annotations

import math

import numpy as np

from kvdiff.evaluation.scoring import TaskClips
from kvdiff.media import encode_clip, encode_png, enlarge, filmstrip, framed, grid, labelled, side_by_side

KNOWN = (74, 144, 217)
GENERATED = (240, 150, 50)
PLAIN = (96, 102, 112)
"""The borders of known frames, of generated ones, and of the truth's."""

_FPS = 4.0
_HOLD = 2  # The last frame stays, so that the eye sees where a loop ends.


def comparison(task: TaskClips, names: tuple[str, str, str], clips: int, scale: int) -> bytes:
    """A GIF with a row for each of the first `clips` clips, and truth, model and baseline in columns."""
    columns = [
        _square([_framed(task, part, index, scale) for index in range(min(clips, len(part)))], 1, name)
        for name, part in zip(names, (task.truth, task.generated, task.baseline), strict=True)
    ]
    return _gif(side_by_side(columns, gap=0))


def strip(task: TaskClips, index: int, scale: int) -> bytes:
    """A PNG of one clip at rest: truth, model and baseline in rows, one column a frame."""
    parts = (task.truth, task.generated, task.baseline)
    return encode_png(filmstrip([_framed(task, part, index, scale) for part in parts], gap=2))


def halves(left: np.ndarray, right: np.ndarray, names: tuple[str, str], clips: int, scale: int) -> bytes:
    """A GIF with a square of the first `clips` clips of one set beside as many of another."""
    columns = max(math.isqrt(clips), 1)
    squares = [
        _square([enlarge(clip, scale) for clip in part[:clips]], columns, name)
        for name, part in zip(names, (left, right), strict=True)
    ]
    return _gif(side_by_side(squares, gap=6))


def _framed(task: TaskClips, part: np.ndarray, index: int, scale: int) -> np.ndarray:
    """One clip, each frame with the border that says whether it was known; the truth's are plain."""
    colours = [PLAIN if part is task.truth else KNOWN if known else GENERATED for known in task.known]
    return framed(enlarge(part[index], scale), colours, 2)


def _square(clips: list[np.ndarray], columns: int, name: str) -> np.ndarray:
    return labelled(grid(clips, columns, gap=3), name, size=13)


def _gif(clip: np.ndarray) -> bytes:
    return encode_clip(np.concatenate([clip, np.repeat(clip[-1:], _HOLD, axis=0)]), ".gif", fps=_FPS)
