"""Workers: one Python program a system, each in its own environment, that stays up and answers requests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["ROOT", "Worker", "WorkerError", "last_line"]

ROOT = Path(__file__).resolve().parents[2]
_SHOWN = 4000  # Characters of what a worker said last.


class WorkerError(RuntimeError):
    """A worker failed or died; the message holds its own error output."""


def last_line(error: WorkerError) -> str:
    """What failed, without the way there."""
    return str(error).strip().splitlines()[-1]


class Worker:
    """A process that runs `answering.answer`; leave by `close` or a `with`.

    Args:
        name: for messages.
        command: what to run, e.g. `[python, "-m", "tests.benchmarks.peer"]`; it runs in the project's root.
        environment: variables besides the present ones.

    Raises:
        WorkerError: there is no such program.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        if shutil.which(command[0]) is None:
            raise WorkerError(f"{name}: expected an interpreter; `make bench` installs both. Received: {command[0]}")
        self.name = name
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed by `close`)
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        """The answer to one request.

        Raises:
            WorkerError: the task raised, or the process is gone.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"{self.name}, asked to {do}: ended with exit code {self._ended()}\n{self._said()}")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(f"{self.name}, asked to {do}: {reply['error']}")
        return reply["answer"]

    def _ended(self) -> int:
        self._process.kill()  # It may have closed its output and live on.
        return self._process.wait()

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-_SHOWN:]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):  # A request that a dead worker did not take.
                stream.close()  # type: ignore[union-attr]
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
