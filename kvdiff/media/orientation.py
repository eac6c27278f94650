"""How stored frames are turned and mirrored to stand upright."""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import numpy as np


class Orientation(NamedTuple):
    """First mirror left and right, then turn."""

    is_mirrored: bool = False
    quarters: int = 0
    """Quarter turns counter-clockwise, 0 to 3."""

    def upright(self, picture: np.ndarray) -> np.ndarray:
        """A stored picture [height, width, …] as it is meant to be seen."""
        return np.rot90(picture[:, ::-1] if self.is_mirrored else picture, self.quarters)


def orientation_of(frame: Any) -> Orientation:
    """What the display matrix of a decoded frame says, to the nearest quarter turn.

    The matrix, from FFmpeg's `libavutil/display.h`, is a, b, u, c, d, v, x, y, w: a stored pixel (x, y) is shown at
    (a x + c y, b x + d y), with y downwards.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV refuses all of it where it does not know a part, as with the EXIF of motion JPEG.
        return Orientation(False, round(frame.rotation / 90) % 4)
    if matrix is None:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("<9i", bytes(matrix)[:36])
    if not (a or c) or not (b or d):
        return Orientation()
    is_mirrored = a * d - b * c < 0
    angle = math.atan2(c, -a if is_mirrored else a)
    return Orientation(is_mirrored, round(angle / (math.pi / 2)) % 4)
