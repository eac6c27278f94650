"""Fewer network calls: the model that ships with kvdiff, distilled to 8, 4 and 2 steps (Salimans & Ho 2022).

    pip install "keras-video-diffusion[demo,onnx]"
    python examples/distil.py --output distilled/                  # half an hour on one core; goes on if cut off
    python examples/distil.py --output distilled/ --frechet        # measures the Fréchet video distance too (needs I3D)

Each student learns to do in one DDIM step what its teacher does in two, beginning as a copy of it; then it is the next
one's teacher. Every student predicts, interpolates and generates unseen clips, as does the model it comes from with as
many calls, from the same noise. Writes the students as .keras files, the numbers as JSON, a chart and a GIF.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import keras
import matplotlib
import numpy as np

import kvdiff
from kvdiff.data import moving_digits
from kvdiff.demo.recipe import SHIPPED, held_out_clips
from kvdiff.evaluation import RealClips, estimate_frechet, evaluate, protocol_for
from kvdiff.media import enlarge, grid, labelled, side_by_side, write_clip
from kvdiff.system.environment import machine, versions
from kvdiff.training import ClipBatches, ProgressiveDistillation, TrainingCheckpoint, distillation_stages

UNDISTILLED = {
    "the model, ddim": {"solver": "ddim", "spacing": "trailing"},
    "the model, dpmpp_2m": {"solver": "dpmpp_2m", "spacing": "trailing"},
}
STEPS_PER_EPOCH = 50


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED, help="a model of 8-frame moving digits, or a preset")
    parser.add_argument("--num-steps", type=int, nargs="+", default=[8, 4, 2], help="of the students; they halve")
    parser.add_argument("--steps", type=int, default=900, help="training steps a student, of 16 clips")
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="falls to 0 in every stage")
    parser.add_argument("--num-clips", type=int, default=256, help="unseen clips")
    parser.add_argument("--frechet", action="store_true", help="measure generated clips in I3D's features")
    parser.add_argument("--output", type=Path, default=Path("distilled"), help="folder for the results")
    return parser.parse_args()


def train(stage: ProgressiveDistillation, clips: np.ndarray, args: argparse.Namespace) -> float:
    """Train one student, on from its newest checkpoint; its loss on unseen clips."""
    rate = keras.optimizers.schedules.PolynomialDecay(args.learning_rate, args.steps, 0.0)
    stage.compile(keras.optimizers.Adam(rate, beta_2=0.99, global_clipnorm=1.0, use_ema=True, ema_momentum=0.99))
    batches = ClipBatches(clips, 16, steps_per_epoch=min(STEPS_PER_EPOCH, args.steps), seed=stage.num_steps)
    checkpoint = TrainingCheckpoint(args.output / f"{stage.num_steps}_steps", batches, keep=1)
    epochs = max(args.steps // STEPS_PER_EPOCH, 1)
    length = dict(epochs=epochs, steps_per_epoch=batches.steps_per_epoch)
    stage.fit(checkpoint.dataset(), shuffle=False, verbose=2, callbacks=[checkpoint], **length)
    return float(stage.evaluate(held_out_clips(64), batch_size=16, verbose=0))


def distil(
    model: kvdiff.VideoDiffusion, args: argparse.Namespace
) -> tuple[dict[int, Any], dict[int, dict[str, float]]]:
    """The students by their number of steps, and how they were trained."""
    clips = moving_digits(60_000, size=model.spec.clip.height, seed=0)
    students, trained = {}, {}
    for stage in distillation_stages(model, args.num_steps):
        began = time.perf_counter()
        stage.compile()
        before = float(stage.evaluate(held_out_clips(64), batch_size=16, verbose=0))
        after = train(stage, clips, args)
        stage.student.save(args.output / f"{stage.num_steps}_steps.keras")
        students[stage.num_steps] = stage.student
        trained[stage.num_steps] = {"loss_before": before, "loss": after, "seconds": time.perf_counter() - began}
        print(f"{stage.num_steps} steps: loss on unseen clips {before:.2e} -> {after:.2e}", flush=True)
    return students, trained


class Measure:
    """Scores samplers on the same unseen clips and noise."""

    def __init__(self, num_clips: int, frechet: bool) -> None:
        self.truth = held_out_clips(num_clips)
        self.features = None
        if frechet:
            from kvdiff.evaluation.i3d import I3DFeatures

            self.features = I3DFeatures()
            self.of_truth = self._features(self.truth)
            self.floor = estimate_frechet(self.of_truth, self._features(held_out_clips(num_clips, seed=1001))).config

    def _features(self, pixels: np.ndarray) -> np.ndarray:
        """I3D needs 9 frames, so each is repeated once, as in the protocol `moving-digits-8@2`."""
        return self.features(np.repeat(pixels, 2, axis=1))

    def __call__(self, model: kvdiff.VideoDiffusion, **sampling: Any) -> tuple[dict[str, Any], np.ndarray]:
        """The numbers, and the generated clips."""
        evaluation = evaluate(model.sampler, protocol_for(self.truth), RealClips(self.truth), seed=0, **sampling)
        prediction, interpolation, generation = (task["numbers"] for task in evaluation.tasks.values())
        numbers: dict[str, Any] = {
            "psnr_prediction": prediction["psnr"],
            "psnr_interpolation": interpolation["psnr"],
            "generated_mean": generation["mean"],
            "generated_variance": generation["variance"],
        }
        generated = evaluation.clips["generation"].generated
        if self.features is not None:
            numbers["frechet"] = estimate_frechet(self.of_truth, self._features(generated)).config
        return numbers, generated


def chart(rows: list[dict[str, Any]], floor: float | None, path: Path) -> None:
    """PSNR of predictions, and the Fréchet distance of generated clips where it was measured, against calls."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2 if floor else 1, figsize=(9 if floor else 5, 3.6), squeeze=False)
    figure.set_layout_engine("constrained")
    for name in dict.fromkeys(row["sampler"] for row in rows):
        of_name = [row for row in rows if row["sampler"] == name]
        calls = [row["num_steps"] for row in of_name]
        axes[0, 0].plot(calls, [row["psnr_prediction"] for row in of_name], "o-", label=name)
        if floor:
            axes[0, 1].plot(calls, [row["frechet"]["distance"] for row in of_name], "o-", label=name)
    axes[0, 0].set_ylabel("prediction, PSNR in dB")
    if floor:
        axes[0, 1].axhline(floor, color="#6b7685", linestyle=":", label="other real clips")
        axes[0, 1].set(ylabel="generation, Fréchet video distance", yscale="log")
    for panel in axes.flat:
        panel.set(xscale="log", xlabel="network calls", xticks=calls, xticklabels=calls)
        panel.minorticks_off()
        panel.grid(alpha=0.4)
    axes[0, -1].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def picture(generated: dict[tuple[str, int], np.ndarray], path: Path) -> None:
    """Nine generated clips of every sampler: samplers in rows of numbers of calls."""
    squares = {
        key: labelled(grid([enlarge(clip, 3) for clip in clips[:9]], 3), f"{key[0]}: {key[1]}", size=12)
        for key, clips in generated.items()
    }
    columns = []
    for steps in dict.fromkeys(count for _, count in squares):
        columns.append(grid([square for (_, count), square in squares.items() if count == steps], 1))
    write_clip(path, side_by_side(columns, gap=6), fps=4)


