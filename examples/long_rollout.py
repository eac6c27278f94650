"""A long video from a model of short clips: 96 frames and more from 8, and whether they stay what they should be.

    pip install "keras-video-diffusion[demo,onnx]"
    python examples/long_rollout.py --output long_rollout/

Takes the model that ships with kvdiff and the first four frames of moving digits that it never saw, and rolls on.
Nobody can say where a digit is after ten bounces, so frames have no truth. Instead each frame's statistics are compared
with the range of the data's frames: mean brightness, standard deviation, sharpness, and the change from frame to frame.
Writes a chart of them, the videos as a GIF, and the numbers as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np

import kvdiff
from kvdiff.demo.recipe import SHIPPED, held_out_clips
from kvdiff.media import grid, write_clip

STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean brightness": lambda video: video.mean(axis=(2, 3, 4)),
    "standard deviation": lambda video: video.std(axis=(2, 3, 4)),
    "sharpness": lambda video: np.abs(np.diff(video, axis=3)).mean(axis=(2, 3, 4)),
    "change from frame to frame": lambda video: np.abs(np.diff(video, axis=1)).mean(axis=(2, 3, 4)),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED, help="a model of 8-frame moving digits, or a preset")
    parser.add_argument("--num-frames", type=int, default=96, help="frames of a video")
    parser.add_argument("--at-a-time", type=int, help="frames that a window generates; by default the model's own")
    parser.add_argument("--num-clips", type=int, default=32, help="videos")
    parser.add_argument("--num-steps", type=int, help="sampling steps a window; by default the model's own")
    parser.add_argument("--output", type=Path, default=Path("long_rollout"), help="folder for the results")
    return parser.parse_args()


def report(video: np.ndarray, data: np.ndarray) -> dict[str, dict[str, float]]:
    """For each statistic: the data's 5 % and 95 % quantile over frames, and the videos' medians along their length."""
    numbers = {}
    for name, statistic in STATISTICS.items():
        low, middle, high = np.quantile(statistic(data), [0.05, 0.5, 0.95])
        along = np.median(statistic(video), axis=0)
        inside = ((along >= low) & (along <= high)).mean()
        numbers[name] = {
            "data 5 %": low,
            "data median": middle,
            "data 95 %": high,
            "first 8 frames": along[:8].mean(),
            "last 8 frames": along[-8:].mean(),
            "share of frames inside": inside,
        }
        print(
            f"{name:28} data {low:.3f} … {high:.3f}, at first {along[:8].mean():.3f}, at last {along[-8:].mean():.3f}, "
            f"{100 * inside:.0f} % of frames inside"
        )
    return {name: {key: round(float(value), 4) for key, value in row.items()} for name, row in numbers.items()}


def chart(video: np.ndarray, data: np.ndarray, path: Path) -> None:
    """Each statistic along the videos: the median and the middle 90 %, over the band of the data."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 5.5), sharex=True, layout="constrained")
    for panel, (name, statistic) in zip(axes.flat, STATISTICS.items(), strict=True):
        low, high = np.quantile(statistic(data), [0.05, 0.95])
        below, along, above = np.quantile(statistic(video), [0.05, 0.5, 0.95], axis=0)
        frame = np.arange(len(along))
        panel.axhspan(low, high, color="#6b7685", alpha=0.25, label="90 % of the data's frames")
        panel.fill_between(frame, below, above, color="#d9730d", alpha=0.25, label="90 % of the videos")
        panel.plot(frame, along, color="#d9730d", label="their median")
        panel.set_title(name, fontsize=10)
    axes[0, 0].legend(fontsize=8)
    figure.supxlabel("frame")
    figure.savefig(path, dpi=110)


def main() -> None:
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    model = kvdiff.load_model(args.model)
    data = held_out_clips(max(256, args.num_clips)).astype(np.float32) / 127.5 - 1.0
    window = model.spec.clip.num_frames
    sampling = {"at_a_time": args.at_a_time, "num_steps": args.num_steps}
    sampling = {name: value for name, value in sampling.items() if value is not None}

    def progress(done: int, total: int) -> None:
        print(f"\r{100 * done // total:3d} %", end="" if done < total else "\n", flush=True)

    video = model.rollout(args.num_frames, data[: args.num_clips, : window // 2], progress=progress, **sampling)
    numbers = {"num_frames": args.num_frames, "num_clips": args.num_clips, "training length": window}
    numbers["statistics"] = report(video, data)
    chart(video, data, args.output / "long_rollout.png")
    write_clip(args.output / "long_rollout.gif", grid(list(video[:8]), 4), fps=8, scale=2)
    (args.output / "long_rollout.json").write_text(json.dumps(numbers, indent=2) + "\n", "utf-8")
    print(f"Wrote {args.output}/long_rollout.png, .gif and .json")


if __name__ == "__main__":
    main()
