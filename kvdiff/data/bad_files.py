"""What becomes of files that cannot be used."""

from __future__ import annotations

import json
import os
import threading

from kvdiff.diffusion.checks import check_choice, check_real
from kvdiff.media import VideoError, check_file_writable, write_bytes


class BadFiles:
    """Keeps the errors of a data set's files, and raises where they must not or no longer be passed over.

    Args:
        num_videos: of the data set.
        on_bad: "raise" the first error, or "skip" the file.
        max_share: with "skip", raise once more than this share of the videos is bad.
        report: file that "skip" writes, JSON with one path and reason a bad file, anew for every one found; or None.
    """

    def __init__(
        self,
        num_videos: int,
        on_bad: str = "raise",
        max_share: float = 0.1,
        report: str | os.PathLike[str] | None = None,
    ) -> None:
        self._skips = check_choice("on_bad", on_bad, ("raise", "skip")) == "skip"
        self._max_share = check_real("max_bad_share", max_share, above=0.0, below=1.0, closed=True)
        self._num_videos, self._report = num_videos, report
        if self._skips and report is not None:
            check_file_writable(report)
        self._lock = threading.Lock()
        self.errors: dict[object, VideoError] = {}
        """Of the files that were skipped, by video, in the order in which they were found."""
        self.raised: VideoError | None = None
        """The error that `add` raised: what runs a data set may raise another in its place."""

    def add(self, video: object, error: VideoError) -> None:
        """Note that `video` cannot be used; the same again changes nothing.

        Raises:
            VideoError: with "raise", the error; with "skip", where the share of bad videos is past what is allowed.
        """
        with self._lock:
            if not self._skips:
                self.raised = error
                raise error
            if video in self.errors:
                return
            self.errors[video] = error
            if self._report is not None:
                self._write()
            if len(self.errors) > self._max_share * self._num_videos:
                self.raised = VideoError(
                    error.path,
                    f"{error.reason}; bad file {len(self.errors)} of {self._num_videos}, more than the share "
                    f"of {self._max_share:g} that `max_bad_share` allows",
                )
                raise self.raised

    def _write(self) -> None:
        files = [{"path": str(error.path), "reason": error.reason} for error in self.errors.values()]
        content = {"num_videos": self._num_videos, "num_bad": len(files), "bad": files}
        write_bytes(str(self._report), (json.dumps(content, indent=1) + "\n").encode())
