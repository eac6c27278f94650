"""Measure kvdiff against its peer in one run: `make bench` for the short set, `make bench-full` for everything.

    python -m tests.benchmarks                           # the short set; writes results/short.json and short.png
    python -m tests.benchmarks --full                    # everything; writes results/full.json and full.png
    python -m tests.benchmarks train_step --sizes S,M    # some of it; writes only with --output

Every system runs in processes of its own, ours in .venv and the peer in .venv-peers, which `make bench` installs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.benchmarks import denoiser_call, growth, loader, long_video, memory, sampling, startup, train_step
from tests.benchmarks.plot import plot
from tests.benchmarks.results import RESULTS, Row, load, write_document
from tests.benchmarks.session import Options, Session
from tests.benchmarks.sizes import SIZES
from tests.benchmarks.table import left_out_lines, table
from tests.benchmarks.workers import ROOT, WorkerError

__all__ = ["BENCHMARKS", "SHORT", "main"]

BENCHMARKS: dict[str, Callable[[Session], Iterator[Row]]] = {
    "train_step": train_step.rows,
    "denoiser_call": denoiser_call.rows,
    "sampling": sampling.rows,
    "memory": memory.rows,
    "startup": startup.rows,
    "growth": growth.rows,
    "runtimes": denoiser_call.runtime_rows,
    "default_memory": memory.default_rows,
    "loader": loader.rows,
    "long_video": long_video.rows,
}
SHORT = ("train_step", "denoiser_call", "sampling", "memory", "startup", "growth")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="benchmark", help=f"some of {', '.join(BENCHMARKS)}")
    parser.add_argument("--full", action="store_true", help="all benchmarks, sizes and modes")
    parser.add_argument("--rounds", type=int, help="of timings (5, full 7)")
    parser.add_argument("--processes", type=int, help="rounds of what takes fresh processes or long (2, full 7)")
    parser.add_argument("--sizes", default="", help=f"some of {','.join(SIZES)} in place of a benchmark's own")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="that each system may use")
    parser.add_argument("--output", type=Path, help="JSON file; the plot lies beside it")
    for system, folder in (("ours", ".venv"), ("peer", ".venv-peers")):
        default = os.environ.get(f"BENCHMARK_PYTHON_{system.upper()}", str(ROOT / folder / "bin" / "python"))
        parser.add_argument(f"--python-{system}", default=default, help=f"interpreter of that worker ({default})")
    found = parser.parse_args(argv)
    for kind, names, known in (("benchmark", found.names, BENCHMARKS), ("--sizes", split(found.sizes), SIZES)):
        if unknown := [name for name in names if name not in known]:
            parser.error(f"{kind}: expected some of {', '.join(known)}. Received: {', '.join(unknown)}")
    return found


def split(names: str) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(name for name in names.split(",") if name)


def options(found: argparse.Namespace) -> Options:
    """What to measure and how often."""
    return Options(
        pythons={"ours": found.python_ours, "peer": found.python_peer},
        full=found.full,
        rounds=found.rounds or (7 if found.full else 5),
        processes=found.processes or (7 if found.full else 2),
        sizes=split(found.sizes),
        threads=found.threads,
    )


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Measure, print the table, write the results.

    Raises:
        ParityError: at once, where ours does not compute what the peer computes.
        SystemExit: at once, where no worker starts; at the end, where one failed: what else was measured is written.
    """
    found = arguments(argv)
    output = found.output or (None if found.names else RESULTS / f"{'full' if found.full else 'short'}.json")
    rows: list[Row] = []
    failed: list[str] = []
    with Session(options(found)) as session:
        try:
            about = session.about()
        except WorkerError as error:
            raise SystemExit(str(error)) from None
        print(f"{about['machine']}\nload {load()}, {found.threads} threads each", flush=True)
        for name in found.names or (BENCHMARKS if found.full else SHORT):
            began = time.perf_counter()
            try:
                for row in BENCHMARKS[name](session):
                    rows.append(row)
                    print(table([row]).splitlines()[-1], flush=True)
                    if output is not None:  # After every row: what was measured outlives what fails later.
                        write_document(output, rows, {**about, "load": {"before": about["load"], "after": load()}})
            except WorkerError as error:
                failed.append(name)
                print(f"{name} failed: {error}", file=sys.stderr, flush=True)
                session.restart()
            print(f"[{name}: {time.perf_counter() - began:.0f} s, load {load()[0]}]", flush=True)
    print("", table(rows), *left_out_lines(rows), sep="\n")
    if output is not None:
        plot(rows, output.with_suffix(".png"))
        print(f"\n{output}\n{output.with_suffix('.png')}")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
