"""The same table on a GPU: Keras on JAX and ONNX Runtime CUDA against the peer in PyTorch, and the device's floor.

    python -m tests.benchmarks.gpu prepare build/gpu     # where TensorFlow and the peer are: weights and ONNX files
    python -m tests.benchmarks.gpu measure build/gpu     # on the GPU; writes results/gpu.json, .txt and .png

The second needs no network and, by default, one interpreter with JAX, Keras 3.15, PyTorch, safetensors, the peer's
package and onnxruntime-gpu; or three, see its options. Without onnxruntime-gpu say `--no-onnxruntime`. `--cpu --size
tiny` shows anywhere that it runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.gpu_rows import Device, rows, systems_of
from tests.benchmarks.plot import plot
from tests.benchmarks.results import RESULTS, Row, load, write_document
from tests.benchmarks.session import Options, Session
from tests.benchmarks.sizes import SIZES
from tests.benchmarks.table import left_out_lines, table

__all__ = ["main"]

_MODULES = {
    "ours": "tests.benchmarks.on_jax",
    "peer": "tests.benchmarks.peer",
    "onnxruntime": "tests.benchmarks.on_onnxruntime",
}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    before = commands.add_parser("prepare", help="write weights.safetensors and denoiser.onnx")
    there = commands.add_parser("measure", help="measure with what `prepare` wrote")
    packages = {"ours": ("TensorFlow", "JAX"), "peer": ("PyTorch", "PyTorch"), "onnxruntime": ("", "onnxruntime-gpu")}
    for index, command in enumerate((before, there)):
        command.add_argument("folder", type=Path)
        command.add_argument("--size", default="G", choices=SIZES)
        for system, needed in packages.items():
            if needed[index]:
                command.add_argument(f"--python-{system}", default=sys.executable, help=f"with {needed[index]}")
    there.add_argument("--cpu", action="store_true", help="rehearse without a GPU")
    there.add_argument("--no-onnxruntime", action="store_true", help="without rows of ONNX Runtime")
    there.add_argument("--no-compile", action="store_true", help="without torch.compile, which takes minutes")
    there.add_argument("--batch", type=int, help="in place of the size's, where memory is short")
    there.add_argument("--rounds", type=int, default=9)
    there.add_argument("--tflops", type=float, help="the device's peak in bfloat16; by default a product is timed")
    there.add_argument("--bandwidth-gbs", type=float, help="of its memory; by default a copy is timed")
    there.add_argument("--output", type=Path, default=RESULTS / "gpu.json")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Prepare, or measure; returns what was measured."""
    found = arguments(argv)
    if found.command == "measure":
        return measure(found)
    prepare(found)
    return []


def prepare(found: argparse.Namespace) -> None:
    """Write the peer's weights, and the ONNX files of our network with them."""
    found.folder.mkdir(parents=True, exist_ok=True)
    size, folder = SIZES[found.size].sent(), str(found.folder.resolve())
    pythons = {"ours": found.python_ours, "peer": found.python_peer}
    with Session(Options(pythons, threads=len(os.sched_getaffinity(0)))) as session:
        session.worker("peer").ask("save_weights", size=size, folder=folder)
        session.worker("ours").ask("export", folder=folder, size=size, precisions=["float32", "float16"])
    print(*sorted(found.folder.iterdir()), sep="\n")


def measure(found: argparse.Namespace) -> list[Row]:
    """Measure, print the table, keep the raw output."""
    size = SIZES[found.size]
    size = dataclasses.replace(size, batch=found.batch or size.batch)
    measured: list[Row] = []
    systems = systems_of(onnxruntime=not found.no_onnxruntime, compiled=not found.no_compile)
    with Session(_options(found)) as session:
        about = session.about()
        device = Device(session, size, found.folder.resolve(), _peaks(session, found))
        for row in rows(device, systems):
            measured.append(row)
            after = {"load": {"before": about["load"], "after": load()}, "peaks": device.peaks}
            write_document(found.output, measured, {**about, **after})
    _keep(found.output, [f"{about['machine']}", f"{about['versions']}", f"{device.peaks}"], measured)
    return measured


def _keep(output: Path, header: Sequence[str], measured: Sequence[Row]) -> None:
    """Print, and write the same beside the JSON."""
    lines = [*header, "", table(measured), ""]
    for row in measured:
        seconds = row.floor["seconds"]
        lines.append(
            f"{row.name}: floor {1e3 * seconds:.3f} ms; ours {row.ours / seconds:.1f}x, peer {row.peer / seconds:.1f}x"
        )
    lines += left_out_lines(measured)
    print(*lines, sep="\n")
    output.with_suffix(".txt").write_text("\n".join(lines) + "\n")
    plot(measured, output.with_suffix(".png"))


def _options(found: argparse.Namespace) -> Options:
    """Workers on one device, each of which takes memory as it needs it."""
    cpu = {"BENCHMARK_DEVICE": "cpu", "JAX_PLATFORMS": "cpu"}
    return Options(
        pythons={system: getattr(found, f"python_{system}") for system in _MODULES},
        rounds=found.rounds,
        threads=len(os.sched_getaffinity(0)),
        modules=_MODULES,
        environment={
            "KERAS_BACKEND": "jax",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            **(cpu if found.cpu else {"BENCHMARK_DEVICE": "cuda"}),
        },
    )


def _peaks(session: Session, found: argparse.Namespace) -> dict[str, Any]:
    """FLOPs and bytes a second: as given, or what this device reaches."""
    small = {"elements": 2**20, "side": 256, "repeats": 3} if found.cpu else {}
    measured = session.worker("peer").ask("peaks", **small)
    given = {"flops": found.tflops and found.tflops * 1e12, "bytes": found.bandwidth_gbs and found.bandwidth_gbs * 1e9}
    return {**measured, **{name: value for name, value in given.items() if value}, "measured": measured}


if __name__ == "__main__":
    main()
