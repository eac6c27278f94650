"""Features of moving digits that are computed in no time, to compare many samplers: those of a classifier of digits.

The Fréchet video distance in I3D's features takes a minute of a core for 256 clips; a comparison of a hundred samplers
needs something quicker. A small network learns here to tell the ten digits in frames of the training split, wherever
they stand. A clip's features are the means over its frames of the last hidden layer, and of its change from frame to
frame: what the digit looks like, and whether it stays what it is.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kvdiff.data.moving_digits import _digits, _render

__all__ = ["DigitFeatures"]

_SIZE, _WIDTH = 16, 48


class DigitFeatures:
    """Clips uint8 [clips, frames, size, size, 1] to features [clips, 96]; trained when it is made, in half a minute.

    Attributes:
        accuracy: on frames of digits that the network never saw.
    """

    def __init__(self, *, steps: int = 1500, seed: int = 0) -> None:
        keras.utils.set_random_seed(seed)
        rng = np.random.default_rng(seed)
        pixels = keras.Input((_SIZE, _SIZE, 1))
        x = pixels
        for filters, strides in ((24, 1), (48, 2), (96, 2)):
            x = layers.Conv2D(filters, 3, strides, padding="same", activation="relu")(x)
        hidden = layers.Dense(_WIDTH, activation="relu")(layers.GlobalAveragePooling2D()(x))
        classifier = keras.Model(pixels, layers.Dense(10)(hidden))
        rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        classifier.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
        classifier.fit(*_frames("train", 64 * steps, rng), batch_size=64, verbose=0)
        self.accuracy = float(classifier.evaluate(*_frames("test", 2000, rng), verbose=0)[1])
        self._hidden = keras.Model(pixels, hidden)

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        """float64 [clips, 96]; frames of 32 or 48 pixels are averaged to 16."""
        share = clips.shape[2] // _SIZE
        clips = clips.reshape(*clips.shape[:2], _SIZE, share, _SIZE, share, 1).mean(axis=(3, 5))
        frames = ops.convert_to_tensor(_scaled(clips.reshape(-1, *clips.shape[2:])))
        of_frames = np.asarray(self._hidden(frames), np.float64).reshape(*clips.shape[:2], -1)
        change = np.abs(np.diff(of_frames, axis=1)).mean(axis=1)
        return np.concatenate([of_frames.mean(axis=1), change], axis=1)


def _frames(split: str, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the data set's digits anywhere, float32 [count, 16, 16, 1], and which digits they are."""
    images, labels = _digits(split)
    chosen = rng.integers(0, len(images), count)
    positions = rng.uniform(0.0, _SIZE - images.shape[1], (count, 1, 2))
    pixels = np.clip(_render(images[chosen], positions, _SIZE)[:, 0], 0.0, 1.0)
    return _scaled(np.round(pixels * 255.0)[..., None]), labels[chosen]


def _scaled(pixels: Any) -> np.ndarray:
    return np.asarray(pixels, np.float32) / np.float32(127.5) - np.float32(1.0)
