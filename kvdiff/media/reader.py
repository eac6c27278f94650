"""Read clips in worker processes, in parallel, each of which can be killed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import queue
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from kvdiff.diffusion.checks import check_count, check_kind
from kvdiff.media.decoding import Clip, ClipFacts
from kvdiff.media.errors import VideoError
from kvdiff.media.limits import ReadLimits
from kvdiff.media.opening import ANYWHERE
from kvdiff.media.reading import ClipRequest, check_is_video
from kvdiff.media.seeking import FrameIndex, NotIndexedError
from kvdiff.media.worker import READY

_MAX_HEAD = 2**16
_Result = TypeVar("_Result")


class ClipReader:
    """Decodes clips in worker processes, so that no file can crash, hang or fill the process that trains.

    Workers start when they are first needed, decode one clip at a time, and are killed where one takes longer than
    `limits.seconds`. Any number of threads may call `read`; at most `num_workers` clips are decoded at once.

    Args:
        num_workers: processes; by default one a CPU this process may run on.
        limits: caps on what a file may ask for.

    Example:
        with ClipReader() as reader:
            clip = reader.read(ClipRequest(path="clip.mp4", size=(64, 64)))
    """

    def __init__(self, num_workers: int | None = None, limits: ReadLimits | None = None) -> None:
        self.num_workers = check_count("num_workers", num_workers) if num_workers is not None else _num_cpus()
        self.limits = ReadLimits() if limits is None else check_kind("limits", limits, ReadLimits)
        self._begin()

    def _begin(self) -> None:
        """Without workers."""
        self._process = os.getpid()
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()  # None: a worker not started yet.
        for _ in range(self.num_workers):
            self._idle.put(None)
        self._running: set[_Worker] = set()
        self._finalizer = weakref.finalize(self, _stop_all, self._running, self._process)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets a reader with workers of its own."""
        return ClipReader, (self.num_workers, self.limits)

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop all workers; the next `read` starts new ones."""
        _stop_all(self._running, self._process)

    def read(self, request: ClipRequest) -> Clip:
        """Decode one clip; waits for a free worker.

        Raises:
            VideoError: whatever is wrong with the file, or decoding it killed the worker or took too long.
            ImportError: PyAV or Pillow is not installed.
        """
        return self._with_worker(request, lambda worker: worker.read(request))

    def index(self, request: ClipRequest) -> FrameIndex:
        """The index of a long video, for `ClipRequest.seek`; waits for a free worker.

        Raises:
            NotIndexedError: no video, a short one, or one that can be decoded only from its beginning.
            VideoError: the file may not be opened, or reading it killed the worker or took too long.
            ImportError: PyAV is not installed.
        """
        check_is_video(request)  # An array may hold a million clips, and none needs a worker to be told so.
        return self._with_worker(request, lambda worker: worker.index(request))

    def _with_worker(self, request: ClipRequest, use: Callable[[_Worker], _Result]) -> _Result:
        if os.getpid() != self._process:  # A copy that `fork` made: the pipes are those of the other process.
            self._finalizer.detach()
            self._begin()
        worker = self._idle.get()
        try:
            if worker is None or not worker.is_alive():
                worker = self._start()
            return use(worker)
        except (VideoError, ImportError, NotIndexedError):  # The reply was complete.
            raise
        except BaseException as error:  # The rest of a reply may still lie in the pipe.
            if worker is not None:
                self._running.discard(worker)
                worker.stop()
            if isinstance(error, _WorkerError):
                raise VideoError(request.path, str(error)) from None
            raise
        finally:
            self._idle.put(worker if worker in self._running else None)

    def _start(self) -> _Worker:
        worker = _Worker(self.limits)
        self._running.add(worker)
        return worker


class _WorkerError(Exception):
    """The worker's replies ended."""


