"""Kinetics-400 and its like (Kay et al. 2017, arXiv:1705.06950): trimmed clips and the CSV files that list them."""

from __future__ import annotations

import os
import pathlib
from typing import Any, Unpack

from kvdiff.data.dataset import ClipOptions, clip_dataset
from kvdiff.data.listing import Listing
from kvdiff.data.tables import read_table
from kvdiff.data.ucf101 import present_listing
from kvdiff.diffusion.checks import check_path
from kvdiff.media import check_links, find_clips


def kinetics(
    directory: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    missing: str = "skip",
    links: str | os.PathLike[str] | None = None,
    **options: Unpack[ClipOptions],
) -> Any:
    """Kinetics from an official CSV file and a folder of trimmed clips, of which many are gone from the web.

    Args:
        directory: folder of the clips, in folders of classes or not, each named after its video and, where it was
            trimmed, its seconds: `0wR5jVB-WPk_000417_000427.mp4` or `0wR5jVB-WPk.mp4`.
        path: the CSV file: columns `youtube_id`, `time_start`, `time_end` and, but for the test part, `label`.
        missing: "skip" (default): leave out listed clips that are not there; "raise".
        links: as in `video_dataset_from_directory`.
        options: as in `video_dataset_from_directory`, which says too what comes back. Label 0 is the first class of the
            file in alphabetical order, whether or not clips of it are there.

    Raises:
        FileNotFoundError: none of the clips is there or, with `missing="raise"`, one is not.
    """
    return clip_dataset(list_kinetics(directory, path, missing=missing, links=links), **options)


def list_kinetics(
    directory: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    missing: str = "skip",
    links: str | os.PathLike[str] | None = None,
) -> Listing:
    """The clips that are listed and there, and their labels; arguments as in `kinetics`."""
    root = check_path("directory", directory)
    rows = read_table(check_path("path", path), ("youtube_id", "time_start", "time_end"))
    there = {clip.stem: clip for clip in find_clips(root, links=check_links(links))}
    paths = [_find(row, there, root) for row in rows]
    names = tuple(sorted({row["label"] for row in rows if row.get("label")}))
    numbers = {name: number for number, name in enumerate(names)}
    labels = [numbers[row["label"]] for row in rows] if names else None
    return present_listing(paths, root, labels, names or None, missing, links=links)


def _find(row: dict[str, str], there: dict[str, pathlib.Path], root: pathlib.Path) -> pathlib.Path:
    """Where a row's clip lies, or would."""
    name = row["youtube_id"]
    start, end = (round(float(row[column])) for column in ("time_start", "time_end"))
    trimmed = f"{name}_{start:06d}_{end:06d}"
    return there.get(trimmed) or there.get(name) or root / f"{trimmed}.mp4"
