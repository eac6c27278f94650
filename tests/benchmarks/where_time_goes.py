"""Where the time of a training step goes: milliseconds by kind of TensorFlow operation.

    python -m tests.benchmarks.where_time_goes --sizes S,M,L    # results/where_time_goes.json

One thread, so that the operations' times add up to the step's. The mode is the fastest one, bfloat16.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from kvdiff.system.environment import machine, versions
from kvdiff.training.environment import write_json
from tests.benchmarks.networks import PEERS
from tests.benchmarks.ours import train_step
from tests.benchmarks.results import RESULTS, load
from tests.benchmarks.sizes import SIZES, Size

STEPS = 5
KINDS = {
    "convolutions, gradient of kernels": ("Conv2DBackpropFilter",),
    "convolutions, gradient of features": ("Conv2DBackpropInput",),
    "convolutions, forwards": ("Conv2D",),
    "matrix products, batched": ("BatchMatMul",),
    "matrix products": ("MatMul",),
    "softmax": ("Softmax",),
    "transposes": ("Transpose",),
    "Adam": ("ResourceApplyAdam", "IsFinite"),
    "casts between precisions": ("Cast",),
    "sums and means": ("Sum", "Mean", "Max"),
    "other elementwise": ("Mul", "Sub", "Add", "Sigmoid", "Square", "Rsqrt", "RealDiv", "Erf", "Exp", "Bias"),
}


def operations(size: Size) -> collections.Counter[str]:
    """Milliseconds a step by name of operation."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    call = train_step("profile", "bfloat16", size, PEERS)
    for _ in range(2):
        call.run(call.fresh())
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(STEPS):
                call.run(call.fresh())
        space = xplane_pb2.XSpace.FromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    found: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        for event in itertools.chain.from_iterable(line.events for line in plane.lines):
            name, _, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
            if name and "::" not in name and "/" in name and not name.endswith(":"):
                found[kind] += event.duration_ps / 1e9 / STEPS
    return found


def by_kind(times: collections.Counter[str]) -> dict[str, float]:
    """`times` summed over `KINDS`; each operation counts for the first that it matches."""
    totals = dict.fromkeys([*KINDS, "other"], 0.0)
    for operation, spent in times.items():
        kind = next((k for k, parts in KINDS.items() if any(part in operation for part in parts)), "other")
        totals[kind] += spent
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="S,M,L")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    before, sizes = load(), {}
    for name in arguments.sizes.split(","):
        sizes[name] = by_kind(operations(SIZES[name]))
        total = sum(sizes[name].values())
        print(f"{name}: {total:.0f} ms of operations a step")
        for kind, spent in sorted(sizes[name].items(), key=lambda item: -item[1]):
            print(f"  {spent:7.1f} ms {spent / total:5.0%}  {kind}", flush=True)
    about: dict[str, Any] = {"machine": machine(), "versions": versions(), "load": {"before": before, "after": load()}}
    write_json(RESULTS / "where_time_goes.json", {**about, "milliseconds": sizes})


if __name__ == "__main__":
    main()
