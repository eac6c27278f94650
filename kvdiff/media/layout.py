"""Pictures of several clips: grids, side by side, film strips. All of them return uint8 with 3 channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_count, check_kind, received
from kvdiff.media.libraries import import_pillow
from kvdiff.media.pixels import check_single_clip, to_pixels, with_channels

Colour = tuple[int, int, int]

BACKGROUND: Colour = (40, 44, 52)
"""The colour between clips: dark, yet not the black that many clips are made of."""


def _clips(clips: Any) -> list[np.ndarray]:
    """A list of clips, at least one."""
    check_kind("clips", clips, (Sequence, np.ndarray), "a list of clips")
    if not len(clips):
        raise ValueError("`clips`: expected at least one clip. Received: none")
    return [check_single_clip("clips", clip) for clip in clips]


def _colours(name: str, colours: Any) -> np.ndarray:
    """A colour or several, uint8 [..., 3]."""
    array = check_array(name, colours, "(red, green, blue)")
    if array.shape[-1:] != (3,) or array.dtype.kind not in "iu" or (array < 0).any() or (array > 255).any():
        raise ValueError(f"`{name}`: expected (red, green, blue), each from 0 to 255. Received: {received(colours)}")
    return array.astype(np.uint8)


def enlarge(clip: np.ndarray, scale: int) -> np.ndarray:
    """Repeat every pixel of [..., height, width, channels] `scale` times in both directions: nearest neighbour."""
    check_count("scale", scale)
    return clip.repeat(scale, axis=-3).repeat(scale, axis=-2) if scale > 1 else clip


def grid(clips: Sequence[np.ndarray], columns: int, *, gap: int = 2, colour: Colour = BACKGROUND) -> np.ndarray:
    """Clips of one shape in rows of `columns`, playing together, with `gap` pixels between and around them.

    Args:
        clips: each [frames, height, width, 1 or 3], uint8 or floats in [-1, 1].
        columns: clips a row; the last row may be shorter.
        gap: pixels between clips and around them.
        colour: of the gaps, (red, green, blue).

    Returns:
        uint8 [frames, rows (height + gap) + gap, columns (width + gap) + gap, 3].
    """
    panels = [with_channels(to_pixels(clip), 3) for clip in _clips(clips)]
    if len({panel.shape for panel in panels}) != 1:
        raise ValueError(f"`clips`: expected clips of one shape. Received: {sorted({p.shape for p in panels})}")
    check_count("columns", columns)
    check_count("gap", gap, at_least=0)
    frames, height, width, _ = panels[0].shape
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    canvas = np.empty((frames, rows * (height + gap) + gap, columns * (width + gap) + gap, 3), np.uint8)
    canvas[...] = _colours("colour", colour)
    for index, panel in enumerate(panels):
        top, left = ((i * (side + gap) + gap) for i, side in zip(divmod(index, columns), (height, width), strict=True))
        canvas[:, top : top + height, left : left + width] = panel
    return canvas


def side_by_side(clips: Sequence[np.ndarray], *, gap: int = 2, colour: Colour = BACKGROUND) -> np.ndarray:
    """One row of a `grid`."""
    clips = _clips(clips)
    return grid(clips, len(clips), gap=gap, colour=colour)


def filmstrip(clips: Sequence[np.ndarray], *, gap: int = 1, colour: Colour = BACKGROUND) -> np.ndarray:
    """A still picture, one row a clip and one column a frame: uint8 [height, width, 3]."""
    clips = _clips(clips)
    stills = [clip[frame : frame + 1] for clip in clips for frame in range(len(clip))]
    return grid(stills, len(clips[0]), gap=gap, colour=colour)[0]


def framed(clip: np.ndarray, colours: Sequence[Colour], width: int = 1) -> np.ndarray:
    """The clip with a border of `width` pixels around it, in a colour of its own for every frame."""
    pixels = with_channels(to_pixels(check_single_clip("clip", clip)), 3)
    each = _colours("colours", colours)
    if each.shape != (len(pixels), 3):
        raise ValueError(f"`colours`: expected one a frame, {len(pixels)}. Received: shape {list(each.shape)}")
    check_count("width", width, at_least=0)
    frames, height, breadth, _ = pixels.shape
    canvas = np.empty((frames, height + 2 * width, breadth + 2 * width, 3), np.uint8)
    canvas[...] = each[:, None, None]
    canvas[:, width : width + height, width : width + breadth] = pixels
    return canvas


def labelled(clip: np.ndarray, text: str, *, size: int = 12, colour: Colour = BACKGROUND) -> np.ndarray:
    """The clip with a line of text in a strip above it; text that does not fit is cut off."""
    check_kind("text", text, str, "a line of text")
    pillow = import_pillow()
    pixels = with_channels(to_pixels(check_single_clip("clip", clip)), 3)
    font = pillow.ImageFont.load_default(check_count("size", size))
    strip = pillow.Image.new("RGB", (pixels.shape[2], round(1.6 * size)), tuple(_colours("colour", colour).tolist()))
    draw = pillow.ImageDraw.Draw(strip)
    left = max((pixels.shape[2] - draw.textlength(text, font)) / 2, 0)
    draw.text((left, round(0.15 * size)), text, fill=(235, 235, 235), font=font)
    heading = np.broadcast_to(np.asarray(strip), (len(pixels), strip.height, strip.width, 3))
    return np.concatenate([heading, pixels], axis=1)
