"""Predict a microscope's time-lapse in photon counts: 16 bits, Poisson noise, dead pixels.

    pip install "keras-video-diffusion[train,media,fields]" scikit-image
    python examples/photon_counts.py --output photon_counts

A camera counts the photons of a real cell (`skimage.data.cell`, CC0) that drifts and turns under it, with Poisson
noise; some pixels are dead and read 0. The stack is an ImageJ hyperstack, as a microscope's program writes it.
The first four fifths train the model, in square roots of counts, which have even noise; of the last fifth it predicts
six frames from six. Predictions come back as counts, and the root mean square error is counted against the expected
counts, which a real microscope does not tell.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np
import tifffile

import kvdiff
from kvdiff.diffusion import ClipSpec, fitted
from kvdiff.diffusion.conditions import Observed
from kvdiff.evaluation import spread_skill
from kvdiff.fields import FieldRecipe, open_fields, pictures_of, survey
from kvdiff.media import side_by_side, write_clip
from kvdiff.models import recipe_named

FRAMES, PAST, STEP = 12, 6, 2.0  # Seconds a frame.


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("photon_counts"), help="folder for the results")
    parser.add_argument("--length", type=int, default=240, help="frames of the time-lapse")
    parser.add_argument("--size", type=int, default=32, help="height and width of a frame")
    parser.add_argument("--steps", type=int, default=800, help="training steps")
    parser.add_argument("--num-steps", type=int, default=20, help="steps of sampling")
    parser.add_argument("--samples", type=int, default=8, help="predictions of each clip")
    return parser.parse_args()


def expected_counts(length: int, size: int) -> np.ndarray:
    """What an endless exposure would count, float64 [frames, size, size]: the cell, drifting and turning."""
    from skimage import data, transform

    picture = data.cell().astype(float)
    picture = transform.resize(picture / picture.max(), (2 * size, 2 * size), anti_aliasing=True)
    time = np.arange(length)
    down, across = size / 5 * np.sin(time / 17), size / 5 * np.sin(time / 23 + 1)
    angle = 0.5 * np.sin(time / 31)
    frames = []
    for d, a, turn in zip(down, across, angle, strict=True):
        moved = transform.rotate(picture, np.degrees(turn))
        moved = transform.warp(moved, transform.AffineTransform(translation=(a, d)), mode="edge")
        frames.append(moved[size // 2 : size // 2 + size, size // 2 : size // 2 + size])
    return 20.0 + 400.0 * np.array(frames)


def record(expected: np.ndarray, path: Path) -> None:
    """The camera's stack: counts with noise, and dead pixels."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(expected).astype(np.uint16)
    counts[:, rng.random(expected.shape[1:]) < 0.01] = 0
    tifffile.imwrite(path, counts, imagej=True, metadata={"axes": "TYX", "finterval": STEP})


def train(path: Path, steps: int) -> kvdiff.VideoDiffusion:
    """On the first four fifths of a stack."""
    (field,) = open_fields(path, FieldRecipe(missing=(0,)))
    past = field.between(0, field.shape[0] * 4 // 5)
    values = fitted("square_root", survey([past]).summaries)
    batches = kvdiff.data.FieldBatches([past], FRAMES, batch_size=8, flips=["left_right", "up_down"])
    clip = ClipSpec(FRAMES, *batches.frame_shape, fps=1 / field.time_step, channel_names=("photons",))
    keras.utils.set_random_seed(0)
    recipe = recipe_named("tiny")
    model = recipe.forecaster(clip, PAST, values=values, network={"conditions": {"observed": Observed()}})
    model.compile(recipe.optimizer(recipe.rate(steps)))
    model.fit(batches.dataset(), steps_per_epoch=max(1, steps // 4), epochs=min(4, steps), verbose=2)
    return model


def main() -> None:
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    expected = expected_counts(args.length, args.size)
    record(expected, args.output / "cell.tif")
    model = train(args.output / "cell.tif", args.steps)
    model.save(args.output / "model.keras")

    (field,) = open_fields(args.output / "cell.tif", FieldRecipe(missing=(0,)))
    starts = np.arange(args.length * 4 // 5, args.length - FRAMES + 1, FRAMES)
    past = np.stack([field.read(range(start, start + PAST)) for start in starts])
    counted = np.stack([field.read(range(start + PAST, start + FRAMES)) for start in starts])
    meant = np.stack([expected[start + PAST : start + FRAMES, ..., None] for start in starts])
    members = model.predict_frames(past, num_members=args.samples, num_steps=args.num_steps)
    alive = np.isfinite(counted)
    mean, last = members.mean(axis=0), np.broadcast_to(past[:, -1:], counted.shape)

    def error(frames: np.ndarray) -> float:
        return float(np.sqrt(np.mean((frames - meant)[alive] ** 2)))

    spread, off = spread_skill(np.where(alive, members, 0.0), counted)
    print(
        f"root mean square error in photons, against the expected counts: mean of {args.samples} predictions "
        f"{error(mean):.1f}, one {error(members[0]):.1f}, last frame repeated {error(last):.1f}"
    )
    print(f"against what was counted: the mean is off by {off:.1f}, and the predictions spread by {spread:.1f}")
    rows = [np.concatenate([past[0], frames], axis=0) for frames in (counted[0], members[0, 0], mean[0], meant[0])]
    pictures = [pictures_of(model.spec.values, clip.astype(np.float32)) for clip in rows]
    write_clip(args.output / "prediction.gif", side_by_side(pictures), fps=4, scale=4)
    print(f"Wrote {args.output}/cell.tif, model.keras and prediction.gif: counted, one, mean, expected")


if __name__ == "__main__":
    main()
