"""Labelled clips of moving digits, and a classifier that says which digit a frame shows.

What is chosen is chosen on clips of the validation split. The test split is for the last report alone.
"""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
from keras import layers

from kvdiff.data import moving_digits

__all__ = ["SIZE", "clips", "identities", "load_classifier", "scaled"]

SIZE = 16


def clips(num_clips: int, split: str, *, num_frames: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`moving_digits` with its labels: uint8 [num_clips, num_frames, 16, 16, 1] and int [num_clips]."""
    return moving_digits(num_clips, num_frames=num_frames, split=split, seed=seed, return_labels=True)


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


def scaled(pixels: np.ndarray) -> np.ndarray:
    """uint8 pixels as float32 in [-1, 1]."""
    return np.asarray(pixels, np.float32) / np.float32(127.5) - np.float32(1.0)
