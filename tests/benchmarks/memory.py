"""Main memory that training takes above what the process has with its network built: its peak over three steps."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from tests.benchmarks.networks import DEFAULT
from tests.benchmarks.results import Row, compared
from tests.benchmarks.rounds import Contestant, measure_rounds
from tests.benchmarks.session import Session
from tests.benchmarks.sizes import SIZES, Size

__all__ = ["default_rows", "rows"]

_SHORT = ("float32", "bfloat16", "bfloat16 remat")
_FULL = (
    *_SHORT,
    "bfloat16 remat micro_batches=2",
    "float32 micro_batches=2",
    "float32 remat",
    "float32 remat micro_batches=2",
)
_DEFAULT = ("float32", "float32 micro_batches=4", "float32 remat", "float32 remat micro_batches=4")
_LARGE_BATCH = Size("8x16x32x32", batch=8, frames=16, pixels=32, width=48, multipliers=(1, 2))
_CLOCKS = ("mib", "cpu")  # A row's CPU figures are the price: processor time a step.


def rows(session: Session) -> Iterator[Row]:
    """Each of our modes, the leanest first, against the peer's float32."""
    for name in session.options.sizes or ("S",):
        size = SIZES[name]
        ours = _contestants(session, "ours", _FULL if session.options.full else _SHORT, size)
        peer = _contestants(session, "peer", ("float32",), size)
        # It hardly differs from process to process, so the short set sees each once.
        rounds = session.options.processes if session.options.full else 1
        times = measure_rounds([*ours, *peer], rounds, warm_ups=0)
        yield compared("training_memory", name, times, unit="MiB", clocks=_CLOCKS)
        for mode in times["ours"]:
            pair = {"ours": {mode: times["ours"][mode]}, "peer": times["peer"]}
            yield compared(f"training_memory, {mode}", name, pair, unit="MiB", clocks=_CLOCKS)


def default_rows(session: Session) -> Iterator[Row]:
    """The default network's modes against its plain one, at a batch that can be cut up."""
    contestants = _contestants(session, "ours", _DEFAULT, _LARGE_BATCH, network=DEFAULT)
    times = measure_rounds(contestants, session.options.processes, warm_ups=0)["ours"]
    plain, *modes = _DEFAULT
    for mode in modes:
        pair = {"ours": {mode: times[mode]}, "peer": {plain: times[plain]}}
        yield compared("default_network_memory", _LARGE_BATCH.name, pair, unit="MiB", clocks=_CLOCKS)


def _contestants(session: Session, system: str, modes: Sequence[str], size: Size, **options: str) -> list[Contestant]:
    """Each measured in a process of its own."""

    def measure(mode: str) -> dict[str, float]:
        with session.fresh(system) as worker:
            found: dict[str, float] = worker.ask("memory", mode=mode, size=size.sent(), **options)
            return found

    return [Contestant(system, mode, functools.partial(measure, mode)) for mode in modes]
