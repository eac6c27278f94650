"""SIGTERM and Ctrl-C, remembered until a training step is done."""

from __future__ import annotations

import signal
import threading
from typing import Any


class Interruption:
    """Between `listen` and `restore`, the first SIGTERM or SIGINT is noted; a second one acts as if nothing listened.

    Only the main thread may listen to signals; in another one nothing is noted.

    Attributes:
        received: the signal, or None.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Begin to note signals."""
        self.received = None
        if threading.current_thread() is threading.main_thread() and not self._before:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)

    def restore(self) -> None:
        """Leave signals to whoever had them before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def leave(self) -> None:
        """End the process as the noted signal asks: SIGTERM with exit code 0, Ctrl-C with `KeyboardInterrupt`."""
        if self.received is signal.SIGTERM:
            raise SystemExit(0)
        raise KeyboardInterrupt

    def _note(self, number: int, frame: Any) -> None:
        self.received = signal.Signals(number)
        self.restore()
