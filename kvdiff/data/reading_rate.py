"""How fast a data set is read."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator


class ReadingRate:
    """Says how long the reading of the first epoch took, counting of clips included; later ones have their cache."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._lock = threading.Lock()
        self._clips = self._frames = self._num_reading = 0
        self._seconds = self._since = 0.0

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Count the time in which at least one thread reads: what training does meanwhile is not the reader's."""
        with self._lock:
            if not self._num_reading:
                self._since = time.perf_counter()
            self._num_reading += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_reading -= 1
                if not self._num_reading:
                    self._seconds += time.perf_counter() - self._since

    def add(self, frames: int, num_samples: int) -> None:
        """Count a clip that was read, of `num_samples` in an epoch."""
        with self._lock:
            self._clips += 1
            self._frames += frames
            if self._clips != num_samples:
                return
            running = time.perf_counter() - self._since if self._num_reading else 0.0
        seconds = self._seconds + running
        rate = f"{self._frames / max(seconds, 1e-6):.0f} frames/s"
        self._announce(f"Read {self._clips} clips, {self._frames} frames, in {seconds:.1f} s: {rate}.")
