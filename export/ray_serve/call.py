"""Generate many clips, one request each, on whichever replica is free: `python call.py clips.npy --num-clips 64`."""

from __future__ import annotations

import argparse
import io
import urllib.parse
import urllib.request
from concurrent import futures

import numpy as np

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("clips", help="the .npy file to write: float32 [clips, frames, height, width, channels] in [-1, 1]")
parser.add_argument("--num-clips", type=int, default=4)
parser.add_argument("--num-steps", type=int, default=20, help="network calls a clip")
parser.add_argument("--solver", default="dpmpp_2m_sde")
parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same clips, on any number of replicas")
parser.add_argument("--server", default="http://127.0.0.1:8000")
args = parser.parse_args()


def clip(number: int) -> np.ndarray:
    """Sample `number` of the seed."""
    query = dict(first_sample=number, seed=args.seed, num_steps=args.num_steps, solver=args.solver)
    url = f"{args.server}/?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=600) as answer:
        return np.load(io.BytesIO(answer.read()), allow_pickle=False)


with futures.ThreadPoolExecutor(max_workers=32) as requests:
    made = np.concatenate(list(requests.map(clip, range(args.num_clips))))
np.save(args.clips, made)
print(f"{len(made)} clips of {made.shape[1]} frames in {args.clips}")
