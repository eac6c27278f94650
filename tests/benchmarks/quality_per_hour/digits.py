"""Labelled clips of moving digits, with a validation split, and a classifier that says which digit a frame shows.

Of the 1,500 training images of `kvdiff.data.moving_digits` the last 200 are for validation: what is chosen is chosen
on clips of these. The test images are for the last report alone.
"""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
from keras import layers

from kvdiff.data.moving_digits import _bounced, _digits, _render
from kvdiff.diffusion.checks import check_choice

__all__ = ["NUM_VALIDATION_DIGITS", "SIZE", "clips", "identities", "load_classifier", "scaled"]

NUM_VALIDATION_DIGITS = 200
SIZE = 16
_SEEDS = {"train": 0, "validation": 2, "test": 1}


def clips(num_clips: int, split: str, *, num_frames: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clips that move as those of `moving_digits` do, and the digit of each.

    Args:
        num_clips, num_frames, seed: as in `moving_digits`.
        split: "train" (1,300 images), "validation" (200) or "test" (297).

    Returns:
        uint8 [num_clips, num_frames, 16, 16, 1] and int [num_clips].
    """
    images, labels = _images(check_choice("split", split, _SEEDS))
    rng = np.random.default_rng([seed, _SEEDS[split]])
    chosen = rng.integers(0, len(images), num_clips)
    angle, speed = rng.uniform(0.0, 2.0 * np.pi, num_clips), rng.uniform(0.5, 1.5, num_clips)
    velocity = speed[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    room = float(SIZE - images.shape[1])
    positions = rng.uniform(0.0, room, (num_clips, 2))[:, None] + velocity[:, None] * np.arange(num_frames)[:, None]
    return _pixels(_render(images[chosen], _bounced(positions, room), SIZE)), labels[chosen]


def load_classifier(path: pathlib.Path, *, steps: int = 2000) -> keras.Model:
    """The classifier kept at `path`; where there is none it is trained, in about a minute of one core."""
    if path.exists():
        return keras.models.load_model(path)
    keras.utils.set_random_seed(7)
    stack: list[Any] = [keras.Input((SIZE, SIZE, 1))]
    for filters, strides in ((32, 1), (64, 2), (96, 1)):
        stack.append(layers.Conv2D(filters, 3, strides, padding="same", activation="relu"))
    stack += [layers.MaxPooling2D(), layers.Flatten(), layers.Dropout(0.4), layers.Dense(96, activation="relu")]
    classifier = keras.Sequential([*stack, layers.Dropout(0.4), layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)), loss)
    frames, labels = clips(64 * steps, "train", num_frames=1, seed=77)
    classifier.fit(scaled(frames[:, 0]), labels, batch_size=64, verbose=0)
    classifier.save(path)
    return classifier


def identities(classifier: keras.Model, frames: np.ndarray) -> np.ndarray:
    """The digit of every frame: float32 [..., 16, 16, 1] in [-1, 1] -> int [...]."""
    flat = np.asarray(frames, np.float32).reshape(-1, SIZE, SIZE, 1)
    return classifier.predict(flat, batch_size=256, verbose=0).argmax(-1).reshape(frames.shape[:-3])


def _images(split: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = _digits("test" if split == "test" else "train")
    if split == "test":
        return images, labels
    first = len(images) - NUM_VALIDATION_DIGITS
    part = slice(first) if split == "train" else slice(first, None)
    return images[part], labels[part]


def _pixels(frames: np.ndarray) -> np.ndarray:
    return np.round(np.clip(frames, 0.0, 1.0) * 255.0).astype(np.uint8)[..., None]


def scaled(pixels: np.ndarray) -> np.ndarray:
    """uint8 pixels as float32 in [-1, 1]."""
    return np.asarray(pixels, np.float32) / np.float32(127.5) - np.float32(1.0)
