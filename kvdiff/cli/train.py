"""train: from files of clips to a run."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from kvdiff.cli.runs import KERAS_FILE, ONNX_FILE, quiet_tensorflow, save_keras

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion

__all__ = ["train"]


def train(
    clips: Annotated[
        list[pathlib.Path],
        typer.Argument(metavar="CLIPS", help="Files (.gif, .mp4, .webm, .npy, …), or folders of them."),
    ],
    output: Annotated[
        pathlib.Path,
        typer.Option("--output", "-o", metavar="RUN", help="Folder for the trained model; made if need be."),
    ],
    frames: Annotated[
        int, typer.Option(metavar="N", min=2, help="Frames of a training clip; longer files are cut into windows.")
    ] = 8,
    stride: Annotated[
        int, typer.Option(metavar="N", min=1, help="Frames from the start of one window to the next.")
    ] = 1,
    size: Annotated[
        int, typer.Option(metavar="N", min=4, help="Height and width that videos are resized and cut to.")
    ] = 32,
    channels: Annotated[int, typer.Option(metavar="N", min=1, max=3, help="3 for colour, 1 for grey.")] = 3,
    epochs: Annotated[int, typer.Option(metavar="N", min=1, help="Passes over all windows.")] = 50,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Windows a training step.")] = 16,
    learning_rate: Annotated[float, typer.Option(metavar="X", min=1e-8, help="Of Adam at its peak.")] = 1e-3,
    width: Annotated[
        int, typer.Option(metavar="N", min=24, help="Channels of the network's first level, a multiple of 24.")
    ] = 48,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of weights, noise and order.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in the folder.")] = False,
) -> None:
    """Train a model on your own clips.

    Writes RUN/model.keras. One training serves every task: generate, predict and interpolate.

    Example: kvdiff train my_videos --epochs 100 -o saved_models/my_clips
    """
    _check_folder(output, overwrite)
    model = _model((frames, size, size, channels), width, seed)
    windows = _windows(clips, (frames, size, size, channels), stride)
    batch_size = min(batch_size, len(windows))
    steps = len(windows) // batch_size
    typer.echo(f"{len(windows)} windows of {frames} frames: {epochs} epochs of {steps} steps.")
    _fit(model, windows, epochs, batch_size, learning_rate, seed)
    output.mkdir(parents=True, exist_ok=True)
    path = save_keras(model, output)
    typer.echo(f"Wrote {path}. Try: kvdiff generate {output} -o new.gif")


def _check_folder(output: pathlib.Path, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise NotADirectoryError(f"{output}: expected a folder. Received: a file")
    there = [name for name in (KERAS_FILE, ONNX_FILE) if (output / name).exists()]
    if there and not overwrite:
        raise FileExistsError(f"{output}: holds {' and '.join(there)}; pass --overwrite or name another folder")


def _model(clip_shape: tuple[int, int, int, int], width: int, seed: int) -> VideoDiffusion:
    with quiet_tensorflow():
        import keras

        import kvdiff
    keras.utils.set_random_seed(seed)
    denoiser = kvdiff.UNet3D(clip_shape[-1], widths=(width, 2 * width))
    return kvdiff.VideoDiffusion(clip_shape, denoiser, seed=seed)


def _windows(paths: list[pathlib.Path], clip_shape: tuple[int, int, int, int], stride: int) -> np.ndarray:
    """Every window of every clip: uint8 [windows, *clip_shape]."""
    from kvdiff.media import list_clip_files, read_clips

    frames, height, width, channels = clip_shape
    found = []
    for path in list_clip_files(paths):
        resize = None if path.suffix.lower() == ".npy" else (height, width)
        clips = read_clips(path, size=resize, channels=channels)
        if clips.shape[2:4] != (height, width):
            raise ValueError(
                f"{path}: expected frames of {height}×{width}; a .npy file is not resized. "
                f"Received: {clips.shape[2]}×{clips.shape[3]}"
            )
        starts = range(0, clips.shape[1] - frames + 1, stride)
        if not starts:
            typer.echo(f"Note: {path} has {clips.shape[1]} frames, fewer than {frames}; left out.", err=True)
        found += [clips[:, start : start + frames] for start in starts]
    if not found:
        raise ValueError(f"CLIPS: expected at least one clip of {frames} frames or more. Received: none")
    return np.concatenate(found)


def _fit(
    model: VideoDiffusion, windows: np.ndarray, epochs: int, batch_size: int, learning_rate: float, seed: int
) -> None:
    """Adam with a cosine to zero; the averaged weights reach back over a tenth of the training."""
    import keras
    import tensorflow as tf

    steps = epochs * (len(windows) // batch_size)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    momentum = min(max(1.0 - 10.0 / steps, 0.0), 0.999)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=1.0, use_ema=True, ema_momentum=momentum))
    dataset = tf.data.Dataset.from_tensor_slices(windows).shuffle(len(windows), seed=seed)
    model.fit(dataset.batch(batch_size, drop_remainder=True).prefetch(2), epochs=epochs, shuffle=False)
