"""One model, every task: the same weights predict, look back, interpolate, raise the frame rate and fill in frames.

    pip install "keras-video-diffusion[demo,onnx]"
    python examples/one_model_every_task.py --output every_task/

Takes the model that ships with kvdiff and moving digits that it never saw, one sample a clip. Each task is a mask of
known frames; its baseline blends the nearest known frames, or repeats one where there is none on the other side. Writes
a chart of PSNR for each generated frame, a GIF of each task (truth, model, baseline), and the numbers as JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np

import kvdiff
from kvdiff.demo.recipe import SHIPPED, held_out_clips
from kvdiff.diffusion import masks
from kvdiff.evaluation.quality import blend_known, psnr
from kvdiff.media import grid, write_clip

TASKS = {
    "prediction: the first 4 frames known": masks.first(8, 4),
    "prediction: the first 2 frames known": masks.first(8, 2),
    "the past: the last 4 frames known": masks.last(8, 4),
    "interpolation: 2 frames known at each end": masks.ends(8, 2, 2),
    "frame rate: every 2nd frame known": masks.every(8, 2),
    "infilling: frames 0, 1, 4 and 6 known": np.isin(np.arange(8), [0, 1, 4, 6]),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED, help="a model of 8-frame moving digits, or a preset")
    parser.add_argument("--num-clips", type=int, default=64, help="unseen clips")
    parser.add_argument("--num-steps", type=int, help="sampling steps; by default the model's own for each task")
    parser.add_argument("--output", type=Path, default=Path("every_task"), help="folder for the results")
    return parser.parse_args()


def chart(curves: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]], path: Path) -> None:
    """PSNR of the model and of the baseline for each generated frame, a panel a task."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(11, 5.5), sharex=True, sharey=True, layout="constrained")
    for panel, (task, (frame, model, baseline)) in zip(axes.flat, curves.items(), strict=True):
        panel.plot(frame, model, "o-", color="#d9730d", label="model")
        panel.plot(frame, baseline, "s--", color="#6b7685", label="nearest known frames")
        panel.set_title(task, fontsize=9)
        panel.grid(alpha=0.4)
    axes[0, 0].legend()
    figure.supxlabel("frame")
    figure.supylabel("PSNR in dB, mean of the clips")
    figure.savefig(path, dpi=110)


def main() -> None:
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    model = kvdiff.load_model(args.model)
    clips = held_out_clips(args.num_clips)
    truth = clips.astype(np.float32) / 127.5 - 1.0
    sampling = {} if args.num_steps is None else {"num_steps": args.num_steps}
    curves, numbers = {}, {}
    for task, known in TASKS.items():
        generated = model.infill(truth, known, **sampling)
        baseline = blend_known(truth, known)
        unknown = np.flatnonzero(~known)
        scores = [psnr(video[:, unknown], truth[:, unknown], per_frame=True) for video in (generated, baseline)]
        curves[task] = (unknown, *(score.mean(axis=0) for score in scores))
        ours, theirs = (psnr(video[:, unknown], truth[:, unknown]).mean() for video in (generated, baseline))
        numbers[task] = {"model": round(float(ours), 2), "baseline": round(float(theirs), 2)}
        print(f"{task:42} {ours:6.2f} dB, baseline {theirs:6.2f} dB, {ours - theirs:+.2f}", flush=True)
        rows = [video[i] for i in range(8) for video in (truth, generated, baseline)]
        write_clip(
            args.output / f"{task.split(':')[0].replace(' ', '_')}_{known.sum()}.gif", grid(rows, 3), fps=4, scale=3
        )
    chart(curves, args.output / "every_task.png")
    (args.output / "every_task.json").write_text(json.dumps(numbers, indent=2) + "\n", "utf-8")
    print(f"Wrote {args.output}/every_task.png and .json, and a GIF a task")


if __name__ == "__main__":
    main()
