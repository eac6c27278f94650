"""Room on the disk for a result that is hours away."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
from collections.abc import Callable, Iterator

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def room_for(path: pathlib.Path, num_bytes: int) -> Iterator[Callable[[], None]]:
    """Inside the block the disk has `num_bytes` left for `path`, however full it gets; call the value to free them.

    A file beside `path` holds the room. Where a file system cannot promise any, the block goes on without.

    Raises:
        OSError: there is no room now.
    """
    held = path.with_name(f".room-for-{path.name}")
    try:
        with held.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, num_bytes)
    except OSError as error:
        held.unlink(missing_ok=True)
        if error.errno in _FULL:
            size = f"{num_bytes / 1e6:.0f} MB"
            raise OSError(error.errno, f"{path}: expected {size} of room on the disk. Received: less") from error
    try:
        yield lambda: held.unlink(missing_ok=True)
    finally:
        held.unlink(missing_ok=True)
