"""One run of benchmarks: its options, its workers, and what they are asked."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.parity import check_parity
from tests.benchmarks.results import load
from tests.benchmarks.rounds import Contestant
from tests.benchmarks.sizes import Size
from tests.benchmarks.workers import Worker, WorkerError, last_line

__all__ = ["Options", "Session"]


@dataclasses.dataclass(frozen=True)
class Options:
    """What to measure and how often.

    Attributes:
        pythons: the interpreter of each system.
        full: everything, or the short set.
        rounds: of timings.
        processes: rounds of what needs a fresh process each time, or takes long.
        sizes: names of `SIZES`; empty for each benchmark's own.
        threads: that a worker may use.
        modules: the program of each system's worker.
    """

    pythons: dict[str, str]
    full: bool = False
    rounds: int = 7
    processes: int = 3
    sizes: tuple[str, ...] = ()
    threads: int = 1
    modules: dict[str, str] = dataclasses.field(
        default_factory=lambda: {"ours": "tests.benchmarks.ours", "peer": "tests.benchmarks.peer"}
    )
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


class Session:
    """Persistent workers, started when first asked; leave by a `with`."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._numbers = itertools.count()
        self._folder = tempfile.TemporaryDirectory()
        self._workers: dict[str, Worker] = {}
        self._references: dict[Size, tuple[str, dict[str, Any]]] = {}

    def fresh(self, system: str) -> Worker:
        """A new worker of a system, for a `with`."""
        threads = str(self.options.threads)
        environment = {"OMP_NUM_THREADS": threads, "TF_NUM_INTRAOP_THREADS": threads, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [self.options.pythons[system], "-m", self.options.modules[system]]
        return Worker(system, command, {**environment, **self.options.environment})

    def worker(self, system: str) -> Worker:
        """The persistent worker of a system."""
        if system not in self._workers:
            self._workers[system] = self.fresh(system)
        return self._workers[system]

    def prepare(self, system: str, what: str, modes: Sequence[str], size: Size, **options: Any) -> dict[str, str]:
        """Make a call of each mode ready; returns their keys."""
        keys = {mode: f"{what} {mode} {next(self._numbers)}" for mode in modes}
        for mode, key in keys.items():
            self.worker(system).ask("prepare", key=key, what=what, mode=mode, size=size.sent(), **options)
        return keys

    def prepare_what_runs(
        self, system: str, what: str, modes: Sequence[str], size: Size, **options: Any
    ) -> tuple[dict[str, str], dict[str, str]]:
        """As `prepare`, and why of modes that cannot be prepared, by system and mode."""
        keys, left_out = {}, {}
        for mode in modes:
            try:
                keys |= self.prepare(system, what, (mode,), size, **options)
            except WorkerError as error:
                left_out[f"{system} {mode}"] = last_line(error)
        return keys, left_out

    def contestants(self, system: str, keys: dict[str, str]) -> list[Contestant]:
        """Of prepared calls."""
        ask = self.worker(system).ask
        return [Contestant(system, mode, functools.partial(ask, "time", key=key)) for mode, key in keys.items()]

    def reference(self, size: Size, **options: Any) -> tuple[str, dict[str, Any]]:
        """The folder of the peer's weights and answers, and the differences of its own lower precisions."""
        if size not in self._references:
            folder = str(Path(self._folder.name) / f"reference{next(self._numbers)}")
            os.mkdir(folder)
            found = self.worker("peer").ask("reference", size=size.sent(), folder=folder, **options)
            self._references[size] = folder, found
        return self._references[size]

    def weights(self, size: Size) -> str:
        """The file of the peer's weights."""
        return str(Path(self.reference(size)[0]) / "weights.safetensors")

    def parity(self, size: Size, keys: dict[str, str], system: str = "ours") -> dict[str, Any]:
        """The differences from the peer, by system and mode; `ParityError` where they are too large."""
        folder, peers = self.reference(size)
        found = {mode: self.worker(system).ask("compare", key=key, folder=folder) for mode, key in keys.items()}
        for mode, differences in found.items():
            check_parity(mode, differences)
        return {system: found, "peer": peers}

    def forget(self) -> None:
        """Free what the workers have prepared."""
        for worker in self._workers.values():
            worker.ask("forget")

    def about(self) -> dict[str, Any]:
        """Machine, versions and load, for the results."""
        ours, peer = (self.worker(system).ask("about") for system in ("ours", "peer"))
        threads = {"ours": ours["threads"], "peer": peer["threads"]}
        machine = {**ours["machine"], "threads": threads, "peer_device": peer["device"]}
        return {"machine": machine, "versions": {**ours["versions"], **peer["versions"]}, "load": load()}

    def restart(self) -> None:
        """End the workers; new ones start when they are asked."""
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def close(self) -> None:
        """End the workers, and delete their files."""
        self.restart()
        self._folder.cleanup()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
