"""CPU time of `kvdiff export` with its verification, a format a process, rounds interleaved with another checkout.

    taskset -c 0 python -m tests.benchmarks.exporting --to onnx --rounds 3 --against ../before

`--against` is the root of another checkout of this project, e.g. a git worktree of an earlier commit; both run on the
same model with the same interpreter.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.workers import ROOT

_COMMAND = "from kvdiff.cli import main; main()"


def cpu_seconds(checkout: Path, model: Path, to: str) -> float:
    """Of one export in a process of its own.

    Raises:
        CalledProcessError: it failed, or missed a bar of its verification.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _COMMAND, "export", str(model), "--output", folder, "--to", to]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "saved_models" / "moving_digits", help="what to export")
    parser.add_argument("--to", default="onnx,litert,saved-model", help="formats, each in a process of its own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout")
    asked = parser.parse_args()
    checkouts = {"here": ROOT} | ({"there": asked.against.resolve()} if asked.against else {})
    print("| format | " + " | ".join(f"{name}, CPU s" for name in checkouts) + " | ratio |\n" + "|---" * 4 + "|")
    for to in asked.to.split(","):
        found: dict[str, list[float]] = {name: [] for name in checkouts}
        for _ in range(asked.rounds):
            for name, checkout in checkouts.items():
                found[name].append(cpu_seconds(checkout, asked.model.resolve(), to))
        medians = {name: statistics.median(seconds) for name, seconds in found.items()}
        ratio = f"{medians['here'] / medians['there']:.2f}" if asked.against else ""
        print(f"| {to} | " + " | ".join(f"{seconds:.1f}" for seconds in medians.values()) + f" | {ratio} |", flush=True)


if __name__ == "__main__":
    main()
