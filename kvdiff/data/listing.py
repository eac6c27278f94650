"""Which videos a data set holds, and their labels, before any of them is opened."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from kvdiff.data.order import held_out
from kvdiff.diffusion.checks import (
    check_array,
    check_choice,
    check_count,
    check_path,
    check_real,
    check_words,
    received,
)
from kvdiff.media import ANYWHERE, check_links, find_clips, list_clip_files, list_folders, num_clips


class Video(NamedTuple):
    """One clip's place: a file or a folder of frames, inside `root`; `member` counts the clips of an array file."""

    path: pathlib.Path
    root: pathlib.Path
    member: int = 0
    links: str | None = None
    """Where links may lead besides `root`: a folder, or "anywhere"."""

    @property
    def name(self) -> str:
        """The path relative to the root, or whole where a table named one elsewhere."""
        path = self.path
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()


class Videos(Sequence[Video]):
    """Videos, created when they are asked for: an array file of 160 bytes a clip may hold millions.

    Args:
        files: each as its first video.
        numbers: int [videos], which file a video lies in.
        members: int [videos], which clip of the file it is.
    """

    def __init__(self, files: Sequence[Video], numbers: np.ndarray, members: np.ndarray) -> None:
        self.files, self.numbers, self.members = tuple(files), numbers, members

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Video: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Video, ...]: ...
    def __getitem__(self, index: int | slice) -> Video | tuple[Video, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        return self.files[self.numbers[index]]._replace(member=int(self.members[index]))

    def __iter__(self) -> Iterator[Video]:
        return (self[index] for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Videos) and tuple(self) == tuple(other)

    def only(self, chosen: np.ndarray) -> Videos:
        """The videos where `chosen`, bool [videos]."""
        return Videos(self.files, self.numbers[chosen], self.members[chosen])


@dataclasses.dataclass(frozen=True)
class Listing:
    """Videos and their labels.

    Attributes:
        videos: in the order of their names.
        labels: int64 [videos], or None.
        class_names: what label 0, 1, … means, or None.
    """

    videos: Videos
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not len(self.videos):
            raise ValueError("expected at least one video. Received: none")
        if self.labels is not None and len(self.labels) != len(self.videos):
            raise ValueError(f"`labels`: expected one a video, {len(self.videos)}. Received: {len(self.labels)}")

    @property
    def file_paths(self) -> list[str]:
        """Every file once, in order."""
        return list(dict.fromkeys(str(self.videos.files[number].path) for number in dict.fromkeys(self._numbers())))

    @property
    def roots(self) -> set[pathlib.Path]:
        """The folders that the videos lie inside."""
        return {video.root for video in self.videos.files}

    def names(self) -> list[str]:
        """The path of every video relative to its root, which does not depend on where the data lies."""
        names = [video.name for video in self.videos.files]
        return [names[number] for number in self._numbers()]

    def only(self, chosen: np.ndarray) -> Listing:
        """The videos where `chosen`, bool [videos]."""
        labels = None if self.labels is None else self.labels[chosen]
        return Listing(self.videos.only(chosen), labels, self.class_names)

    def split(self, validation_split: float, subset: str, seed: int) -> Listing:
        """The "training" or "validation" part; a file is in one of them, whole."""
        check_count("seed", seed, at_least=0)
        check_real("validation_split", validation_split, above=0.0, below=1.0)
        check_choice("subset", subset, ("training", "validation"))
        out = held_out(self.names(), validation_split, seed)
        if out.all() or not out.any():
            raise ValueError(
                f"`validation_split`: expected a share that leaves files on both sides. Received: {validation_split} of"
                f" {len(self.file_paths)} files"
            )
        return self.only(out if subset == "validation" else ~out)

    def _numbers(self) -> list[int]:
        return self.videos.numbers.tolist()


def list_directory(
    directory: str | os.PathLike[str],
    labels: Any = "inferred",
    class_names: Any = None,
    *,
    links: str | os.PathLike[str] | None = None,
) -> Listing:
    """The videos below a folder: files, folders of frames, and the members of array files.

    Args:
        directory: the folder. Hidden files, what systems leave behind and thumbnails are left out.
        labels: "inferred": the folders inside `directory` are the classes; a sequence of integers, one a file in the
            order of their names; None.
        class_names: with inferred labels, which folders are classes, and their order; by default all, sorted.
        links: where links may lead besides `directory`: into another folder, or "anywhere". What they may not lead to
            is a bad file.

    Raises:
        NotADirectoryError: no such folder.
        ValueError: no videos, or labels that do not fit.
    """
    directory, allowed = check_path("directory", directory), check_links(links)
    if not directory.is_dir():
        raise NotADirectoryError(
            f"{directory}: expected a folder. Received: {'a file' if directory.exists() else 'no such folder'}"
        )
    if isinstance(labels, str):
        check_choice("labels", labels, ("inferred",))
        return _by_folder(directory, class_names, allowed)
    if class_names is not None:
        class_names = check_words("class_names", class_names)
    if class_names is not None and labels is None:
        raise ValueError(f"`class_names`: expected None where there are no labels. Received: {class_names!r}")
    paths = find_clips(directory, links=allowed)
    names = None if class_names is None else tuple(class_names)
    numbers = None if labels is None else _integers(labels, len(paths))
    return listing_of(paths, directory, numbers, names, links=allowed)


def list_paths(paths: Sequence[str | os.PathLike[str]], *, links: str | os.PathLike[str] | None = None) -> Listing:
    """The videos among `paths`, without labels; of a folder, those below it.

    Args:
        paths: files and folders. One that is named here is followed wherever it leads.
        links: where links below a folder may lead besides that folder: into another one, or "anywhere".

    Raises:
        FileNotFoundError: one of them is not there.
        ValueError: no path, or a folder without videos.
    """
    allowed = check_links(links)
    files: list[Video] = []
    for path in _paths(paths):
        if path.is_dir() and (inside := find_clips(path, links=allowed)):
            files += [Video(clip, path, links=allowed) for clip in inside]
        else:
            files += [Video(clip, path.parent, links=ANYWHERE) for clip in list_clip_files([path])]
    return _listing(files, None, None)


def _paths(paths: Any) -> list[pathlib.Path]:
    if isinstance(paths, (str, bytes, os.PathLike)) or not isinstance(paths, Iterable):
        raise TypeError(f"`paths`: expected a list of paths. Received: {received(paths)}")
    return [check_path("paths", path) for path in paths]


def listing_of(
    paths: Sequence[pathlib.Path],
    root: pathlib.Path,
    labels: Sequence[int] | None,
    class_names: Any,
    *,
    links: str | os.PathLike[str] | None = None,
) -> Listing:
    """A listing of files inside `root`, one video for every member of an array file; one label a file."""
    if not paths:
        raise ValueError(f"{root}: expected files that hold clips. Received: none")
    allowed = check_links(links)
    return _listing([Video(path, root, links=allowed) for path in paths], labels, class_names)


def _listing(files: Sequence[Video], labels: Sequence[int] | None, class_names: Any) -> Listing:
    counts = np.array([_members(file) for file in files], np.int64)
    numbers = np.repeat(np.arange(len(files), dtype=np.int32), counts)
    members = np.concatenate([np.arange(count, dtype=np.int32) for count in counts]) if files else numbers
    of_videos = None if labels is None else np.asarray(labels, np.int64)[numbers]
    names = None if class_names is None else tuple(class_names)
    return Listing(Videos(files, numbers, members), of_videos, names)


def _members(file: Video) -> int:
    """An array file that is none counts as one, whose reading will tell."""
    try:
        return num_clips(file.path, file.root, file.links)
    except ValueError:
        return 1


def _by_folder(directory: pathlib.Path, class_names: Any, links: str | None) -> Listing:
    inside = list_folders(directory)
    names = inside if class_names is None else list(check_words("class_names", class_names))
    if class_names is not None and set(names) - set(inside):
        raise ValueError(
            f"`class_names`: expected folders in {directory}. Received: {sorted(set(names) - set(inside))}"
        )
    if not names:
        raise ValueError(
            f"{directory}: expected a folder a class inside. Received: none; pass labels=None for no labels"
        )
    found = [
        (path, label) for label, name in enumerate(names) for path in find_clips(directory / name, directory, links)
    ]
    found.sort(key=lambda row: row[0].parts)
    return listing_of([path for path, _ in found], directory, [label for _, label in found], names, links=links)


def _integers(labels: Any, count: int) -> list[int]:
    array = check_array("labels", labels, "integers, one a file")
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer) or (array < 0).any():
        shape = f"{array.dtype} {list(array.shape)}"
        raise ValueError(f"`labels`: expected one integer >= 0 a file, {count} in all. Received: {shape}")
    return [int(label) for label in array]
