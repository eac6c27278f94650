"""A folder of numbered pictures as one clip."""

from __future__ import annotations

import pathlib
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from kvdiff.media.decoding import Clip, ClipFacts
from kvdiff.media.errors import VideoError
from kvdiff.media.libraries import import_pillow
from kvdiff.media.limits import ReadLimits
from kvdiff.media.opening import STILLS, is_litter, open_regular
from kvdiff.media.pixels import on_white
from kvdiff.media.scaling import FrameScaler

_FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
_DIGITS = re.compile("([0-9]+)")
_DEEP = re.compile(";(10|12|14|16|32|64)")
_REDUCED = 254, 1  # TIFF's tag NewSubfileType, and its bit that says: a smaller version of another page.


def natural_key(path: pathlib.Path) -> list[Any]:
    """Sorts frame_2 before frame_10; names that differ in zeros alone have an order too."""
    parts = _DIGITS.split(path.as_posix())  # Every second one is a number.
    return [*(int(part) if index % 2 else part for index, part in enumerate(parts)), path.as_posix()]


def list_stills(folder: pathlib.Path) -> list[pathlib.Path]:
    """The pictures of a folder in the order of their numbers; hidden ones are left out."""
    stills = (path for path in folder.iterdir() if path.suffix.lower() in STILLS and not is_litter(path.name))
    return sorted(stills, key=natural_key)


def read_stills(
    folder: pathlib.Path,
    scaler: FrameScaler,
    *,
    root: pathlib.Path | None = None,
    links: str | None = None,
    wanted: Sequence[int] | None = None,
    max_frames: int | None = None,
    keep_bytes: int | None = None,
    limits: ReadLimits,
) -> Clip:
    """The pictures of a folder as frames; arguments as in `decode_video`.

    Raises:
        VideoError: one of the pictures is missing, foreign, damaged or too large, they differ in size, or they are two
            sequences with the same numbers.
    """
    paths = list_stills(folder)[:max_frames]
    if not paths:
        others = sorted(path.name for path in folder.iterdir() if not is_litter(path.name))
        there = f"one with {len(others)} other entries, e.g. {others[0]}" if others else "an empty one"
        raise VideoError(folder, f"expected one clip: a file, or a folder of pictures. Received: {there}")
    if len(paths) > limits.frames:
        raise VideoError(folder, f"expected 1 to {limits.frames} pictures. Received: {len(paths)}")
    _check_one_sequence(folder, paths)
    order = range(len(paths)) if wanted is None else wanted
    frames: list[np.ndarray] = []
    sizes: list[tuple[int, int]] = []
    for index in order:
        picture = _read(paths[index], root, links, limits)
        sizes.append((picture.shape[0], picture.shape[1]))
        frames.append(scaler.picture(picture))
        if frames[-1].shape != frames[0].shape:
            raise VideoError(folder, f"expected frames of one size. Received: {sorted(set(sizes))}")
        if keep_bytes is not None and len(order) * frames[0].nbytes > keep_bytes:
            frames.clear()
            break
        if len(frames) * frames[0].nbytes > limits.clip_bytes:
            raise VideoError(
                folder, f"expected at most {limits.clip_bytes} bytes of pixels (`clip_bytes`). Received: more"
            )
    height, width = sizes[0] if sizes else _read(paths[0], root, links, limits).shape[:2]
    kept = np.stack(frames) if frames else np.zeros((0, 1, 1, 3), np.uint8)
    return Clip(kept, np.full(len(paths), np.nan), ClipFacts("folder", paths[0].suffix.lower()[1:], height, width, 0))


def _check_one_sequence(folder: pathlib.Path, paths: Sequence[pathlib.Path]) -> None:
    """Refuse colour and depth side by side, or the same frames in two formats: one sequence is not the other's end."""
    numbers: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        parts = _DIGITS.split(path.name)
        numbers["#".join(parts[::2])].add("#".join(parts[1::2]))
    sequences = [name for name, found in numbers.items() if len(found) > 1]
    if len(sequences) > 1 and all(numbers[name] == numbers[sequences[0]] for name in sequences):
        raise VideoError(folder, f"expected one sequence of pictures. Received: {sorted(sequences)} with equal numbers")


def _read(path: pathlib.Path, root: pathlib.Path | None, links: str | None, limits: ReadLimits) -> np.ndarray:
    """One picture, upright, uint8 [height, width, 3]; what is transparent is laid on white."""
    pillow = import_pillow()
    with open_regular(path, root, limits, links) as file:
        try:
            with pillow.Image.open(file, formats=_FORMATS) as picture:
                if picture.width * picture.height > limits.frame_pixels:
                    raise ValueError(f"{picture.height}×{picture.width} pixels, more than {limits.frame_pixels}")
                _check_plain(picture)
                picture = pillow.ImageOps.exif_transpose(picture)
                if picture.has_transparency_data:
                    return on_white(np.asarray(picture.convert("RGBA")))
                return np.asarray(picture.convert("RGB"))
        except Exception as error:  # Hostile bytes make the decoder raise almost anything.
            raise VideoError(path, f"expected a readable picture. Received: {error}") from error


def _check_plain(picture: Any) -> None:
    """Refuse what would not come out as it is: values beyond 8 bits, and pictures in which there are several."""
    stored = "" if picture.format == "BMP" else str([tile[3] for tile in picture.tile])  # BMP's 16 bits are all three.
    if picture.mode[0] in "IF" or _DEEP.search(stored):
        others = "scale them to 8 bits, 0 to 255, or take them as data with units: kvdiff.fields, or --values"
        raise ValueError(f"values of more than 8 bits ({picture.mode}); {others}")
    if picture.format in ("JPEG", "MPO"):  # What a camera adds behind the picture is not the picture.
        return
    count = getattr(picture, "n_frames", 1)
    pages = [index for index in range(count) if count == 1 or not _is_reduced(picture, index)]
    if len(pages) > 1:
        others = "write each to a file of its own, or take a TIFF as data with units: kvdiff.fields, or --values"
        raise ValueError(f"{len(pages)} pages or frames in one file; {others}")
    picture.seek(pages[0] if pages else 0)


def _is_reduced(picture: Any, index: int) -> bool:
    """Whether a page of a TIFF is a thumbnail of another."""
    picture.seek(index)
    tag, bit = _REDUCED
    return picture.format == "TIFF" and bool(int(picture.tag_v2.get(tag, 0)) & bit)
