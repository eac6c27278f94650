"""What a file that cannot be used as a clip raises."""

from __future__ import annotations

import os
import pathlib
from typing import Any


def printable(name: str | os.PathLike[str]) -> str:
    r"""A file name as text that can be encoded: a byte FF that is no UTF-8 comes out as \udcff."""
    return os.fspath(name).encode("utf-8", "backslashreplace").decode()


class VideoError(ValueError):
    """A file that is missing, foreign, damaged, too large, too slow to decode, or not where it should be.

    Attributes:
        path: the file.
        reason: one sentence: what was expected and what was received.
    """

    def __init__(self, path: str | pathlib.Path, reason: str) -> None:
        super().__init__(f"{printable(path)}: {printable(reason)}")
        self.path = pathlib.Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.reason)