def main() -> None:
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    model = kvdiff.load_model(args.model, compile=False)
    students, trained = distil(model, args)
    measure = Measure(args.num_clips, args.frechet)
    rows, generated = [], {}
    for count, student in students.items():
        for name, who, sampling in [("student", student, {"solver": "ddim", "spacing": "trailing"})] + [
            (name, model, sampling) for name, sampling in UNDISTILLED.items()
        ]:
            numbers, generated[name, count] = measure(who, num_steps=count, **sampling)
            rows.append({"sampler": name, "num_steps": count, **numbers})
            distance = f", Fréchet {numbers['frechet']['distance']:.1f}" if args.frechet else ""
            print(f"{name:20} {count:3} calls: prediction {numbers['psnr_prediction']:.2f} dB{distance}", flush=True)
    floor = measure.floor if args.frechet else None
    results = {
        "command": " ".join(["python", "examples/distil.py", *sys.argv[1:]]),
        "num_clips": args.num_clips,
        "training": {"steps": args.steps, "batch_size": 16, "learning_rate": args.learning_rate, "stages": trained},
        "floor": floor,
        "rows": rows,
        "machine": machine(),
        "versions": versions(),
    }
    (args.output / "distillation.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    chart(rows, floor and floor["distance"], args.output / "distillation.png")
    picture(generated, args.output / "distillation.gif")
    print(f"Wrote {args.output}/distillation.json, .png and .gif, and the students")


if __name__ == "__main__":
    main()
