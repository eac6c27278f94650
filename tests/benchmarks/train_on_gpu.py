"""Training measured on a GPU, through Keras on JAX: milliseconds a clip, and the loss curve.

    pip install "jax[cuda13]" "keras>=3.15,<3.16"
    KERAS_BACKEND=jax python -m tests.benchmarks.train_on_gpu --precision mixed_bfloat16

It needs neither TensorFlow nor data: the clips are squares that move over a gradient. The results go to
results/train_on_gpu.json; give `clip_ms` to `python -m tests.benchmarks.scaling cost --clip-ms`. `--quick` only checks
that it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import time
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

import kvdiff
from kvdiff.system.environment import machine, versions
from tests.benchmarks.results import load, write_document

RESULTS = pathlib.Path(__file__).parent / "results" / "train_on_gpu.json"
LARGE = dict(shape=(16, 64, 64, 3), network=dict(widths=(96, 192, 384), attention=(None, None, "space_time")))
QUICK = dict(shape=(4, 8, 8, 3), network=dict(widths=(24,), blocks=1, attention=("space_time",), dropout=0.1))


def moving_squares(count: int, shape: tuple[int, int, int, int]) -> np.ndarray:
    """float32 [count, *shape] in [-1, 1]: a bright square a clip, at constant velocity, bounced off the edges."""
    frames, height, width, channels = shape
    rng = np.random.default_rng(0)
    side = height // 4
    start, velocity = rng.uniform(0, height - side, (count, 1, 2)), rng.uniform(-side / 2, side / 2, (count, 1, 2))
    place = np.abs((start + velocity * np.arange(frames)[:, None]) % (2 * (height - side)) - (height - side))
    row, column = np.arange(height)[:, None], np.arange(width)[None, :]
    top, left = place[..., 0, None, None], place[..., 1, None, None]
    inside = (row >= top) & (row < top + side) & (column >= left) & (column < left + side)
    picture = np.where(inside, 1.0, -1.0 + column / width)
    return np.repeat(picture[..., None], channels, axis=-1).astype("float32")


class Marks(keras.callbacks.Callback):
    """When each epoch was done, and its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.loss: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.loss.append(float((logs or {})["loss"]))
        self.seconds.append(time.perf_counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="mixed_bfloat16", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps-per-epoch", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--remat", action="store_true")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    chosen = QUICK if arguments.quick else LARGE
    keras.mixed_precision.set_global_policy(arguments.precision)
    keras.utils.set_random_seed(0)
    model = kvdiff.VideoDiffusion(chosen["shape"], kvdiff.UNet3D(3, remat=arguments.remat, **chosen["network"]))
    model.compile(keras.optimizers.Adam(3e-4, global_clipnorm=1.0, use_ema=True, ema_momentum=0.999))
    clips = moving_squares(arguments.batch_size * arguments.steps_per_epoch, chosen["shape"])
    marks = Marks()
    model.fit(clips, batch_size=arguments.batch_size, epochs=arguments.epochs, verbose=2, callbacks=[marks])
    epoch_seconds = float(np.diff(marks.seconds).min())  # The first epoch, which compiles, is left out.
    results = {
        **vars(arguments),
        "backend": keras.backend.backend(),
        "device": device_name(),
        "shape": chosen["shape"],
        "parameters": model.count_params(),
        "step_ms": 1e3 * epoch_seconds / arguments.steps_per_epoch,
        "clip_ms": 1e3 * epoch_seconds / len(clips),
        "loss": marks.loss,
    }
    print(json.dumps(results, indent=2))
    if not arguments.quick:
        write_document(RESULTS, [], {"machine": machine(), "versions": versions(), "load": load(), "details": results})


def device_name() -> str:
    if keras.backend.backend() != "jax":
        return "unknown"
    import jax

    return str(jax.devices()[0].device_kind)


if __name__ == "__main__":
    main()
