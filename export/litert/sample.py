"""Predict the frames that follow on a small computer: `python sample.py exported past.npy future.npy`."""

from __future__ import annotations

import argparse
import time

import numpy as np

from kvdiff.runtime import LiteRtSampler

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", help="a .tflite file, or the folder of denoiser.tflite")
parser.add_argument("past", help="a .npy file: uint8, or floats in [-1, 1], [batch, frames, height, width, channels]")
parser.add_argument("future", help="the .npy file to write: float32 [batch, frames, …] in [-1, 1]")
parser.add_argument("--num-steps", type=int, default=10, help="network calls")
parser.add_argument("--solver", default="dpmpp_2m")
parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same clips")
parser.add_argument("--threads", type=int, default=None, help="by default LiteRT's own choice")
args = parser.parse_args()

sampler = LiteRtSampler(args.model, threads=args.threads)
past = np.load(args.past)
start = time.perf_counter()
future = sampler.predict_frames(past, num_steps=args.num_steps, solver=args.solver, seed=args.seed)
print(f"{len(future)} clips, {future.shape[1]} new frames each, in {time.perf_counter() - start:.2f} s")
np.save(args.future, future)
