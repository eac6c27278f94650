"""The sampling loop by hand, with NumPy and ONNX Runtime alone: `python numpy_loop.py exported clips.npy`.

DDIM, equation by equation, to copy into a program that has no kvdiff. `sample.py` has more solvers, and makes sure that
the files are those that were exported.
"""

from __future__ import annotations

import argparse
import json
import pathlib

import numpy as np
import onnxruntime

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", type=pathlib.Path, help="the folder of denoiser.onnx and its manifest")
parser.add_argument("clips", help="the .npy file to write: float32 [clips, frames, height, width, channels] in [-1, 1]")
parser.add_argument("--num-clips", type=int, default=1)
parser.add_argument("--past", help="a .npy file of frames to continue: float32 in [-1, 1], [clips, frames, …]")
parser.add_argument(
    "--noise", help="a .npy file of standard normal noise, of the shape of the clips; by default random"
)
args = parser.parse_args()

manifest = json.loads((args.model / "denoiser.onnx.manifest.json").read_text("utf-8"))
session = onnxruntime.InferenceSession(args.model / "denoiser.onnx", providers=["CPUExecutionProvider"])
sampler, how = manifest["sampler"], manifest["how_to_sample"]
shape = [sampler["clip"][name] for name in ("num_frames", "height", "width", "channels")]
past = np.load(args.past) if args.past else np.zeros((args.num_clips, 0, *shape[1:]), np.float32)
noise = np.load(args.noise) if args.noise else np.random.default_rng().standard_normal((len(past), *shape), np.float32)
known = (np.arange(shape[0]) < past.shape[1])[None, :, None, None, None]
clip = np.zeros_like(noise)
clip[:, : past.shape[1]] = past

X_0 = {  # What the network's raw output says of the clean clip.
    "eps": lambda x, out, alpha, sigma: (x - sigma * out) / alpha,
    "x0": lambda x, out, alpha, sigma: out,
    "v": lambda x, out, alpha, sigma: (alpha * x - sigma * out) / (alpha**2 + sigma**2),
    "flow": lambda x, out, alpha, sigma: (x - sigma * out) / (alpha + sigma),
}.get(sampler["prediction"]["name"])
if X_0 is None:
    parser.error(f"{sampler['prediction']}: see `how_to_sample` of the manifest")

x = np.where(known, clip, np.float32(how["init_std"]) * noise)
for index, (alpha, sigma) in enumerate(zip(how["alphas"][:-1], how["sigmas"][:-1], strict=True)):
    label = 2 / np.pi * np.arctan2(sigma, alpha)  # An angle in quarter turns: 0 is clean, 1 is pure noise.
    labels = np.where(known[..., 0, 0, 0], 0, label).repeat(len(x), axis=0).astype(np.float32)  # 0 in known frames.
    (out,) = session.run(["raw_output"], {"noisy_clip": x, "noise_label": labels})
    x_0 = np.clip(X_0(x, out[..., : shape[3]], alpha, sigma), -1, 1)
    direction = (x - alpha * x_0) / sigma
    x = np.where(known, clip, how["alphas"][index + 1] * x_0 + how["sigmas"][index + 1] * direction)

np.save(args.clips, x)
print(f"{len(x)} clips of {x.shape[1]} frames in {args.clips}")
