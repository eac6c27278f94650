"""Sample an exported model on an NVIDIA GPU: `python sample.py saved_models/demo clips.npy`."""

from __future__ import annotations

import argparse
import time

import numpy as np

from kvdiff.runtime import OrtSampler

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", help="denoiser.onnx, or its folder")
parser.add_argument("clips", help="the .npy file to write: float32 [clips, frames, height, width, channels] in [-1, 1]")
parser.add_argument("--num-clips", type=int, default=4)
parser.add_argument("--num-steps", type=int, default=20, help="network calls")
parser.add_argument("--solver", default="dpmpp_2m_sde")
parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same clips")
parser.add_argument("--provider", default="CUDAExecutionProvider", help="falls back to the CPU with a warning")
args = parser.parse_args()

sampler = OrtSampler(args.model, providers=[args.provider])
start = time.perf_counter()
clips = sampler.generate(args.num_clips, num_steps=args.num_steps, solver=args.solver, seed=args.seed)
seconds = time.perf_counter() - start
print(f"{len(clips)} clips of {clips.shape[1]} frames in {seconds:.2f} s on {sampler.engine.providers[0]}")
np.save(args.clips, clips)
