"""What the files of a data set hold, as digests: a training that goes on must find the same videos."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import pathlib
import stat
from collections.abc import Iterator, Sequence

DIGESTS = ("parts", "all")
"""How much of every file is read: eight blocks spread over it, or all."""
_BLOCK = 4096
_NUM_BLOCKS = {"file": 8, "frame": 2}


def file_digests(paths: Sequence[str | os.PathLike[str]], digest: str = "parts") -> tuple[str, str]:
    """(SHA-256 of sizes and bytes, SHA-256 of the times at which they were written) of files and folders of frames.

    Names are no part of it. What cannot be read counts as that.

    Args:
        paths: the files, in an order that counts.
        digest: one of `DIGESTS`.
    """
    content, times = hashlib.sha256(), hashlib.sha256()
    files = [file for path in paths for file in _files(pathlib.Path(path))]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:  # On a network most of the time is waiting.
        for size, written, found in pool.map(lambda file: _digest(file[0], file[1], digest), files):
            content.update(f"{size} {found}\n".encode())
            times.update(f"{written}\n".encode())
    return content.hexdigest(), times.hexdigest()


def _files(path: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    if path.is_dir():
        yield from ((entry, "frame") for entry in sorted(path.iterdir()) if not entry.name.startswith("."))
    else:
        yield path, "file"


def _digest(path: pathlib.Path, kind: str, digest: str) -> tuple[int, int, str]:
    """(size, time of writing, SHA-256); zeros for what is no file to read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return 0, 0, "no file"
        with path.open("rb") as file:
            if digest == "all":
                return status.st_size, status.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()
            found, last = hashlib.sha256(), max(status.st_size - _BLOCK, 0)
            count = _NUM_BLOCKS[kind]
            for offset in sorted({last * index // (count - 1) for index in range(count)}):
                file.seek(offset)
                found.update(file.read(_BLOCK))
            return status.st_size, status.st_mtime_ns, found.hexdigest()
    except OSError as error:
        return 0, 0, type(error).__name__
