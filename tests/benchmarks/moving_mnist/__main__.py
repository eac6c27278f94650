"""Moving MNIST at 64 × 64: train a recipe, and measure what it predicts. See README.md.

python -m tests.benchmarks.moving_mnist train --digits mnist.npz --steps 3800 --work build/moving_mnist
python -m tests.benchmarks.moving_mnist measure MODEL.keras --digits mnist.npz --work build/moving_mnist
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
from typing import Any

# One thread, so that processor time is what one core takes. TensorFlow reads these when it is loaded.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


def train(args: argparse.Namespace) -> None:
    """A recipe's model on clips of 8 frames; the same command goes on where it was cut off."""
    import numpy as np

    import kvdiff
    from kvdiff.diffusion.process.clip_spec import ClipSpec
    from kvdiff.models.recipes import recipe_named, seeded_model
    from kvdiff.training import ClipBatches, TrainingCheckpoint
    from tests.benchmarks.moving_mnist import digits
    from tests.benchmarks.quality_per_hour.training import ProcessorClock

    recipe = recipe_named(args.recipe).changed(batch_size=args.batch)
    codec = None if args.codec is None else kvdiff.load_autoencoder(args.codec, compile=False)
    name = f"{args.recipe}_{args.steps}_{args.seed}{'' if codec is None else '_latent'}"
    clip = ClipSpec(8, digits.SIZE, digits.SIZE, 1)
    model: kvdiff.VideoDiffusion = seeded_model(recipe, clip, args.seed, codec=codec)
    model.compile(recipe.optimizer(recipe.rate(args.steps)))
    pixels = digits.clips(args.digits, "train", 20_000, 8, seed=1).pixels
    if codec is not None:
        parts = np.array_split(pixels, 400)
        pixels = np.concatenate([model.spec.encode(digits.scaled(part)) for part in parts])
    batches = ClipBatches(pixels, recipe.batch_size, steps_per_epoch=100, seed=5)
    clock = ProcessorClock(lambda line: print(line, flush=True))
    checkpoint = TrainingCheckpoint(args.work / name, batches, every=100, keep=1, callbacks=[clock])
    options: dict[str, Any] = dict(epochs=args.steps // 100, steps_per_epoch=100, shuffle=False, verbose=0)
    model.fit(checkpoint.dataset(), callbacks=[clock, checkpoint], **options)
    model.save(args.work / f"{name}.keras")
    print(f"{args.work / name}.keras: {sum(clock.seconds) / 60:.1f} core-minutes")


def measure(args: argparse.Namespace) -> None:
    """Rows of 10 frames after 10 and after 5, and a picture."""
    import kvdiff
    from tests.benchmarks.moving_mnist import digits, measures

    model = kvdiff.load_model(args.model, compile=False)
    reader = digits.classifier(args.digits, args.work / "classifier.keras")
    for past in (10, 5):
        data = digits.clips(args.digits, args.split, args.clips, past + 10, seed=args.seed)
        row, generated = measures.measured(model, reader, data, past, samples=args.samples, calls=args.calls)
        measures.picture(data, generated, past, args.work / f"{args.model.stem}_{past}.png")
        row = {"model": args.model.stem, "split": args.split, "clips": args.clips, "seed": args.seed, **row}
        with (args.work / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--digits", type=pathlib.Path, required=True, help=".npz of MNIST's images x and labels y")
    common.add_argument("--work", type=pathlib.Path, required=True, help="folder of checkpoints, models and rows")
    common.add_argument("--seed", type=int, default=0)
    one = commands.add_parser("train", parents=[common])
    one.add_argument("--recipe", default="base")
    one.add_argument("--steps", type=int, default=7000, help="in hundreds")
    one.add_argument("--batch", type=int, default=8)
    one.add_argument("--codec", type=pathlib.Path, help="a saved VideoAutoencoder, in whose latent to train")
    one.set_defaults(run=train)
    one = commands.add_parser("measure", parents=[common])
    one.add_argument("model", type=pathlib.Path)
    one.add_argument("--split", default="validation", choices=("validation", "test"))
    one.add_argument("--clips", type=int, default=256)
    one.add_argument("--samples", type=int, default=10, help="a clip, of which the best SSIM counts")
    one.add_argument("--calls", type=int, default=2, help="of the network, a frame")
    one.set_defaults(run=measure)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    args.run(args)


if __name__ == "__main__":
    main()
