"""One number for a clip, and the baselines that a model has to beat."""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion.checks import check_count

__all__ = ["MAX_PSNR", "linear_blend", "psnr", "repeat_last"]

MAX_PSNR = 100.0
"""Decibels given to (nearly) exact frames, whose error is 0 and whose PSNR would be infinite and spoil every mean."""


def psnr(made: np.ndarray, truth: np.ndarray, *, per_frame: bool = False) -> np.ndarray:
    """Peak signal-to-noise ratio in dB: 10 log10(2² / mean squared error), at most `MAX_PSNR`.

    2 is the peak-to-peak range of pixels in [-1, 1]. The error is averaged over a clip (or a frame) first;
    averaging the decibels of several clips is left to the caller, and gives every clip the same say.

    Args:
        made, truth: [batch, frames, height, width, channels] in [-1, 1], of one shape.
        per_frame: one value a frame in place of one a clip.

    Returns:
        float64 [batch], or [batch, frames].
    """
    if made.shape != truth.shape or made.ndim != 5 or 0 in made.shape:
        raise ValueError(
            "`made`, `truth`: expected one shape [batch, frames, height, width, channels]. "
            f"Received: {list(made.shape)} and {list(truth.shape)}"
        )
    error = np.square(np.asarray(made, np.float64) - np.asarray(truth, np.float64))
    error = error.mean(axis=(2, 3, 4) if per_frame else (1, 2, 3, 4))
    return 10.0 * np.log10(4.0 / np.maximum(error, 4.0 * 10.0 ** (-MAX_PSNR / 10.0)))


def repeat_last(past: np.ndarray, num_frames: int) -> np.ndarray:
    """The baseline of prediction, the last frame of `past` over again: [batch, num_frames, height, width, channels]."""
    return np.repeat(past[:, -1:], check_count("num_frames", num_frames), axis=1)


def linear_blend(before: np.ndarray, after: np.ndarray, num_frames: int) -> np.ndarray:
    """The baseline of interpolation: a cross-fade between the two nearest known frames.

    Frame i of n is (1 - w) (last of `before`) + w (first of `after`) with w = (i + 1) / (n + 1).

    Returns:
        float, [batch, num_frames, height, width, channels].
    """
    check_count("num_frames", num_frames)
    weight = np.arange(1, num_frames + 1, dtype=before.dtype).reshape(1, -1, 1, 1, 1) / (num_frames + 1)
    return (1 - weight) * before[:, -1:] + weight * after[:, :1]
