"""Frames brought to one size: scaled by area averaging and cut in the middle."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_count, received
from kvdiff.media.libraries import import_av
from kvdiff.media.orientation import Orientation, orientation_of
from kvdiff.media.pixels import on_white


def check_size(name: str, size: Any) -> tuple[int, int]:
    """Return `size` as (height, width), two integers >= 1; a single integer stands for both."""
    try:
        pair = tuple(size) if isinstance(size, (Sequence, np.ndarray)) and not isinstance(size, str) else (size, size)
    except TypeError:  # An array without axes.
        pair = (size, size)
    if len(pair) != 2:
        raise ValueError(f"`{name}`: expected (height, width). Received: {received(size)}")
    return check_count(name, pair[0]), check_count(name, pair[1])


class FrameScaler:
    """Turns frames of any size into upright uint8 [height, width, 3] of one size.

    Args:
        size: (height, width), or None: frames keep their size.
        crop: scale until the frame covers `size` and cut what stands over evenly; False: stretch it to `size`.
    """

    def __init__(self, size: tuple[int, int] | None = None, crop: bool = True) -> None:
        self._size, self._crop = size, crop

    @functools.cached_property
    def _reformat(self) -> Callable[..., Any]:
        """Keeps its tables from frame to frame."""
        return import_av().video.reformatter.VideoReformatter().reformat

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [height, width, 3] at the wanted size."""
        if self._size is None or pixels.shape[:2] == self._size:
            return pixels
        return self._scaled(_frame_of(pixels), Orientation())

    def frame(self, frame: Any) -> np.ndarray:
        """One decoded frame, turned upright, at the wanted size; scaled and converted to RGB in one step.

        What is transparent is laid on white.
        """
        orientation = orientation_of(frame)
        if self._is_transparent(frame):
            frame = _frame_of(on_white(self._reformat(frame, format="rgba", threads=1).to_ndarray()))
        return self._scaled(frame, orientation)

    def _is_transparent(self, frame: Any) -> bool:
        if not any(component.is_alpha for component in frame.format.components):
            return False
        if frame.format.name == "bgra":  # What every GIF is decoded to: no conversion to find out.
            plane = np.frombuffer(frame.planes[0], np.uint8).reshape(frame.height, -1)
            return bool((plane[:, 3 : 4 * frame.width : 4] < 255).any())
        return bool((self._reformat(frame, format="rgba", threads=1).to_ndarray()[..., 3] < 255).any())

    def _scaled(self, frame: Any, orientation: Orientation) -> np.ndarray:
        if self._size is None:
            return orientation.upright(self._reformat(frame, format="rgb24", threads=1).to_ndarray())
        height, width = self._size[::-1] if orientation.quarters % 2 else self._size
        inner_height, inner_width = self._covering(frame.height, frame.width, height, width)
        scaled = self._reformat(
            frame, width=inner_width, height=inner_height, format="rgb24", interpolation="AREA", threads=1
        ).to_ndarray()
        top, left = (inner_height - height) // 2, (inner_width - width) // 2
        return orientation.upright(scaled[top : top + height, left : left + width])

    def _covering(self, frame_height: int, frame_width: int, height: int, width: int) -> tuple[int, int]:
        """The size of the whole frame when it covers (height, width)."""
        if not self._crop:
            return height, width
        ratio = max(height / frame_height, width / frame_width)
        return max(round(frame_height * ratio), height), max(round(frame_width * ratio), width)


def _frame_of(pixels: np.ndarray) -> Any:
    return import_av().VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
