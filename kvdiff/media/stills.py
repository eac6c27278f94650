"""A folder of numbered pictures as one clip."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from kvdiff.media.decoding import Clip, ClipFacts
from kvdiff.media.errors import VideoError
from kvdiff.media.libraries import import_pillow
from kvdiff.media.limits import ReadLimits
from kvdiff.media.opening import STILLS, open_regular
from kvdiff.media.scaling import FrameScaler

__all__ = ["list_stills", "natural_key", "read_stills"]

_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")


def natural_key(path: pathlib.Path) -> list[Any]:
    """Sorts frame_2 before frame_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", path.as_posix())]


def list_stills(folder: pathlib.Path) -> list[pathlib.Path]:
    """The pictures of a folder in the order of their numbers."""
    return sorted((entry for entry in folder.iterdir() if entry.suffix.lower() in STILLS), key=natural_key)


def read_stills(
    folder: pathlib.Path,
    scaler: FrameScaler,
    *,
    root: pathlib.Path | None = None,
    wanted: Sequence[int] | None = None,
    max_frames: int | None = None,
    limits: ReadLimits,
) -> Clip:
    """The pictures of a folder as frames; arguments as in `decode_video`.

    Raises:
        VideoError: one of the pictures is missing, foreign, damaged or too large, or they differ in size.
    """
    paths = list_stills(folder)[:max_frames]
    if not paths or len(paths) > limits.frames:
        raise VideoError(folder, f"expected 1 to {limits.frames} pictures. Received: {len(paths)}")
    order = range(len(paths)) if wanted is None else wanted
    frames: list[np.ndarray] = []
    sizes: list[tuple[int, int]] = []
    for index in order:
        picture = _read(paths[index], root, limits)
        sizes.append((picture.shape[0], picture.shape[1]))
        frames.append(scaler.picture(picture))
        if len(frames) * frames[0].nbytes > limits.clip_bytes or frames[-1].shape != frames[0].shape:
            raise VideoError(folder, f"expected frames of one size, {limits.clip_bytes} bytes in all. Received: more")
    height, width = sizes[0] if sizes else _read(paths[0], root, limits).shape[:2]
    kept = np.stack(frames) if frames else np.zeros((0, 1, 1, 3), np.uint8)
    return Clip(kept, np.full(len(paths), np.nan), ClipFacts("folder", paths[0].suffix.lower()[1:], height, width, 0))


def _read(path: pathlib.Path, root: pathlib.Path | None, limits: ReadLimits) -> np.ndarray:
    """One picture, uint8 [height, width, 3]."""
    with open_regular(path, root, limits) as file:
        try:
            with import_pillow().Image.open(file, formats=_FORMATS) as picture:
                if picture.width * picture.height > limits.frame_pixels:
                    raise ValueError(f"{picture.height}×{picture.width} pixels, more than {limits.frame_pixels}")
                return np.asarray(picture.convert("RGB"))
        except ImportError:
            raise
        except Exception as error:  # Hostile bytes make the decoder raise almost anything.
            raise VideoError(path, f"expected a readable picture. Received: {error}") from error
