"""Autoencoders on two cores: see README.md.

python -m tests.benchmarks.latent --digits mnist.npz --work build/latent --minutes 60
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import time

# One thread, so that processor time is what one core takes. TensorFlow reads these when it is loaded.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=pathlib.Path, help=".npz of MNIST's images")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder of checkpoints, models and rows")
    parser.add_argument("--minutes", type=float, default=60.0, help="of processor time, to train")
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    parser.add_argument("--factor", type=int, default=4)
    parser.add_argument("--latent-channels", type=int, default=4)
    parser.add_argument("--widths", type=int, nargs="+", default=[64])
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--kl", type=float, default=1e-6)
    parser.add_argument("--optimizer", default="adam", choices=("adam", "muon"))
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pixels", default="mse")
    parser.add_argument("--edges", type=float, default=0.0)
    parser.add_argument("--name", help="of the run; by default from the settings")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    os.nice(5)
    from tests.benchmarks.latent import data, training

    network = dict(
        factor=args.factor,
        latent_channels=args.latent_channels,
        widths=args.widths,
        blocks=args.blocks,
        kl=args.kl,
    )
    how = dict(optimizer=args.optimizer, rate=args.rate, batch=args.batch, pixels=args.pixels, edges=args.edges)
    told = "_".join(f"{value}".replace(" ", "") for value in (*network.values(), *how.values(), args.minutes))
    name = args.name or told
    frames = data.moving_digits(args.digits, "train", 40_000 if args.minutes > 10 else 16_000)
    begun = time.process_time()
    model, facts = training.train(frames, args.work / name, args.minutes, network=network, training=how)
    path = args.work / f"{name}.keras"
    model.save(path)
    test = data.moving_digits(args.digits, args.split, 512)
    row = {"name": name, **network, **how, **facts, "split": args.split, **training.measured(model, test)}
    row["minutes_with_all"] = round((time.process_time() - begun) / 60, 1)
    with (args.work / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row))


if __name__ == "__main__":
    main()
