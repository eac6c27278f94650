"""Clips that show themselves in a notebook."""

from __future__ import annotations

import base64
import html
import math
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_count, optional
from kvdiff.media.layout import filmstrip
from kvdiff.media.writing import encode_clip, encode_png, together

_WIDTH = 256  # Pixels, about, of a picture of small clips.


class ShownClips:
    """What `show` returns: at the end of a cell it is a moving picture; where only stills are shown, a film strip.

    Attributes:
        gif: the bytes of the picture.
    """

    def __init__(self, clips: np.ndarray, fps: float, scale: int) -> None:
        self._clips = clips
        self.gif = encode_clip(together(clips, scale), ".gif", fps=fps)

    def _repr_html_(self) -> str:
        shape = html.escape(str(list(self._clips.shape)))
        return f'<img alt="clips {shape}" src="data:image/gif;base64,{base64.b64encode(self.gif).decode()}">'

    def _repr_png_(self) -> bytes:
        flat = self._clips.reshape(-1, *self._clips.shape[-4:])
        return encode_png(filmstrip(list(flat)))

    def __repr__(self) -> str:
        return f"ShownClips({list(self._clips.shape)})"


def show(clips: Any, *, fps: float = 8.0, scale: int | None = None) -> ShownClips:
    """Clips as a moving picture in a notebook, at the end of a cell or by `display`.

    ```python
    kvdiff.media.show(model.generate(9))
    ```

    Args:
        clips: [frames, height, width, 1 or 3], or several of them, [clips, …], which play in a grid, or an ensemble's
            [members, clips, …], a row a clip; uint8 or floats in [-1, 1].
        fps: frames a second.
        scale: enlarges every pixel so many times; by default until a picture is some 256 pixels wide.

    Raises:
        ValueError, TypeError: clips that are none.
        ImportError: PyAV or Pillow is not installed.
    """
    array = check_array("clips", clips)
    if array.ndim not in (4, 5, 6) or 0 in array.shape or array.shape[-1] not in (1, 3):
        wanted = "[frames, height, width, 1 or 3], [clips, …] or [members, clips, …]"
        raise ValueError(f"`clips`: expected shape {wanted}. Received: {list(array.shape)}")
    array = array[None] if array.ndim == 4 else array
    optional(check_count, "scale", scale)
    columns = math.isqrt(max(math.prod(array.shape[:-4]) - 1, 0)) + 1
    return ShownClips(array, fps, scale or max(_WIDTH // (columns * array.shape[-2]), 1))
