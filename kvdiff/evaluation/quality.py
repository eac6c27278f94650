"""One number for a clip, and the baseline that a model has to beat."""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion.checks import check_array, check_flag
from kvdiff.diffusion.transforms.pixels import from_pixels

MAX_PSNR = 100.0
"""The decibels of (nearly) exact frames, whose error is 0 and whose PSNR would be infinite and spoil every mean."""

SSIM_WINDOW = 11
"""Pixels on a side of the Gaussian window that `ssim` looks through; no frame may be smaller."""

_SSIM_STD = 1.5
_SSIM_STABLE = (0.01 * 2.0) ** 2, (0.03 * 2.0) ** 2  # C_1 and C_2 for a range of 2.


def floats(clips: np.ndarray) -> np.ndarray:
    """Clips as float64 in [-1, 1]; uint8 pixels are scaled."""
    clips = np.asarray(clips)
    return from_pixels(clips, dtype="float64") if clips.dtype == np.uint8 else clips.astype(np.float64)


def psnr(generated: np.ndarray, truth: np.ndarray, *, per_frame: bool = False) -> np.ndarray:
    """Peak signal-to-noise ratio in dB: 10 log10(2² / mean squared error), at most `MAX_PSNR`.

    2 is the peak-to-peak range of pixels in [-1, 1]. The error is averaged over a clip (or a frame) first;
    averaging the decibels of several clips is left to the caller, and gives every clip the same say.

    Args:
        generated, truth: [batch, frames, height, width, channels] in [-1, 1] or uint8, of one shape.
        per_frame: one value a frame in place of one a clip.

    Returns:
        float64 [batch], or [batch, frames].
    """
    check_flag("per_frame", per_frame)
    check_pair(generated, truth)
    error = np.square(floats(generated) - floats(truth))
    return decibels(error.mean(axis=(2, 3, 4) if per_frame else (1, 2, 3, 4)))


def decibels(error: np.ndarray) -> np.ndarray:
    """PSNR of mean squared errors of pixels in [-1, 1]."""
    return 10.0 * np.log10(4.0 / np.maximum(error, 4.0 * 10.0 ** (-MAX_PSNR / 10.0)))


def ssim(generated: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Structural similarity of each frame, at most 1 (Wang et al. 2004, eq. 13: Gaussian window of 11, sigma 1.5).

    The mean over channels and over the places where the window lies inside the frame, as `tf.image.ssim` and
    scikit-image compute it. In float64, unlike the former, which is off by 5e-4 where a picture is flat.

    Args:
        generated, truth: [batch, frames, height, width, channels] in [-1, 1] or uint8, of one shape, at least 11
            pixels a side.

    Returns:
        float64 [batch, frames].
    """
    check_pair(generated, truth)
    if min(generated.shape[2:4]) < SSIM_WINDOW:
        raise ValueError(
            f"`generated`: expected frames of at least {SSIM_WINDOW}×{SSIM_WINDOW}. Received: {generated.shape[2:4]}"
        )
    x, y = floats(generated), floats(truth)
    mean_x, mean_y = _windowed(x), _windowed(y)
    spread = _windowed(x * x + y * y) - mean_x**2 - mean_y**2
    shared = _windowed(x * y) - mean_x * mean_y
    c_1, c_2 = _SSIM_STABLE
    similarity = (2.0 * mean_x * mean_y + c_1) * (2.0 * shared + c_2)
    similarity /= (mean_x**2 + mean_y**2 + c_1) * (spread + c_2)
    return similarity.mean(axis=(2, 3, 4))


def _windowed(clips: np.ndarray) -> np.ndarray:
    """Gaussian means wherever the window lies inside: [..., height - 10, width - 10, channels]."""
    offset = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weight = np.exp(-0.5 * (offset / _SSIM_STD) ** 2)
    weight /= weight.sum()
    for axis in (2, 3):
        clips = np.lib.stride_tricks.sliding_window_view(clips, SSIM_WINDOW, axis=axis) @ weight
    return clips


def check_pair(generated: np.ndarray, truth: np.ndarray) -> None:
    """Raise unless both are clips of one shape."""
    generated, truth = check_array("generated", generated), check_array("truth", truth)
    if generated.shape != truth.shape or generated.ndim != 5 or 0 in generated.shape:
        raise ValueError(
            "`generated`, `truth`: expected one shape [batch, frames, height, width, channels]. "
            f"Received: {list(generated.shape)} and {list(truth.shape)}"
        )


def blend_known(clip: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The baseline of any task: between two known frames their cross-fade, beyond the outermost that frame over again.

    Args:
        clip: [batch, frames, height, width, channels]; unknown frames may hold anything.
        known: bool [frames], at least one of them.

    Returns:
        float, of `clip`'s shape; known frames as they are.
    """
    at, index = np.flatnonzero(known), np.arange(clip.shape[1])
    if known.shape != index.shape or not len(at):
        raise ValueError(f"`known`: expected booleans [{clip.shape[1]}], at least one True. Received: {known}")
    after = np.clip(np.searchsorted(at, index), 0, len(at) - 1)
    before = np.clip(np.searchsorted(at, index, side="right") - 1, 0, len(at) - 1)
    gap = np.maximum(at[after] - at[before], 1)
    weight = ((index - at[before]) / gap * (at[after] > at[before])).astype(clip.dtype)[:, None, None, None]
    return (1 - weight) * clip[:, at[before]] + weight * clip[:, at[after]]
