"""Text to video, measured: a model that reads captions such as "a seven moves up and left", and whether it obeys them.

    pip install "keras-video-diffusion[demo]"
    python examples/captions.py --output captions/   # half an hour on one core; goes on if cut off

Trains on moving digits with captions. Sixteen of the eighty pairs of a digit and a direction never occur in training.
Then it generates clips for captions of both kinds and measures whether they obey: a classifier of handwritten digits
says what each clip shows, and its centre of mass where that moves. Beside it stand chance, which is the same clips
judged by other captions, and true clips judged by their own. Writes the model, a GIF of held-out captions, and the
figures as JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import keras
import numpy as np

import kvdiff
from kvdiff.data import moving_digits
from kvdiff.diffusion import ClipSpec, TokenIds
from kvdiff.diffusion.tasks.known_frames import Nothing
from kvdiff.evaluation.digit_classifier import DigitClassifier
from kvdiff.media import enlarge, grid, labelled, write_clip
from kvdiff.models import recipe_named
from kvdiff.system.environment import versions
from kvdiff.training import ClipBatches, StepBudget, TrainingCheckpoint

FRAMES, SIZE = 8, 16
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIRECTIONS = (
    *("right", "down and right", "down", "down and left"),
    *("left", "up and left", "up", "up and right"),
)  # Each an eighth turn after the one before, clockwise.
SPEED = dict(min_speed=0.5, max_speed=1.0, bounce=False)  # Pixels a frame.
PAIRS = [(digit, direction) for digit in range(len(DIGITS)) for direction in range(len(DIRECTIONS))]
HELD_OUT = [pair for pair in PAIRS if (3 * pair[0] + pair[1]) % 5 == 0]
SEEN = [pair for pair in PAIRS if pair not in HELD_OUT]
WORDS = ("", *sorted({"a", "an", "moves", *DIGITS, *(word for each in DIRECTIONS for word in each.split())}))
TEXT = TokenIds(max_tokens=6, vocabulary=WORDS, blocks=0)  # No word here changes what another means.


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-clips", type=int, default=32_000, help="training clips")
    parser.add_argument("--steps", type=int, default=12_000, help="training steps of 16 clips")
    parser.add_argument("--num-samples", type=int, default=256, help="generated clips a measurement")
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0, 4.0, 8.0], help="weights to compare")
    parser.add_argument("--num-steps", type=int, default=20, help="sampling steps")
    parser.add_argument("--output", type=Path, default=Path("captions"), help="folder for the results")
    return parser.parse_args()


def caption(pair: tuple[int, int]) -> str:
    """The text for a digit and a direction."""
    digit, direction = DIGITS[pair[0]], DIRECTIONS[pair[1]]
    return f"{'an' if digit == 'eight' else 'a'} {digit} moves {direction}"


def clips_of(pairs: list[tuple[int, int]], split: str, seed: int) -> np.ndarray:
    """True clips for captions: uint8 [clips, FRAMES, SIZE, SIZE, 1]."""
    digits, directions = np.array(pairs).T
    drawn = dict(num_frames=FRAMES, size=SIZE, split=split, seed=seed, **SPEED)
    return moving_digits(len(pairs), digits=digits, angles=directions * np.pi / 4, **drawn)


def build() -> kvdiff.VideoDiffusion:
    keras.utils.set_random_seed(0)
    denoiser = kvdiff.UNet3D(1, widths=(60,), groups=4, patch_size=4, conditions={"text": TEXT})
    return recipe_named("tiny").model(ClipSpec(FRAMES, SIZE, SIZE, 1), denoiser, known_frames=Nothing())


def train(model: kvdiff.VideoDiffusion, args: argparse.Namespace) -> None:
    recipe = recipe_named("tiny")
    model.compile(recipe.optimizer(recipe.rate(args.steps)))
    rng = np.random.default_rng(0)
    pairs = [SEEN[number] for number in rng.integers(0, len(SEEN), args.num_clips)]
    texts = TEXT.ids([caption(pair) for pair in pairs])
    batches = ClipBatches((clips_of(pairs, "train", 0), {"text": texts}), 16, steps_per_epoch=min(250, args.steps))
    checkpoint = TrainingCheckpoint(args.output / "checkpoints", batches, keep=1)
    callbacks = [checkpoint, StepBudget(args.steps, lambda line: print(line, flush=True))]
    length = dict(epochs=-(-args.steps // batches.steps_per_epoch), steps_per_epoch=batches.steps_per_epoch)
    model.fit(checkpoint.dataset(), shuffle=False, callbacks=callbacks, verbose=2, **length)


def directions_of(clips: np.ndarray) -> np.ndarray:
    """Where each clip's centre of mass moves, as numbers of DIRECTIONS: int [clips]."""
    mass = clips[..., 0] / 255.0
    total = np.maximum(mass.sum(axis=(2, 3)), 1e-9)
    row, column = (np.einsum("nfhw,nf->nfhw", mass, 1 / total).sum(axis=axis) @ np.arange(SIZE) for axis in (3, 2))
    time = np.arange(FRAMES) - (FRAMES - 1) / 2
    angle = np.arctan2(row @ time, column @ time)  # Of the slopes of straight lines through both.
    return np.round(angle / (np.pi / 4)).astype(int) % len(DIRECTIONS)


