"""What comes before the first result: `import`, and the first training step, in fresh processes."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator

from tests.benchmarks.networks import DEFAULT, PEERS
from tests.benchmarks.results import Row, compared
from tests.benchmarks.rounds import Contestant, measure_rounds
from tests.benchmarks.session import Session
from tests.benchmarks.sizes import SIZES

__all__ = ["rows"]


def rows(session: Session) -> Iterator[Row]:
    """Our import against the peer's; the first step of a compiled model; and the process until that step is done."""
    rounds = session.options.processes
    imports = [Contestant(system, "import", functools.partial(_import, session, system)) for system in ("ours", "peer")]
    yield compared("import", "", measure_rounds(imports, rounds))
    for network in (PEERS, DEFAULT) if session.options.full else (PEERS,):
        ours = functools.partial(_first_step, session, "ours", network=network)
        peer = functools.partial(_first_step, session, "peer")
        steps = [Contestant("ours", "float32", ours), Contestant("peer", "float32", peer)]
        times = measure_rounds(steps, rounds, warm_ups=0)
        suffix = "" if network == PEERS else f"_{network}"
        yield compared(f"first_step{suffix}", "S", times)
        yield compared(f"process_to_first_step{suffix}", "S", times, clocks=("process_wall", "process_cpu"))


def _import(session: Session, system: str) -> dict[str, float]:
    with session.fresh(system) as worker:
        return worker.ask("import")


def _first_step(session: Session, system: str, **options: str) -> dict[str, float]:
    """Seconds of the first step, and of a process of its own until that is done."""
    began = time.perf_counter()
    with session.fresh(system) as worker:
        found = worker.ask("first_step", mode="float32", size=SIZES["S"].sent(), **options)
        ending = found.pop("ending", 0.0)
        return {**found, "process_wall": time.perf_counter() - began - ending}
