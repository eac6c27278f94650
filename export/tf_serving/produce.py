"""Export a trained model for the server: `python produce.py saved_models/demo/model.keras models`."""

from __future__ import annotations

import argparse
import pathlib

import kvdiff
from kvdiff.export import export_saved_model

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("model", help="what `model.save` wrote, a .keras file")
parser.add_argument("models", type=pathlib.Path, help="the folder that docker-compose.yml mounts")
parser.add_argument("--solver", default="dpmpp_2m")
parser.add_argument(
    "--num-steps", type=int, default=20, help="network calls a clip; REST and clients wait for all of them"
)
args = parser.parse_args()

model = kvdiff.load_model(args.model)
for name, pixels in (("clips", "uint8"), ("clips_png", "png")):  # For gRPC, and for REST: see models.config.
    version = export_saved_model(model, args.models / name, pixels=pixels, solver=args.solver, num_steps=args.num_steps)
    print(f"Wrote {version}")
