"""UCF-101, 13,320 clips of 101 actions (Soomro, Zamir & Shah 2012, arXiv:1212.0402), by its official lists."""

from __future__ import annotations

import os
import pathlib
from typing import Any, Unpack

from kvdiff.data.dataset import ClipOptions, clip_dataset
from kvdiff.data.listing import Listing, listing_of
from kvdiff.diffusion.checks import check_choice, check_count, check_path


def ucf101(
    directory: str | os.PathLike[str],
    splits: str | os.PathLike[str],
    *,
    split: int = 1,
    part: str = "train",
    missing: str = "raise",
    links: str | os.PathLike[str] | None = None,
    **options: Unpack[ClipOptions],
) -> Any:
    """UCF-101 as its authors hand it out: a folder a class, and `classInd.txt`, `trainlist0N.txt`, `testlist0N.txt`.

    The lists keep clips that were cut from one video on one side. `validation_split` does not: hold out by the lists.

    Args:
        directory: folder of the class folders (`UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi`, …).
        splits: folder of the lists (`ucfTrainTestlist`).
        split: which of the three official splits, 1 to 3.
        part: "train" or "test".
        missing: "raise", or "skip": leave out listed files that are not there.
        links: as in `video_dataset_from_directory`.
        options: as in `video_dataset_from_directory`, which says too what comes back. Label 0 is the first class of
            `classInd.txt`, whose own numbers begin at 1.

    Raises:
        FileNotFoundError: a list or, with `missing="raise"`, a listed file is not there.
        ValueError: a line that is not as above.
    """
    listing = list_ucf101(directory, splits, split=split, part=part, missing=missing, links=links)
    return clip_dataset(listing, **options)


def list_ucf101(
    directory: str | os.PathLike[str],
    splits: str | os.PathLike[str],
    *,
    split: int = 1,
    part: str = "train",
    missing: str = "raise",
    links: str | os.PathLike[str] | None = None,
) -> Listing:
    """The videos of one part of one split, and their labels; arguments as in `ucf101`."""
    check_count("split", split, at_least=1, at_most=3)
    check_choice("part", part, ("train", "test"))
    root, lists = check_path("directory", directory), check_path("splits", splits)
    names = _class_names(lists / "classInd.txt")
    entries = [_entry(line, names, lists) for line in _lines(lists / f"{part}list{split:02d}.txt")]
    paths, labels = [root / name for name, _ in entries], [label for _, label in entries]
    return present_listing(paths, root, labels, names, missing, links=links)


def present_listing(
    paths: list[pathlib.Path],
    root: pathlib.Path,
    labels: list[int] | None,
    names: tuple[str, ...] | None,
    missing: str,
    *,
    links: str | os.PathLike[str] | None = None,
) -> Listing:
    """A listing of those of `paths` that are there; with `missing="raise"` that must be all."""
    check_choice("missing", missing, ("raise", "skip"))
    there = [path.exists() for path in paths]
    absent = [path for path, is_there in zip(paths, there, strict=True) if not is_there]
    if absent and (missing == "raise" or len(absent) == len(paths)):
        raise FileNotFoundError(
            f"{root}: expected {len(paths)} listed files. Received: {len(absent)} are not there, such as {absent[0]}"
        )
    kept = [path for path, is_there in zip(paths, there, strict=True) if is_there]
    numbers = None if labels is None else [label for label, is_there in zip(labels, there, strict=True) if is_there]
    return listing_of(kept, root, numbers, names, links=links)


def _class_names(path: pathlib.Path) -> tuple[str, ...]:
    """`classInd.txt`: lines "1 ApplyEyeMakeup", numbered from 1 without gaps."""
    numbered = {}
    for line in _lines(path):
        number, _, name = line.partition(" ")
        if not number.isdigit() or not name.strip():
            raise ValueError(f"{path}: expected lines such as '1 ApplyEyeMakeup'. Received: {line!r}")
        numbered[int(number)] = name.strip()
    if sorted(numbered) != list(range(1, len(numbered) + 1)):
        raise ValueError(f"{path}: expected classes numbered from 1 without gaps. Received: {sorted(numbered)}")
    return tuple(numbered[number] for number in sorted(numbered))


def _entry(line: str, names: tuple[str, ...], lists: pathlib.Path) -> tuple[str, int]:
    """A listed file and its label, from 0. Test lists have no number: the folder names the class."""
    path, _, number = line.rpartition(" ") if line.rpartition(" ")[2].isdigit() else (line, "", "")
    path = path.strip().replace("\\", "/")
    label = int(number) - 1 if number else next((i for i, name in enumerate(names) if name == path.split("/")[0]), -1)
    if not 0 <= label < len(names):
        raise ValueError(f"{lists}: expected 'Class/file.avi' or 'Class/file.avi 1'. Received: {line!r}")
    return path, label


def _lines(path: pathlib.Path) -> list[str]:
    """The lines that hold something, without the spaces around it; Windows' line ends too."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; the official lists come as ucfTrainTestlist")
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
