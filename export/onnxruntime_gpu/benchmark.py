"""Speed and parity of an exported model on a GPU: `python benchmark.py saved_models/demo`.

Compares every way of running with ONNX Runtime's own CPU provider, clip by clip, and times it. Exits with 1 where CUDA
is not in use or a clip differs by more than the tolerance.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

import numpy as np

from kvdiff.runtime import CPU, OrtEngine, OrtSampler, cuda, find_artefacts, open_sampler, tensorrt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", type=pathlib.Path, help="the folder with denoiser.onnx and its manifest")
parser.add_argument("--batch", type=int, default=16, help="clips at a time")
parser.add_argument("--num-steps", type=int, default=20, help="network calls a clip")
parser.add_argument("--repeats", type=int, default=3, help="timed runs of each kind; the best counts")
parser.add_argument("--tolerance", type=float, default=5e-3, help="of float32 clips in [-1, 1]; GPUs may round to TF32")
parser.add_argument("--tensorrt", action="store_true", help="also TensorRT, whose engines take minutes to make")
parser.add_argument("--cpu", action="store_true", help="run everything on the CPU, to try the script itself")
args = parser.parse_args()

first = [CPU] if args.cpu else [cuda(), CPU]
ways = {
    "clips by way of the host": dict(providers=first, io_binding=False),
    "clips stay on the device": dict(providers=first, io_binding=True),
}
if not args.cpu:
    ways["… and CUDA graphs"] = dict(providers=[cuda(cuda_graph=True), CPU], io_binding=True)
if args.tensorrt:
    engines = args.model / "tensorrt"
    engines.mkdir(exist_ok=True)
    ways["TensorRT, float16"] = dict(providers=[tensorrt(engines, float16=True), *first], io_binding=True)

sampling = dict(num_steps=args.num_steps, batch_size=args.batch, seed=1)
expected = OrtSampler(args.model, providers=[CPU]).generate(args.batch, **sampling)
missed = False
for path in find_artefacts(args.model):
    if path.suffix != ".onnx":
        continue
    kind = type(open_sampler(path).engine)
    for name, options in ways.items() if kind is OrtEngine else [("loop inside", dict(providers=first))]:
        sampler = open_sampler(path, **options)
        seconds = []
        for _ in range(args.repeats + 1):  # The first run pays for what is prepared once.
            start = time.perf_counter()
            clips = sampler.generate(args.batch, **sampling)
            seconds.append(time.perf_counter() - start)
        difference = float(np.abs(clips - expected).max())
        precision = sampler.engine.artefact.manifest.get("precision", "float32")
        exact = precision == "float32" and "float16" not in name
        in_use = sampler.engine.providers[0]
        wrong = (in_use == CPU and not args.cpu) or (exact and not difference <= args.tolerance)
        missed |= wrong
        rate = args.batch / min(seconds[1:])
        verdict = "MISSED" if wrong else "ok" if exact else "reported"
        print(
            f"{path.name}, {name}: {rate:.2f} clips/s, max |difference| {difference:.1e}, {in_use}: {verdict}",
            flush=True,
        )
sys.exit(missed)
