"""A consistency student of the model that ships, against the model itself: quality in 1, 2 and 4 calls.

    python -m tests.benchmarks.consistency tune --work build/consistency --steps 2400  # 20 minutes of a core; goes on
    python -m tests.benchmarks.consistency measure --work build/consistency --clips 256

`tune` trains by `ConsistencyTuning` on moving digits that the model was trained on, at a constant rate with averaged
weights, so that a larger --steps goes on from what is there. `measure` generates and predicts with both from the same
noise and pasts of unseen digits, keeps the clips in --work, and writes measures.json, generate.png and predict.png:
three clips of every way.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

import kvdiff
from kvdiff.data import moving_digits
from kvdiff.demo.recipe import held_out_clips
from kvdiff.evaluation import estimate_frechet, identity, psnr, sharpness_ratio
from kvdiff.evaluation.digit_classifier import DigitClassifier
from kvdiff.media import to_pixels
from kvdiff.system.environment import machine
from kvdiff.training import ClipBatches, ConsistencyTuning, TrainingCheckpoint
from kvdiff.training.environment import write_json
from tests.benchmarks.digit_features import DigitFeatures
from tests.benchmarks.quality_vs_calls import paired_difference

PRESET, BATCH, EPOCH, PAST = "moving_digits", 16, 20, 4
STUDENT = {"solver": "consistency", "spacing": "trailing"}
WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    **{f"model, {calls}": {"solver": "dpmpp_2m", "spacing": "trailing", "num_steps": calls} for calls in (1, 2, 4)},
    **{f"student, {calls}": {**STUDENT, "num_steps": calls} for calls in (1, 2, 4)},
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tune", "measure"))
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints, the student and its clips")
    parser.add_argument("--steps", type=int, default=2400, help="updates in all, of 16 clips")
    parser.add_argument("--halve-every", type=int, default=300, help="updates between two halvings of the gap")
    parser.add_argument("--clips", type=int, default=256, help="clips to measure")
    return parser.parse_args()


def tune(args: argparse.Namespace) -> None:
    """Train, on from the newest checkpoint, and save the student."""
    model = kvdiff.VideoDiffusion.from_preset(PRESET)
    tuning = ConsistencyTuning(model, halve_every=args.halve_every)
    tuning.compile(keras.optimizers.Adam(4e-4, beta_2=0.99, global_clipnorm=1.0, use_ema=True, ema_momentum=0.99))
    clips = moving_digits(8192, size=model.spec.clip.height, seed=0)
    batches = ClipBatches(clips, BATCH, steps_per_epoch=EPOCH, seed=1)
    checkpoint = TrainingCheckpoint(args.work / "tuning", batches, keep=1)
    began = time.process_time()
    length = dict(epochs=args.steps // EPOCH, steps_per_epoch=EPOCH)
    tuning.fit(checkpoint.dataset(), shuffle=False, verbose=2, callbacks=[checkpoint], **length)
    tuning.student.save(args.work / "student.keras")
    print(
        f"{int(tuning.optimizer.iterations)} updates; this run: {time.process_time() - began:.0f} s of processor time"
    )


class Bench:
    """Unseen clips with their digits, what judges clips, and the clips that were made, which are kept."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.count, self.work = args.clips, args.work
        self.model = kvdiff.VideoDiffusion.from_preset(PRESET)
        self.student = kvdiff.load_model(self.work / "student.keras", compile=False)
        size = self.model.spec.clip.height
        self.truth, self.labels = moving_digits(self.count, size=size, split="test", seed=1000, return_labels=True)
        self.features, self.reader = DigitFeatures(), DigitClassifier(size)
        self.of_truth = self.features(self.truth)

    def clips(self, name: str, task: str) -> np.ndarray:
        """The generated clips, or the predicted frames, of a way: uint8."""
        path = self.work / f"{task}_{name.replace(', ', '_')}_{self.count}.npy"
        if not path.exists():
            sampler = (self.student if name.startswith("student") else self.model).sampler
            how = {**WAYS[name], "seed": 0, "batch_size": 32}
            if task == "generate":
                made = sampler.generate(self.count, **how)
            else:
                whole = {} if name == "default" else {"plan": None}
                made = sampler.predict_frames(self.truth[:, :PAST], **how, **whole)
            np.save(path, to_pixels(made))
        return np.load(path)

    def row(self, name: str, reference: np.ndarray | None) -> tuple[dict[str, Any], np.ndarray]:
        """The figures of a way; the features of its generated clips."""
        generated, future = self.clips(name, "generate"), self.clips(name, "predict")
        features, true = self.features(generated), self.truth[:, PAST:]
        kept = identity(future, self.labels, self.reader)
        return {
            "name": name,
            "frechet": estimate_frechet(self.of_truth, features).distance,
            "difference": paired_difference(self.of_truth, features, features if reference is None else reference),
            "sharpness": float(sharpness_ratio(generated, self.truth).mean()),
            "prediction_psnr": float(psnr(future, true).mean()),
            "prediction_sharpness": float(sharpness_ratio(future, true).mean()),
            "identity_last": float(kept[:, -1].mean()),
        }, features


def measure(args: argparse.Namespace) -> None:
    """Print and write the table and the sheet."""
    bench, rows, reference = Bench(args), [], None
    floor = estimate_frechet(bench.of_truth, bench.features(held_out_clips(args.clips, seed=1001))).distance
    true = identity(bench.truth[:, PAST:], bench.labels, bench.reader)[:, -1].mean()
    print(f"floor {floor:.1f}; identity of true frames {true:.3f}")
    for name in WAYS:
        row, features = bench.row(name, reference)
        reference = features if reference is None else reference
        rows.append(row)
        print(
            {key: np.round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True
        )
    facts = {"num_clips": args.clips, "floor": floor, "identity_of_true_frames": float(true), "machine": machine()}
    write_json(args.work / "measures.json", {**facts, "rows": rows})
    sheets = []
    for task in ("generate", "predict"):
        lines = [np.concatenate([*clip], axis=1) for name in WAYS for clip in bench.clips(name, task)[:3]]
        sheets.append(np.concatenate(lines, axis=0))
    for task, sheet in zip(("generate", "predict"), sheets, strict=True):
        Image.fromarray(np.kron(sheet[..., 0], np.ones((2, 2), np.uint8))).save(args.work / f"{task}.png")


def main() -> None:
    args = arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    {"tune": tune, "measure": measure}[args.what](args)


if __name__ == "__main__":
    main()
