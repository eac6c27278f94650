"""Write files whole or not at all, and find out before long work whether that will be possible."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from kvdiff.media.errors import printable

_ON_WINDOWS = os.name == "nt"
_NOT_ON_WINDOWS = re.compile(
    r'.*[<>:"|?*\x00-\x1f].*|.*[. ]|(con|prn|aux|nul|com[0-9]|lpt[0-9])\s*(\..*)?', re.I | re.S
)
"""Names that Windows takes for devices or for streams of another file, or shortens: what is written there is lost."""

_UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF}
"""What `fsync` says on file systems that cannot: some network shares and buckets mounted as folders."""


def write_bytes(path: str | os.PathLike[str], content: bytes) -> pathlib.Path:
    """Write a file so that it appears whole or not at all, even if the machine stops half-way; returns the path.

    Raises:
        OSError: it cannot be written. Where only its name could not be changed, the message says where the content is.
    """
    with whole_file(path) as file:
        file.write(content)
    return pathlib.Path(path)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write to that appears at `path` when the block has ended without an error, and else not at all.

    Raises:
        OSError: as `write_bytes`.
    """
    path = pathlib.Path(path)
    _check_place(path)
    descriptor, temporary = _temporary(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            flush(file.fileno())
        with contextlib.suppress(OSError):  # Network shares and foreign disks have permissions of their own.
            os.chmod(temporary, 0o666 & ~_umask())
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise
    try:
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            error.errno, f"{error.strerror}; what was to be written is in {printable(temporary)}", str(path)
        ) from error


def flush(descriptor: int) -> None:
    """Wait until an open file, or a folder's list of names, is on the disk, where the file system knows how."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def check_file_writable(path: str | os.PathLike[str]) -> None:
    """Raise unless `write_bytes(path, …)` will work, by writing and renaming a small hidden file beside it.

    Raises:
        FileNotFoundError: no such folder.
        IsADirectoryError: `path` is a folder.
        OSError: nothing can be written there, or not under such a name.
    """
    path = pathlib.Path(path)
    with _explained(path):
        _check_place(path)
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path)  # A name that is too long.
        descriptor, temporary = _temporary(path)
        renamed = f"{temporary}~"
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"kvdiff")
            os.replace(temporary, renamed)
        finally:
            for name in (temporary, renamed):
                pathlib.Path(name).unlink(missing_ok=True)
    if path.exists() and not os.access(path, os.W_OK) and _ON_WINDOWS:  # There, what is read-only is not replaced.
        raise PermissionError(f"{path}: no permission to replace it")


def check_folder_writable(folder: str | os.PathLike[str]) -> None:
    """Raise unless files can be written into a folder, which is created where it is not there, and left where it was.

    Raises:
        OSError: it cannot be created, or nothing can be written there.
    """
    folder = pathlib.Path(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    with _explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        check_file_writable(folder / "file")
    finally:
        with contextlib.suppress(OSError):  # Someone else has put a file there meanwhile.
            for place in made:
                place.rmdir()


@contextlib.contextmanager
def _explained(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.strerror is None:  # One of this module's own.
            raise
        raise type(error)(f"{path}: expected a place that can be written to. Received: {error.strerror}") from error


def _check_place(path: pathlib.Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: no such folder: {path.parent}")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected a file. Received: a folder")
    if _ON_WINDOWS and _NOT_ON_WINDOWS.fullmatch(path.name):
        raise ValueError(f"{path}: expected a name that Windows has for files. Received: {path.name!r}")


def _temporary(path: pathlib.Path) -> tuple[int, str]:
    return tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)


def _umask() -> int:
    """The process's file mode mask; `mkstemp` ignores it, ordinary files follow it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
