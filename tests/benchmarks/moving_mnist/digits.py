"""The clips, and a classifier that says whether each of their digits is still itself."""

from __future__ import annotations

import dataclasses
import pathlib

import keras
import numpy as np
from keras import layers

from kvdiff.data.moving_mnist import corners, drawn

__all__ = ["CENTS", "SIZE", "Clips", "classifier", "clips", "identities"]

SIZE, DIGIT, MARGIN = 64, 28, 4
CENTS = {"train": (0, 85), "validation": (85, 90), "test": (90, 100)}
"""Which hundredths of the file's images each split has, in the file's order."""


@dataclasses.dataclass(frozen=True)
class Clips:
    """Moving MNIST, and what it shows.

    Attributes:
        pixels: uint8 [clips, frames, 64, 64, 1].
        labels: which digits, int [clips, 2].
        corners: their first row and column, int [clips, 2, frames, 2].
    """

    pixels: np.ndarray
    labels: np.ndarray
    corners: np.ndarray


def clips(path: pathlib.Path, split: str, number: int, num_frames: int, *, seed: int) -> Clips:
    """Two digits of a split that move by a tenth of their room a frame, as `kvdiff.data.moving_mnist` has them.

    `path` is a .npz of MNIST's images `x`, uint8 [images, 28, 28], and which digits they are, `y`.
    """
    with np.load(path, allow_pickle=False) as arrays:
        images, labels = arrays["x"], arrays["y"]
    first, last = (len(images) * cent // 100 for cent in CENTS[split])
    rng = np.random.default_rng([seed, list(CENTS).index(split), SIZE])
    chosen = rng.integers(first, last, (number, 2))
    places = corners(rng, chosen.shape, num_frames, 0.1, SIZE - DIGIT)
    return Clips(drawn(images[chosen], places, SIZE), labels[chosen], places)


def crops(frames: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Each digit of a frame with its surroundings, at corners [clips, 2, 2]: float32 [2 · clips, 36, 36, 1]."""
    space = ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    padded, side = np.pad(frames, space, constant_values=-1.0), DIGIT + 2 * MARGIN
    found = [padded[i, a : a + side, b : b + side] for i in range(len(frames)) for a, b in places[i]]
    return np.stack(found).astype(np.float32)


def classifier(path: pathlib.Path, file: pathlib.Path, steps: int = 4000) -> keras.Model:
    """A network that reads the digit in the middle of a crop, another one over it or not; trained once, kept in `file`.

    It learns from training digits, moved by up to two pixels, so that it forgives a place that is a little wrong.
    """
    if file.exists():
        return keras.saving.load_model(file)
    keras.utils.set_random_seed(3)
    stack: list[keras.Layer] = [keras.Input((DIGIT + 2 * MARGIN, DIGIT + 2 * MARGIN, 1))]
    for channels, stride in ((24, 1), (32, 2), (48, 1), (64, 2)):
        stack.append(layers.Conv2D(channels, 3, stride, padding="same", activation="relu"))
    stack += [layers.MaxPooling2D(), layers.Flatten(), layers.Dropout(0.4), layers.Dense(128, activation="relu")]
    model = keras.Sequential([*stack, layers.Dropout(0.4), layers.Dense(10)])
    rate = keras.optimizers.schedules.CosineDecay(1.5e-3, steps)
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data, rng = clips(path, "train", 32 * steps // 4, 1, seed=9), np.random.default_rng(1)
    for _ in range(4):
        moved = np.clip(data.corners[:, :, 0] + rng.integers(-2, 3, data.corners[:, :, 0].shape), 0, SIZE - DIGIT)
        model.fit(crops(scaled(data.pixels[:, 0]), moved), data.labels.reshape(-1), batch_size=64, verbose=0)
    model.save(file)
    return model


def identities(model: keras.Model, frames: np.ndarray, data: Clips, frame: int) -> np.ndarray:
    """Whether both digits of a frame, float [clips, 64, 64, 1] in [-1, 1], are read as what they are: bool [clips]."""
    read = model.predict(crops(frames, data.corners[:, :, frame]), batch_size=256, verbose=0).argmax(-1)
    return (read.reshape(-1, 2) == data.labels).all(axis=1)


def scaled(pixels: np.ndarray) -> np.ndarray:
    """uint8 pixels as float32 in [-1, 1]."""
    return pixels.astype(np.float32) / 127.5 - 1.0
