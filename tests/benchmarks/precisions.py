"""Processor time of a network call of each ONNX file in a folder, against float32, in rounds that alternate.

    kvdiff export saved_models/moving_digits -o exported --to onnx,onnx:float16,onnx:int8
    taskset -c 0 python -m tests.benchmarks.precisions exported

Each row is a file and a batch; the difference is that of its output from float32's, on noise, relative to its size.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from kvdiff.runtime import find_artefacts, open_sampler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what `kvdiff export` wrote")
    parser.add_argument("--batches", type=int, nargs="*", default=[1, 2, 8])
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    paths = [
        path for path in find_artefacts(asked.folder) if path.name.startswith("denoiser") and path.suffix == ".onnx"
    ]
    samplers = {path.name: open_sampler(path, providers=["CPUExecutionProvider"], threads=1) for path in paths}
    spec, rng = samplers["denoiser.onnx"].spec, np.random.default_rng(0)
    print("| file | clips | ms | of float32's | difference |\n|---|---|---|---|---|")
    for batch in asked.batches:
        noise = rng.standard_normal((batch, *spec.latent.shape)).astype(np.float32)
        labels = rng.uniform(0.0, 1.0, (batch, spec.clip.num_frames)).astype(np.float32)
        seconds: dict[str, list[float]] = {name: [] for name in samplers}
        outputs = {name: sampler.engine.denoise(noise, labels) for name, sampler in samplers.items()}
        for _ in range(asked.rounds):
            for name, sampler in samplers.items():
                began = time.process_time()
                sampler.engine.denoise(noise, labels)
                seconds[name].append(time.process_time() - began)
        expected = outputs["denoiser.onnx"]
        for name, times in seconds.items():
            ratio = statistics.median(a / b for a, b in zip(times, seconds["denoiser.onnx"], strict=True))
            error = np.sqrt(np.mean((outputs[name] - expected) ** 2) / np.mean(expected**2))
            print(
                f"| {name} | {batch} | {1e3 * statistics.median(times):.1f} | {ratio:.2f} | {error:.2g} |", flush=True
            )


if __name__ == "__main__":
    main()
