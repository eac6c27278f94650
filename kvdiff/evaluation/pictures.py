"""Made clips beside true ones: animations and film strips, as bytes of GIF and PNG files."""

from __future__ import annotations

import math

import numpy as np

from kvdiff.evaluation.tasks import MadeFrames
from kvdiff.media import encode_clip, encode_png, enlarge, filmstrip, framed, grid, labelled, side_by_side

__all__ = ["KNOWN", "MADE", "PLAIN", "comparison", "halves", "strip"]

KNOWN = (74, 144, 217)
MADE = (240, 150, 50)
PLAIN = (96, 102, 112)
"""The borders of frames that were given, that were made, and of the truth."""

_FPS = 4.0
_HOLD = 2  # The last frame stays, so that the eye sees where a loop ends.


def comparison(task: MadeFrames, names: tuple[str, str, str], clips: int, scale: int) -> bytes:
    """A GIF with a row for each of the first `clips` clips, and truth, model and baseline in columns."""
    columns = []
    for name, part in zip(names, (task.truth, task.made, task.baseline), strict=True):
        colours = _borders(task, plain=part is task.truth)
        panels = [framed(enlarge(clip, scale), colours, 2) for clip in part[:clips]]
        columns.append(labelled(grid(panels, 1, gap=3), name, size=13))
    return encode_clip(_held(side_by_side(columns, gap=0)), ".gif", fps=_FPS)


def strip(task: MadeFrames, index: int, scale: int) -> bytes:
    """A PNG of one clip at rest: truth, model and baseline in rows, one column a frame."""
    parts = (task.truth, task.made, task.baseline)
    rows = [framed(enlarge(part[index], scale), _borders(task, plain=part is task.truth), 2) for part in parts]
    return encode_png(filmstrip(rows, gap=2))


def halves(left: np.ndarray, right: np.ndarray, names: tuple[str, str], clips: int, scale: int) -> bytes:
    """A GIF with a square of the first `clips` clips of one set beside as many of another."""
    columns = max(math.isqrt(clips), 1)
    squares = [
        labelled(grid([enlarge(clip, scale) for clip in part[:clips]], columns, gap=3), name, size=13)
        for name, part in zip(names, (left, right), strict=True)
    ]
    return encode_clip(_held(side_by_side(squares, gap=6)), ".gif", fps=_FPS)


def _borders(task: MadeFrames, *, plain: bool) -> list[tuple[int, int, int]]:
    return [PLAIN if plain else KNOWN if known else MADE for known in task.known]


def _held(clip: np.ndarray) -> np.ndarray:
    return np.concatenate([clip, np.repeat(clip[-1:], _HOLD, axis=0)])
