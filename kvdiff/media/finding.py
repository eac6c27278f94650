"""Which files and folders hold clips; nothing is opened."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterable, Iterator

from kvdiff.media.opening import ARRAYS, READABLE, STILLS, is_litter, leads_out, real_path

_COMPANIONS = (".gif", *ARRAYS)
"""Suffixes of clips that may also be what goes with a video of the same name."""


def list_clip_files(paths: Iterable[str | pathlib.Path], links: str | None = None) -> list[pathlib.Path]:
    """The clips among `paths`; of a folder, every readable file and folder of frames below it, sorted by name.

    Args:
        paths: files and folders. One that is named here is followed wherever it leads.
        links: where links below a folder may lead besides that folder: into another one, or "anywhere".

    Raises:
        FileNotFoundError: one of them is not there.
        VideoError: a link below a folder leads where it may not.
        ValueError: a folder without clips, or no path.
    """
    files: list[pathlib.Path] = []
    for path in map(pathlib.Path, paths):
        check_there(path)
        inside = find_clips(path, links=links) if path.is_dir() else []
        if path.is_dir() and not inside:
            raise ValueError(f"{path}: expected files ending in {', '.join(READABLE)}. Received: a folder with none")
        for clip in inside:
            real_path(clip, path, links)
        files += inside if path.is_dir() else [path]
    if not files:
        raise ValueError("`paths`: expected at least one file or folder. Received: none")
    return files


def check_there(path: pathlib.Path) -> None:
    """Raise where nothing is at `path`, or a link that leads nowhere."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder" + (" (a broken link)" if path.is_symlink() else ""))


def find_clips(folder: pathlib.Path, root: pathlib.Path | None = None, links: str | None = None) -> list[pathlib.Path]:
    """Clip files and folders of frames at or below `folder`, sorted.

    Hidden files and what systems leave behind are left out. So is what is named after a video beside it: GIFs and
    arrays are taken for its preview and its features. And so are pictures beside clips, as thumbnails, but for a
    numbered sequence that is not named after them. A linked folder is entered where `links` lets it; one that is not,
    and holds clips, is listed itself, so that reading it says why it cannot be.

    Args:
        folder: the folder.
        root: what links may not lead out of; by default `folder`.
        links: where they may lead besides: into another folder, or "anywhere".

    Raises:
        OSError: a folder cannot be listed.
    """
    found = _found(folder, folder if root is None else root, links, (folder.resolve(),))
    return sorted(found, key=lambda path: path.parts)  # Windows' paths would be sorted regardless of case.


def list_folders(folder: pathlib.Path) -> list[str]:
    """The names of the folders inside one, sorted; hidden ones and what systems leave behind are left out."""
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not is_litter(entry.name))


def _found(
    folder: pathlib.Path, root: pathlib.Path, links: str | None, above: tuple[pathlib.Path, ...]
) -> Iterator[pathlib.Path]:
    """The clips at or below a folder; `above`: it and those on the way to it, without links."""
    with os.scandir(folder) as entries:
        shown = [(pathlib.Path(entry.path), _is_folder(entry)) for entry in entries]
    shown = [row for row in shown if not is_litter(row[0].name)]
    files = [path for path, is_folder in shown if not is_folder]
    films = [path for path in files if path.suffix.lower() in READABLE and path.suffix.lower() not in _COMPANIONS]
    others = [path for path in files if path.suffix.lower() in _COMPANIONS]
    clips = [*films, *_without_companions(others, films)]
    yield from clips
    if _are_frames([path for path in files if path.suffix.lower() in STILLS], clips):
        yield folder
    for path in (path for path, is_folder in shown if is_folder):
        real = path.resolve()
        is_link = real != above[-1] / path.name  # Or one of Windows' junctions, which are no symbolic links.
        if is_link and real in above:  # It leads in a circle.
            continue
        if is_link and leads_out(path, root, links):
            if _may_hold_clips(path):
                yield path
        else:
            yield from _found(path, root, links, (*above, real))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link to itself.
        return False


def _may_hold_clips(folder: pathlib.Path) -> bool:
    entries = [entry for entry in folder.iterdir() if not is_litter(entry.name)]
    return any(entry.suffix.lower() in (*READABLE, *STILLS) or entry.is_dir() for entry in entries)


def _are_frames(stills: list[pathlib.Path], clips: list[pathlib.Path]) -> bool:
    """Whether pictures in one folder are a video: beside clips they mostly are thumbnails."""
    if not clips:
        return bool(stills)
    patterns = [re.sub("[0-9]+", "#", path.stem) for path in _without_companions(stills, clips)]
    return len(patterns) > 1 and len(set(patterns)) == 1 and "#" in patterns[0]


def _without_companions(paths: list[pathlib.Path], clips: list[pathlib.Path]) -> list[pathlib.Path]:
    """Those of `paths` that are not named after one of `clips`: v1.jpg, v1_thumb.jpg and v1.npy belong to v1.mp4."""
    stems = {clip.stem for clip in clips}

    def belongs(stem: str) -> bool:
        ends = [len(stem), *(match.start() for match in re.finditer("[^0-9A-Za-z]", stem))]
        return any(stem[:end] in stems for end in ends)

    return [path for path in paths if not belongs(path.stem)]
