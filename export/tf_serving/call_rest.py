"""Generate clips over REST, with Python's own library: `python call_rest.py clips --num-clips 2` writes PNG files."""

from __future__ import annotations

import argparse
import base64
import json
import pathlib
import urllib.request

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("folder", type=pathlib.Path, help="where to write clip0_frame0.png, …")
parser.add_argument("--num-clips", type=int, default=1)
parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same clips")
parser.add_argument("--server", default="http://127.0.0.1:8501")
args = parser.parse_args()

rows = [{"seed": args.seed, "sample": number} for number in range(args.num_clips)]
request = urllib.request.Request(
    f"{args.server}/v1/models/clips_png:predict",
    json.dumps({"signature_name": "generate", "instances": rows}).encode(),
    {"Content-Type": "application/json"},
)
with urllib.request.urlopen(request, timeout=600) as answer:
    clips = json.load(answer)["predictions"]

args.folder.mkdir(parents=True, exist_ok=True)
for number, frames in enumerate(clips):
    for index, frame in enumerate(frames):
        (args.folder / f"clip{number}_frame{index}.png").write_bytes(base64.b64decode(frame["b64"]))
print(f"{len(clips)} clips of {len(clips[0])} frames in {args.folder}")
