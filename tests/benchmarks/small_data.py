"""Fifty clips of something else, at equal processor time: adapters, all weights of a trained model, or new ones.

CUDA_VISIBLE_DEVICES=-1 python -m tests.benchmarks.small_data --digits mnist.npz --work build/small_data

The trained model is the preset `moving_digits`, of scikit-learn's digits of 8 x 8 pixels. The clips are of MNIST's, of
28 x 28, on straight paths that bounce, halved to frames of 32 x 32; those that are measured show other digits. Cut off
and run again, it goes on; arms that are done are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import time
from typing import Any

# One thread, so that processor time is what one core takes. TensorFlow reads these when it is loaded.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import numpy as np

import kvdiff

PRESET = "moving_digits"
ARMS: dict[str, dict[str, Any]] = {
    "preset": {},
    "lora 8": {"base": PRESET, "lora": 8},
    "all weights": {"base": PRESET},
    "new weights": {},
}
"""The options of `kvdiff train` that the arms have; "preset" is not trained."""
_EPOCH = 25
_TIMED = 10


def clips(num_clips: int, split: str, digits: pathlib.Path, seed: int) -> np.ndarray:
    """One digit each: uint8 [num_clips, 8, 32, 32, 1]."""
    large = kvdiff.data.moving_mnist(
        num_clips, num_frames=8, size=64, num_digits=1, split=split, seed=seed, path=digits
    )
    pairs = large.reshape(*large.shape[:2], 32, 2, 32, 2, 1).astype(np.float32)
    return np.round(pairs.mean(axis=(3, 5))).astype(np.uint8)


def model_of(arm: str, seed: int) -> tuple[Any, Any]:
    """An arm's model, as `kvdiff train` makes it, and the settings of its training."""
    import keras

    from kvdiff.cli.base import opened_base
    from kvdiff.cli.train_options import Training
    from kvdiff.training.cluster import training_strategy

    asked = Training(seed=seed, **ARMS[arm])
    if asked.base is not None:
        return opened_base(asked, training_strategy()), asked.chosen_recipe()
    keras.utils.set_random_seed(seed)
    return kvdiff.VideoDiffusion.from_preset(PRESET, load_weights=arm != "new weights"), asked.chosen_recipe()


def trained(arm: str, data: np.ndarray, folder: pathlib.Path, minutes: float, seed: int) -> tuple[Any, dict[str, Any]]:
    """An arm's model after so many minutes of processor time, and what that was."""
    from kvdiff.training import ClipBatches, TrainingCheckpoint
    from kvdiff.training.estimate import estimate_training
    from tests.benchmarks.quality_per_hour.training import ProcessorClock

    if arm == "preset":
        return model_of(arm, seed)[0], {"steps": 0, "cpu_s": 0, "trained_weights": 0}
    folder.mkdir(parents=True, exist_ok=True)
    model, recipe = model_of(arm, seed)
    rate = recipe.rate(1000)
    model.compile(recipe.optimizer(rate))
    kept = folder / "steps.json"  # Counted once: a training that goes on keeps its length.
    if not kept.exists():
        estimate_training(model, data[: recipe.batch_size], steps=1)  # Traced.
        began = time.process_time()
        estimate_training(model, data[: recipe.batch_size], steps=_TIMED)
        seconds = (time.process_time() - began) / (1 + _TIMED)
        kept.write_text(json.dumps(max(round(60.0 * minutes / seconds / _EPOCH), 1) * _EPOCH))
    rate.steps = steps = int(json.loads(kept.read_text()))
    batches = ClipBatches(data, recipe.batch_size, steps_per_epoch=_EPOCH, seed=seed)
    clock = ProcessorClock(lambda text: print(f"{arm}, {text}", flush=True))
    checkpoint = TrainingCheckpoint(folder / "checkpoints", batches, every=_EPOCH, keep=1, callbacks=[clock])
    options: dict[str, Any] = dict(steps_per_epoch=_EPOCH, shuffle=False, verbose=0)
    model.fit(checkpoint.dataset(), epochs=steps // _EPOCH, callbacks=[clock, checkpoint], **options)
    count = int(sum(np.prod(weight.shape) for weight in model.trainable_variables))
    return model, {"steps": steps, "cpu_s": round(sum(clock.seconds)), "trained_weights": count}


def measured(model: Any, unseen: np.ndarray) -> dict[str, Any]:
    """Decibels over the last frame repeated (a cross-fade, between two ends), and sharpness over the true frames'."""
    from kvdiff.evaluation import RealClips, evaluate, protocol_for

    found = evaluate(model.sampler, protocol_for(unseen), RealClips(unseen))
    names = ("psnr", "psnr_gain", "psnr_aligned", "sharpness_ratio")
    tasks = ("prediction", "interpolation")
    return {f"{task}_{name}": round(float(found.tasks[task]["numbers"][name]), 3) for task in tasks for name in names}


def draw(model: Any, unseen: np.ndarray, path: pathlib.Path) -> None:
    """Save what follows four frames of eight unseen clips, each below the true one."""
    from kvdiff.media import encode_png, to_pixels

    made = to_pixels(np.concatenate([unseen[:8, :4] / 127.5 - 1.0, model.predict_frames(unseen[:8, :4])], axis=1))
    rows = np.stack([unseen[:8], made], axis=1).reshape(16, 8, 32, 32, 1)
    sheet = np.pad(rows, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), constant_values=64)
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in sheet], axis=0)
    path.write_bytes(encode_png(np.repeat(np.repeat(sheet, 2, axis=0), 2, axis=1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=pathlib.Path, required=True, help="MNIST, as `moving_mnist` takes it")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder of checkpoints, rows and pictures")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--minutes", type=float, default=3.5, help="of processor time an arm")
    parser.add_argument("--clips", type=int, default=50, help="to train on")
    parser.add_argument("--unseen", type=int, default=64, help="to measure on")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    rows = args.work / "results.jsonl"
    done = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
    data, unseen = clips(args.clips, "train", args.digits, args.seed), clips(args.unseen, "test", args.digits, 1000)
    for arm in args.arms:
        facts = {"arm": arm, "clips": args.clips, "minutes": args.minutes, "seed": args.seed}
        if any(facts.items() <= row.items() for row in done):
            continue
        name = "-".join(map(str, facts.values())).replace(" ", "_")
        model, how = trained(arm, data, args.work / name, args.minutes, args.seed)
        row = {**facts, **how, **measured(model, unseen)}
        draw(model, unseen, args.work / f"{name}.png")
        with rows.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
