"""Trains one autoencoder for a number of core-minutes, resumable, and measures what it gives back."""

from __future__ import annotations

import json
import pathlib
import time
from typing import Any

import keras
import numpy as np

import kvdiff
from kvdiff.training import ClipBatches, FusedAdam, TrainingCheckpoint
from kvdiff.training.reconstruction_loss import ReconstructionLoss

__all__ = ["measured", "train"]

_TRIAL = 12


def train(
    frames: np.ndarray, folder: pathlib.Path, minutes: float, *, network: dict[str, Any], training: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The trained autoencoder, and what its training took.

    Args:
        frames: uint8 [clips, frames, height, width, channels].
        folder: of checkpoints: a training that was cut off goes on.
        minutes: of processor time. How many steps that is, is measured once.
        network: arguments of `VideoAutoencoder`.
        training: "optimizer", "rate", "batch", "pixels", "edges".
    """
    folder.mkdir(parents=True, exist_ok=True)
    steps = _steps(frames, folder / "steps.json", minutes, network, training)
    keras.utils.set_random_seed(0)
    model = kvdiff.VideoAutoencoder(frames.shape[-1], **network)
    _compile(model, training, steps)
    clock = _Clock(folder / "cpu_seconds.json")
    every = min(500, steps)
    batches = ClipBatches(frames, training["batch"], steps_per_epoch=every)
    checkpoint = TrainingCheckpoint(folder / "checkpoints", batches, keep=2)
    epochs = -(-steps // every)
    model.fit(checkpoint.dataset(), steps_per_epoch=every, epochs=epochs, callbacks=[clock, checkpoint], verbose=2)
    return model, {"steps": epochs * every, "cpu_minutes": round(clock.total() / 60, 1), "weights": weights(model)}


def weights(model: Any) -> int:
    """Numbers of both networks."""
    return int(sum(np.prod(v.shape) for v in (*model.encoder.variables, *model.decoder.variables)))


def _compile(model: Any, training: dict[str, Any], steps: int) -> None:
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(steps - 300, 1), warmup_target=training["rate"], warmup_steps=min(300, steps // 3)
    )
    momentum = min(max(1.0 - 20.0 / steps, 0.0), 0.999)
    options: dict[str, Any] = dict(beta_2=0.99, global_clipnorm=1.0, use_ema=True, ema_momentum=momentum)
    optimizer: Any = FusedAdam(rate, **options)
    if training["optimizer"] == "muon":
        del options["beta_2"]
        options |= dict(
            adam_beta_2=0.99, weight_decay=0.0, adam_weight_decay=0.0, adam_lr_ratio=0.25, exclude_layers=["pixels"]
        )
        optimizer = keras.optimizers.Muon(rate, **options)
    model.compile(optimizer, ReconstructionLoss(training["pixels"], training["edges"]))


def _steps(
    frames: np.ndarray, path: pathlib.Path, minutes: float, network: dict[str, Any], training: dict[str, Any]
) -> int:
    """How many steps fit into the minutes: measured once, so that a training that goes on keeps its length."""
    if not path.exists():
        model = kvdiff.VideoAutoencoder(frames.shape[-1], **network)
        _compile(model, training, 1000)
        few = frames[: training["batch"]]
        model.fit(few, batch_size=len(few), epochs=3, verbose=0)
        begun = time.process_time()
        model.fit(few, batch_size=len(few), epochs=_TRIAL, verbose=0)
        path.write_text(json.dumps(round(minutes * 60 * _TRIAL / (time.process_time() - begun))))
    return int(json.loads(path.read_text()))


class _Clock(keras.callbacks.Callback):
    """Counts processor time over all the processes that a training took."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.path, self.before = path, json.loads(path.read_text()) if path.exists() else 0.0
        self.begun = time.process_time()

    def total(self) -> float:
        return float(self.before + time.process_time() - self.begun)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.path.write_text(json.dumps(self.total()))


def measured(model: Any, frames: np.ndarray) -> dict[str, Any]:
    """PSNR of all frames together and of the mean frame, and the latent's statistics."""
    found = model.reconstruct(frames)
    error = np.square(found - (frames / 127.5 - 1.0)).mean(axis=(1, 2, 3, 4))
    mean, deviation = model.moments.constants()
    return {
        "psnr": round(float(10 * np.log10(4 / error.mean())), 2),
        "psnr_of_frames": round(float(np.mean(10 * np.log10(4 / error))), 2),
        "latent_mean": mean.round(3).tolist(),
        "latent_deviation": deviation.round(3).tolist(),
    }
