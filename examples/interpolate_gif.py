"""Raise the frame rate of a GIF or video: new frames between the old ones, by a model trained on clips like it.

    pip install "keras-video-diffusion[demo,onnx]"
    python examples/interpolate_gif.py                                  # moving digits and the model that ships
    python examples/interpolate_gif.py my.gif --model saved_models/mine/model.keras --factor 2 --output smooth.gif

The file is resized and cut to the model's frames. Beside the result is the linear blend of the known frames, the
baseline of a model. Without a file, the program first removes every second frame of moving digits, so that the new
frames have a PSNR.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import kvdiff
from kvdiff.data import moving_digits
from kvdiff.demo.recipe import SHIPPED
from kvdiff.evaluation.quality import blend_known, psnr
from kvdiff.media import grid, read_clip, write_clip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", nargs="?", type=Path, help="a .gif, .mp4, .webm or .npy file (default: moving digits)")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="a trained model.keras, or a preset")
    parser.add_argument("--factor", type=int, default=2, help="how many times as many frames a second")
    parser.add_argument("--num-steps", type=int, default=20, help="network calls a window")
    parser.add_argument("--fps", type=float, default=8.0, help="frames a second of the result")
    parser.add_argument("--output", type=Path, default=Path("interpolated.gif"), help="the file to write")
    return parser.parse_args()


def digits(factor: int, size: int, frames: int = 29, count: int = 6) -> np.ndarray:
    """Digits that the shipped model never saw, with `frames` frames."""
    whole = (frames - 1) // factor * factor + 1
    clips = moving_digits(count, num_frames=whole, size=size, split="test", seed=1000)
    return clips.astype(np.float32) / 127.5 - 1.0


def main() -> None:
    args = arguments()
    model = kvdiff.load_model(args.model)
    height, width, channels = model.spec.clip.frame_shape
    truth = None
    if args.clip is None:
        truth = digits(args.factor, height)
        clips = truth[:, :: args.factor]
    else:
        clips = read_clip(args.clip, size=(height, width), channels=channels)[None].astype(np.float32) / 127.5 - 1.0
    smooth = model.increase_frame_rate(clips, args.factor, num_steps=args.num_steps, solver="dpmpp_2m")
    spread = np.zeros_like(smooth)
    spread[:, :: args.factor] = clips
    known = np.arange(smooth.shape[1]) % args.factor == 0
    blend = blend_known(spread, known)
    if truth is not None:
        ours, theirs = (psnr(video[:, ~known], truth[:, ~known]).mean() for video in (smooth, blend))
        print(f"new frames: model {ours:.2f} dB, linear blend {theirs:.2f} dB")
    rows = [video[i] for i in range(len(clips)) for video in (smooth, blend)]
    write_clip(args.output, grid(rows, 2), fps=args.fps, scale=max(1, 64 // height))
    print(f"Wrote {args.output}: the model's frames on the left, the linear blend on the right")


if __name__ == "__main__":
    main()
