"""What fixed shapes save: nodes, opening and a call of each export, by ONNX Runtime and by onnxruntime-web in Node.js.

    .venv/bin/python -m tests.benchmarks.static --onnxruntime-web build/npm/node_modules/onnxruntime-web

Exports the model that ships with any shape, with fixed height and width, and with all sizes fixed. Runs one clip
through each in turns, on one thread, and prints medians of processor time. WebAssembly runs a row of `sampler.onnx`, as
a page does.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import kvdiff
from kvdiff.export import export_onnx, export_onnx_sampler
from kvdiff.export.operators import of_onnx
from kvdiff.runtime.ort import open_session

FIXED: dict[str, bool | str] = {"nothing": False, "size": "size", "all": True}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/static"), help="folder for the files; kept")
    parser.add_argument("--onnxruntime-web", type=Path, help="npm's package, to measure WebAssembly too")
    parser.add_argument("--rounds", type=int, default=30, help="calls of each file")
    return parser.parse_args()


def exported(work: Path) -> dict[str, Path]:
    """The folders of the exports, made where they are not there."""
    folders = {name: work / name for name in FIXED}
    for name, static in FIXED.items():
        if not (folders[name] / "sampler.onnx").exists():
            model = kvdiff.VideoDiffusion.from_preset("moving_digits")
            export_onnx_sampler(export_onnx(model, folders[name], static=static, overwrite=True), folders[name])
    return folders


def seconds(function: Callable[[], object]) -> float:
    """Processor time."""
    began = time.process_time()
    function()
    return time.process_time() - began


def in_onnxruntime(folders: dict[str, Path], rounds: int) -> None:
    """Print a line a file."""
    rng = np.random.default_rng(0)
    clip = rng.standard_normal((1, 8, 32, 32, 1)).astype(np.float32)
    feed = {"noisy_clip": clip, "noise_label": np.full((1, 8), 0.5, np.float32)}
    sessions, opened = {}, {}
    for name, folder in folders.items():
        began = time.process_time()
        sessions[name] = open_session(folder / "denoiser.onnx", ["CPUExecutionProvider"], 1)
        opened[name] = time.process_time() - began
    spent: dict[str, list[float]] = {name: [] for name in sessions}
    for _ in range(rounds):
        for name, session in sessions.items():
            spent[name].append(seconds(lambda session=session: session.run(None, feed)))
    first = sessions["nothing"].run(None, feed)[0]
    for name, session in sessions.items():
        nodes = [sum(1 for _ in of_onnx(folders[name] / file)) for file in ("denoiser.onnx", "sampler.onnx")]
        differs = np.abs(session.run(None, feed)[0] - first).max()
        times = f"opens in {1e3 * opened[name]:.0f} ms, a call {1e3 * np.median(spent[name][3:]):.2f} ms"
        print(f"{name}: {nodes[0]} and {nodes[1]} nodes; ONNX Runtime {times}, differs by {differs:.1e}")


def main() -> None:
    args = arguments()
    folders = exported(args.work)
    in_onnxruntime(folders, args.rounds)
    if args.onnxruntime_web is not None:
        program = [Path(__file__).with_suffix(".mjs"), args.onnxruntime_web / "dist", args.work, args.rounds, *FIXED]
        subprocess.run(["node", *map(str, program)], check=True)


if __name__ == "__main__":
    main()