def digits_of(classifier: DigitClassifier, clips: np.ndarray) -> np.ndarray:
    """The digit that most frames of each clip show: int [clips]."""
    votes = np.eye(10)[classifier(clips.reshape(-1, SIZE, SIZE, 1))]
    return votes.reshape(len(clips), FRAMES, 10).sum(axis=1).argmax(axis=-1)


def obeyed(classifier: DigitClassifier, clips: np.ndarray, pairs: list[tuple[int, int]]) -> dict[str, float]:
    """Shares of clips that show what their captions say, and that show what the next ones' say: chance."""
    found = np.stack([digits_of(classifier, clips), directions_of(clips)], axis=1)
    right, others = np.array(pairs), np.random.default_rng(1).permutation(pairs)
    shares = {"both": (found == right).all(axis=1), "digit": found[:, 0] == right[:, 0]}
    shares |= {"direction": found[:, 1] == right[:, 1], "both, of other captions": (found == others).all(axis=1)}
    return {name: round(float(share.mean()), 3) for name, share in shares.items()}


def generated(
    model: kvdiff.VideoDiffusion, pairs: list[tuple[int, int]], guidance: float, num_steps: int
) -> np.ndarray:
    """A clip for each caption: uint8 [clips, FRAMES, SIZE, SIZE, 1]."""
    texts = [caption(pair) for pair in pairs]
    clips = model.generate(len(pairs), conditions={"text": texts}, guidance=guidance, num_steps=num_steps, seed=1)
    return np.round((clips + 1.0) * 127.5).astype(np.uint8)


def main() -> None:
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    classifier, model = DigitClassifier(SIZE), build()
    kinds = {"seen": SEEN, "held out": HELD_OUT}
    asked = {name: [pairs[number % len(pairs)] for number in range(args.num_samples)] for name, pairs in kinds.items()}
    true = {name: obeyed(classifier, clips_of(pairs, "test", 2), pairs) for name, pairs in asked.items()}
    train(model, args)
    model.save(args.output / "model.keras")

    results: dict[str, dict] = {name: {"true clips": true[name]} for name in kinds}
    for guidance in args.guidance:
        for name, pairs in asked.items():
            clips = generated(model, pairs, guidance, args.num_steps)
            results[name][f"guidance {guidance:g}"] = obeyed(classifier, clips, pairs)
            print(f"{name}, guidance {guidance:g}: {results[name][f'guidance {guidance:g}']}", flush=True)
            if name == "held out":
                shown = [
                    labelled(enlarge(clip, 11), caption(pair), size=11)
                    for clip, pair in zip(clips[:16], pairs, strict=False)
                ]
                write_clip(args.output / f"held_out_guidance_{guidance:g}.gif", grid(shown, 4), fps=4)
    settings = {name: value for name, value in vars(args).items() if name != "output"}
    record = results | {"steps trained": int(model.optimizer.iterations), "settings": settings, "versions": versions()}
    (args.output / "captions.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    print(json.dumps(results, indent=2))
    print(f"Wrote {args.output}/model.keras, held_out_guidance_*.gif and captions.json")


if __name__ == "__main__":
    main()
