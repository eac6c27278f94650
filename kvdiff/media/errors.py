"""What a file that cannot be used as a clip raises."""

from __future__ import annotations

import pathlib
from typing import Any

__all__ = ["VideoError"]


class VideoError(ValueError):
    """A file that is missing, foreign, damaged, too large, too slow to decode, or not where it should be.

    Attributes:
        path: the file.
        reason: one sentence: what was expected and what was received.
    """

    def __init__(self, path: str | pathlib.Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = pathlib.Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.reason)
