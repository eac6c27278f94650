"""Which videos a data set holds, and their labels, before any of them is opened."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kvdiff.data.order import held_out
from kvdiff.diffusion.checks import check_choice, check_real
from kvdiff.media import find_clips, list_clip_files, num_clips

__all__ = ["Listing", "Video", "list_directory", "list_paths", "listing_of"]


class Video(NamedTuple):
    """One clip's place: a file or a folder of frames, inside `root`; `member` counts the clips of an array file."""

    path: pathlib.Path
    root: pathlib.Path
    member: int = 0


@dataclasses.dataclass(frozen=True)
class Listing:
    """Videos and their labels.

    Attributes:
        videos: in the order of their names.
        labels: int64 [videos], or None.
        class_names: what label 0, 1, … means, or None.
    """

    videos: tuple[Video, ...]
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not self.videos:
            raise ValueError("expected at least one video. Received: none")
        if self.labels is not None and len(self.labels) != len(self.videos):
            raise ValueError(f"`labels`: expected one a video, {len(self.videos)}. Received: {len(self.labels)}")

    @property
    def file_paths(self) -> list[str]:
        """Every file once, in order."""
        return list(dict.fromkeys(str(video.path) for video in self.videos))

    def names(self) -> list[str]:
        """The path of every video relative to its root, which does not depend on where the data lies."""
        return [video.path.relative_to(video.root).as_posix() for video in self.videos]

    def only(self, chosen: np.ndarray) -> Listing:
        """The videos where `chosen`, bool [videos]."""
        labels = None if self.labels is None else self.labels[chosen]
        return Listing(tuple(self.videos[i] for i in np.flatnonzero(chosen)), labels, self.class_names)

    def split(self, validation_split: float, subset: str, seed: int) -> Listing:
        """The "training" or "validation" part; a file is in one of them, whole."""
        check_real("validation_split", validation_split, above=0.0, below=1.0)
        check_choice("subset", subset, ("training", "validation"))
        out = held_out(self.names(), validation_split, seed)
        if out.all() or not out.any():
            raise ValueError(
                f"`validation_split`: expected a share that leaves files on both sides. Received: {validation_split} of"
                f" {len(self.file_paths)} files"
            )
        return self.only(out if subset == "validation" else ~out)


def list_directory(directory: str | pathlib.Path, labels: Any = "inferred", class_names: Any = None) -> Listing:
    """The videos below a folder: files, folders of frames, and the members of array files.

    Args:
        directory: the folder. Hidden files are left out, links to folders are not entered.
        labels: "inferred": the folders inside `directory` are the classes; a sequence of integers, one a file in the
            order of their names; None.
        class_names: with inferred labels, which folders are classes, and their order; by default all, sorted.

    Raises:
        NotADirectoryError: no such folder.
        ValueError: no videos, or labels that do not fit.
    """
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory}: expected a folder. Received: no such folder")
    if isinstance(labels, str):
        check_choice("labels", labels, ("inferred",))
        return _by_folder(directory, class_names)
    if class_names is not None and labels is None:
        raise ValueError(f"`class_names`: expected None where there are no labels. Received: {class_names!r}")
    paths = find_clips(directory)
    names = None if class_names is None else tuple(class_names)
    return listing_of(paths, directory, None if labels is None else _integers(labels, len(paths)), names)


def list_paths(paths: Sequence[str | pathlib.Path]) -> Listing:
    """The videos among `paths`, without labels; of a folder, those below it.

    Raises:
        ValueError: no path, or a folder without videos.
    """
    parts = []
    for path in map(pathlib.Path, paths):
        root = path if path.is_dir() else path.parent
        parts.append(listing_of(list_clip_files([path]), root, None, None))
    return Listing(tuple(video for part in parts for video in part.videos))


def listing_of(
    paths: Sequence[pathlib.Path], root: pathlib.Path, labels: Sequence[int] | None, class_names: Any
) -> Listing:
    """A listing of files inside `root`, one video for every member of an array file; one label a file."""
    if not paths:
        raise ValueError(f"{root}: expected files that hold clips. Received: none")
    members = [(i, Video(path, root, member)) for i, path in enumerate(paths) for member in range(_members(path, root))]
    numbers = None if labels is None else np.array([labels[i] for i, _ in members], np.int64)
    return Listing(tuple(video for _, video in members), numbers, None if class_names is None else tuple(class_names))


def _members(path: pathlib.Path, root: pathlib.Path) -> int:
    """An array file that is none counts as one, whose reading will tell."""
    try:
        return num_clips(path, root)
    except ValueError:
        return 1


def _by_folder(directory: pathlib.Path, class_names: Any) -> Listing:
    inside = sorted(entry.name for entry in directory.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    names = inside if class_names is None else list(class_names)
    if class_names is not None and set(names) - set(inside):
        raise ValueError(
            f"`class_names`: expected folders in {directory}. Received: {sorted(set(names) - set(inside))}"
        )
    if not names:
        raise ValueError(
            f"{directory}: expected a folder a class inside. Received: none; pass labels=None for no labels"
        )
    found = [(path, label) for label, name in enumerate(names) for path in find_clips(directory / name)]
    found.sort()
    return listing_of([path for path, _ in found], directory, [label for _, label in found], names)


def _integers(labels: Any, count: int) -> list[int]:
    array = np.asarray(labels)
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer) or (array < 0).any():
        shape = f"{array.dtype} {list(array.shape)}"
        raise ValueError(f"`labels`: expected one integer >= 0 a file, {count} in all. Received: {shape}")
    return [int(label) for label in array]
