"""Open files that may be anything: only regular files, only inside the root, never waiting for one."""

from __future__ import annotations

import os
import pathlib
import stat
from typing import BinaryIO

from kvdiff.media.errors import VideoError
from kvdiff.media.limits import ReadLimits

__all__ = ["ARRAYS", "READABLE", "STILLS", "VIDEO_FORMATS", "open_regular", "real_path"]

_ISO = "mov,mp4,m4a,3gp,3g2,mj2"
_MATROSKA = "matroska,webm"

VIDEO_FORMATS = {
    ".3g2": _ISO,
    ".3gp": _ISO,
    ".asf": "asf",
    ".avi": "avi",
    ".f4v": _ISO,
    ".flv": "flv",
    ".gif": "gif",
    ".m1v": "mpegvideo",
    ".m2v": "mpegvideo",
    ".m4v": _ISO,
    ".mkv": _MATROSKA,
    ".mov": _ISO,
    ".mp4": _ISO,
    ".mpeg": "mpeg",
    ".mpg": "mpeg",
    ".mts": "mpegts",
    ".ts": "mpegts",
    ".vob": "mpeg",
    ".webm": _MATROSKA,
    ".wmv": "asf",
}
"""The one container that a file of each suffix may hold. Playlists and network formats are not among them."""

ARRAYS = (".npy", ".npz")
READABLE = (*ARRAYS, *VIDEO_FORMATS)
"""The suffixes of the files that hold clips."""

STILLS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""The suffixes of the pictures in a folder of frames."""


def real_path(path: str | pathlib.Path, root: str | pathlib.Path | None = None) -> pathlib.Path:
    """Where `path` leads once links are followed; it must exist and, where `root` is given, lie inside it.

    Raises:
        VideoError: no such file, or a link or `..` that leads out of the root.
    """
    try:
        real = pathlib.Path(path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:  # Missing, a loop of links, a null byte.
        raise VideoError(path, f"no such file ({type(error).__name__})") from error
    if root is not None and not real.is_relative_to(pathlib.Path(root).resolve()):
        raise VideoError(path, f"expected a file inside {root}. Received: one that leads to {real}")
    return real


def open_regular(
    path: str | pathlib.Path, root: str | pathlib.Path | None = None, limits: ReadLimits | None = None
) -> BinaryIO:
    """Open a regular file for reading, without ever waiting for it: a pipe would block for ever.

    Raises:
        VideoError: not a regular file inside `root`, larger than `limits.file_bytes`, or not readable.
    """
    limits = limits or ReadLimits()
    real = real_path(path, root)
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
            raise VideoError(path, f"expected at most {limits.file_bytes} bytes. Received: {status.st_size}")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
