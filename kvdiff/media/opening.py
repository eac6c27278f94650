"""Open files that may be anything: only regular files, only where links may lead, never waiting for one."""

from __future__ import annotations

import os
import pathlib
import stat
from typing import BinaryIO

from kvdiff.diffusion.checks import check_path
from kvdiff.media.containers import VIDEO_SUFFIXES
from kvdiff.media.errors import VideoError
from kvdiff.media.limits import ReadLimits

ARRAYS = (".npy", ".npz")
READABLE = (*ARRAYS, *VIDEO_SUFFIXES)
"""The suffixes of the files that hold clips."""

STILLS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""The suffixes of the pictures in a folder of frames."""

ANYWHERE = "anywhere"
"""Links may lead anywhere."""

_LITTER = frozenset(("$recycle.bin", "#recycle", "@eadir", "__macosx", "lost+found", "system volume information"))


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden (macOS' `._name` too), or one that systems leave behind in every folder."""
    return name.startswith(".") or name.lower() in _LITTER


def check_links(links: str | os.PathLike[str] | None) -> str | None:
    """Return where links may lead besides the root: nowhere (None), "anywhere", or into a folder, which must exist."""
    if links is None or links == ANYWHERE:
        return links
    if not check_path("links", links).is_dir():
        raise NotADirectoryError(f'`links`: expected None, "{ANYWHERE}" or a folder. Received: {links}')
    return os.fspath(links)


def leads_out(path: str | pathlib.Path, root: str | pathlib.Path | None, links: str | None = None) -> bool:
    """Whether `path`, once links are followed, lies neither inside `root` nor where `links` lets it.

    Raises:
        OSError, RuntimeError, ValueError: no such file, or a loop of links.
    """
    real = pathlib.Path(path).resolve(strict=True)
    if root is None or links == ANYWHERE:
        return False
    return not any(
        real.is_relative_to(pathlib.Path(folder).resolve()) for folder in (root, links) if folder is not None
    )


def real_path(
    path: str | pathlib.Path, root: str | pathlib.Path | None = None, links: str | None = None
) -> pathlib.Path:
    """Where `path` leads once links are followed; it must exist.

    Args:
        path: the path.
        root: folder that it must lie inside; None: anywhere.
        links: where it may lie besides: a folder, or "anywhere".

    Raises:
        VideoError: no such file, or a link or `..` that leads out of the root.
    """
    try:
        is_out = leads_out(path, root, links)
        real = pathlib.Path(path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:  # Missing, a loop of links, a null byte.
        raise VideoError(path, f"no such file ({type(error).__name__})") from error
    if is_out:
        raise VideoError(
            path,
            f"expected a file inside {root}. Received: one that leads to {real}; `links` says where links may lead",
        )
    return real


def open_regular(
    path: str | pathlib.Path,
    root: str | pathlib.Path | None = None,
    limits: ReadLimits | None = None,
    links: str | None = None,
) -> BinaryIO:
    """Open a regular file for reading, without ever waiting for it: a pipe would block for ever.

    Raises:
        VideoError: not a regular file inside `root`, larger than `limits.file_bytes`, or not readable.
    """
    limits = limits or ReadLimits()
    real = real_path(path, root, links)
    flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))
    try:
        descriptor = os.open(real, flags)
    except OSError as error:
        raise VideoError(path, f"expected a readable file. Received: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise VideoError(path, "expected a file. Received: a folder or a special file")
        if status.st_size > limits.file_bytes:
            limit = f"{limits.file_bytes} bytes (`file_bytes` of `ReadLimits`)"
            raise VideoError(path, f"expected at most {limit}. Received: {status.st_size}")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
