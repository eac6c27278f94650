"""The clips of the benchmark: frames to train on, and frames of other digits or of later film to measure with."""

from __future__ import annotations

import pathlib

import numpy as np

from kvdiff.data import moving_mnist

__all__ = ["moving_digits"]


def moving_digits(path: pathlib.Path, split: str, num_clips: int, num_frames: int = 1, seed: int = 0) -> np.ndarray:
    """Two-digit Moving MNIST: uint8 [clips, frames, 64, 64, 1].

    Args:
        path: a .npz of images, as `moving_mnist` takes it; its last tenth is the test split.
        split: "train" (the first eight tenths), "validation" (the ninth) or "test" (the last).
        num_clips, num_frames, seed: as in `moving_mnist`.
    """
    with np.load(path, allow_pickle=False) as arrays:
        images = arrays["x"]
    cuts = {"train": (0, 8), "validation": (8, 9), "test": (9, 10)}[split]
    first, last = (len(images) * tenth // 10 for tenth in cuts)
    part = path.with_name(f"{path.stem}_{split}.npz")
    if not part.exists():
        np.savez_compressed(part, x_train=images[first:last], x_test=images[first:last])
    return moving_mnist(num_clips, num_frames=num_frames, path=part, seed=seed + 100 * cuts[0])
