"""What a backend does with models that another one saved: five training steps, samples, `fit`, saving, exact resume.

Run as `python -m tests.backends.work FOLDER`, with KERAS_BACKEND set and no need of TensorFlow.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import keras
import numpy as np

import kvdiff
from kvdiff.training import ClipBatches, TrainingCheckpoint

SHAPE = (4, 8, 8, 1)
BATCH, STEPS = 4, 5


def data() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Twenty uint8 clips and their labels."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (BATCH * STEPS, *SHAPE), np.uint8), {"kind": np.arange(BATCH * STEPS) % 3}


def optimizer() -> Any:
    return keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.5, global_clipnorm=1.0)


def batch_of(model: Any, clips: Any, labels: Any) -> Any:
    return (clips, labels) if getattr(model, "denoiser", None) is not None and model.spec.conditions else (clips,)


class Losses(keras.callbacks.Callback):
    """The loss of each step by itself: `logs` has the mean of the epoch so far."""

    def __init__(self) -> None:
        super().__init__()
        self.means: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.means.append(float(logs["loss"]))


def weights(model: Any) -> np.ndarray:
    return np.concatenate([np.ravel(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables])


def opened(path: pathlib.Path, compile: bool = False) -> Any:
    """A model of any kind."""
    load = kvdiff.load_autoencoder if path.name.startswith("autoencoder") else kvdiff.load_model
    return load(path, compile=compile)


def five_steps(path: pathlib.Path, found: dict[str, Any]) -> Any:
    """Train the model of a file for an epoch of five batches: running mean losses, and weights after it."""
    model, losses = opened(path), Losses()
    model.compile(optimizer(), loss=None)
    arrays = batch_of(model, *data())
    model.fit(*arrays, batch_size=BATCH, shuffle=False, verbose=0, callbacks=[losses])
    found.update(losses=losses.means, weights=weights(model), evaluated=model.evaluate(*arrays, verbose=0))
    return model


def samples(model: Any, found: dict[str, Any]) -> None:
    """All verbs of a model."""
    clips, labels = data()
    chosen = dict(seed=5, batch_size=2)
    if model.spec.conditions:
        chosen.update(conditions={"kind": labels["kind"][:2]}, guidance=2.0)
    found["generate"] = model.generate(2, num_steps=4, **chosen)
    found["predict"] = model.predict_frames(clips[:2, :2], num_steps=3, at_a_time=1, **chosen)
    found["interpolate"] = model.interpolate(
        clips[:2, :1], clips[:2, -1:], num_steps=3, solver="ddim", eta=1.0, **chosen
    )
    found["rollout"] = model.rollout(6, clips[:2, :2], num_steps=2, **chosen)


class StopAfter(keras.callbacks.Callback):
    """Ends a training in the middle of an epoch."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if int(self.model.optimizer.iterations) == self.steps:
            self.model.stop_training = True


def resumed(path: pathlib.Path, folder: pathlib.Path, stop: int | None) -> np.ndarray:
    """The weights after two epochs of five steps; with `stop`, of a training that was cut off after so many."""
    for steps in filter(None, (stop, 1000)):
        model = opened(path)
        model.compile(optimizer())
        batches = ClipBatches(batch_of(model, *data()), BATCH, seed=3)
        checkpoint = TrainingCheckpoint(folder, batches, every=1)
        callbacks = [StopAfter(steps), checkpoint]
        model.fit(checkpoint.dataset(), steps_per_epoch=STEPS, epochs=2, callbacks=callbacks, shuffle=False, verbose=0)
    return weights(model)


def main(folder: pathlib.Path) -> None:
    """Answer for every `*.start.keras` in a folder; write `NAME.BACKEND.npz` and `NAME.BACKEND.keras`."""
    name = keras.backend.backend()
    for path in sorted(folder.glob("*.start.keras")):
        found: dict[str, Any] = {}
        model = five_steps(path, found)
        stem = path.name.removesuffix(".start.keras")
        if hasattr(model, "generate"):
            samples(model, found)
        if stem == "unet":
            found["whole"] = resumed(path, folder / f"{name}-whole", None)
            found["resumed"] = resumed(path, folder / f"{name}-resumed", 7)
        model.save(folder / f"{stem}.{name}.keras")
        np.savez(folder / f"{stem}.{name}.npz", **found)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