class _Worker:
    """One process, and the pipes to it."""

    def __init__(self, limits: ReadLimits) -> None:
        self._limits = limits
        # The folder that this package was imported from, so that a script beside a checkout works too.
        paths = [str(pathlib.Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kvdiff.media.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._ask(dataclasses.asdict(limits))
        if self._answers.readline(_MAX_HEAD) != READY:  # Its imports take time that no clip is to blame for.
            self.stop()
            raise RuntimeError(f"a process to decode clips did not start ({_cause(self._process.returncode)})")

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """Kill the process and close what led to it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):  # What was still to be written has nobody to go to.
                pipe.close()

    def read(self, request: ClipRequest) -> Clip:
        return self._in_time("clip", request, self._clip)

    def index(self, request: ClipRequest) -> FrameIndex:
        return self._in_time("index", request, self._index)

    def _in_time(self, wants: str, request: ClipRequest, receive: Callable[[dict[str, Any]], _Result]) -> _Result:
        late = threading.Event()
        timer = threading.Timer(self._limits.seconds, self._give_up, [late])
        timer.start()
        try:
            self._ask({"wants": wants, "request": _absolute(request)})
            return receive(self._head(request))
        except (EOFError, BrokenPipeError):
            if late.is_set():
                raise _WorkerError(f"expected to be decoded in {self._limits.seconds:g} s. Received: more") from None
            raise _WorkerError(f"the decoder died of it ({_cause(self._process.wait())})") from None
        finally:
            timer.cancel()

    def _give_up(self, late: threading.Event) -> None:
        late.set()
        self._process.kill()

    def _ask(self, message: dict[str, Any]) -> None:
        try:
            self._requests.write(json.dumps(message).encode() + b"\n")
            self._requests.flush()
        except OSError as error:  # Windows says of a pipe without reader that the argument is invalid.
            raise BrokenPipeError(*error.args) from error

    def _head(self, request: ClipRequest) -> dict[str, Any]:
        """The line that a reply begins with; what it says to be wrong is raised."""
        line = self._answers.readline(_MAX_HEAD)
        if not line.endswith(b"\n"):
            raise EOFError
        head = json.loads(line)
        if "missing" in head:
            raise ImportError(head["missing"])
        if "not_indexed" in head:
            raise NotIndexedError(head["not_indexed"], is_needed=bool(head["is_needed"]))
        if "error" in head:
            raise VideoError(request.path, head["error"])
        return head

    def _clip(self, head: dict[str, Any]) -> Clip:
        shape, num_times = tuple(map(int, head["shape"])), int(head["times"])
        if math.prod(shape) > self._limits.clip_bytes or num_times > self._limits.frames:
            raise _WorkerError(f"the decoder returned {shape} pixels and {num_times} frames, past the limits")
        times = np.frombuffer(self._exactly(8 * num_times), "<f8")
        frames = np.frombuffer(self._exactly(math.prod(shape)), np.uint8).reshape(shape)
        facts = ClipFacts(**head["facts"])
        return Clip(frames, times, facts._replace(notes=tuple(facts.notes)))

    def _index(self, head: dict[str, Any]) -> FrameIndex:
        count = int(head["packets"])
        if count > self._limits.frames:
            raise _WorkerError(f"the decoder returned {count} frames, past the limits")
        packets = np.frombuffer(self._exactly(24 * count), "<i8").astype(np.int64).reshape(count, 3)
        above, below = map(int, head["time_base"])
        return FrameIndex(packets, (above, below), float(head["rate"]), int(head["file_bytes"]))

    def _exactly(self, size: int) -> bytes:
        content = self._answers.read(size)
        if len(content) < size:
            raise EOFError
        return content


def _absolute(request: ClipRequest) -> dict[str, Any]:
    """The request with paths that mean the same in a worker: it stays in the folder that it was started in."""
    message = dataclasses.asdict(request)
    for name in ("path", "root", "links"):
        if message[name] not in (None, ANYWHERE):
            message[name] = os.path.abspath(message[name])
    return message


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _num_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stop_all(workers: set[_Worker], process: int) -> None:
    """Stop the workers that `process` has started, where this is it."""
    while workers and process == os.getpid():
        workers.pop().stop()
