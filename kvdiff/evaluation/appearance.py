"""Measures that see appearance, which PSNR does not: it prefers a blur to a sharp digit half a pixel off.

What is left of the error once a frame may move a little, how sharp frames are, and whether they still show the same
thing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kvdiff.data.moving_digits import bicubic
from kvdiff.evaluation.quality import check_pair, decibels, floats

REACH, STEP = 2.5, 0.25
"""Of `aligned_psnr`: how far a frame may move, and how finely, in pixels."""

Classifier = Callable[[np.ndarray], np.ndarray]
"""From uint8 frames [frames, height, width, channels] to their labels, int [frames]."""

_TIE = 1e-10  # Of squared error for a squared pixel: where nothing else decides, a frame stays where it is.


def aligned_psnr(
    generated: np.ndarray, truth: np.ndarray, *, reach: float = REACH, step: float = STEP
) -> tuple[np.ndarray, np.ndarray]:
    """PSNR of each frame after the shift that fits it best to the truth, and that shift.

    Every shift of a grid is tried, down and across from -`reach` to `reach`. A frame between pixels is interpolated
    bicubically (Keys 1981, a = -1/2), beyond its edges repeated.

    Args:
        generated, truth: [batch, frames, height, width, channels] in [-1, 1] or uint8, of one shape.
        reach, step: of the grid, in pixels; `step` divides `reach`.

    Returns:
        PSNR in dB, float64 [batch, frames], and how far the frames of `generated` were moved (down, right), float64
        [batch, frames, 2].
    """
    check_pair(generated, truth)
    batch, frames, height, width, _ = generated.shape
    shifts = step * np.arange(-round(reach / step), round(reach / step) + 1)
    down, across = _moves(shifts, height), _moves(shifts, width)
    # |A X B' - Y|² for all A of `down` and B of `across`: with M = A X it is <B'B, M'M> - 2 <B, Y'M> + |Y|².
    squares, flat = (np.swapaxes(across, 1, 2) @ across).reshape(len(shifts), -1), across.reshape(len(shifts), -1)
    still = _TIE * np.add.outer(shifts**2, shifts**2)
    error, shift = np.empty((batch, frames)), np.empty((batch, frames, 2))
    for place in np.ndindex(batch, frames):
        x, y = (np.swapaxes(floats(clip[place]), 1, 2) for clip in (generated, truth))  # [height, channels, width].
        moved = (down @ x.reshape(height, -1)).reshape(len(shifts), -1, width)
        gram, cross = np.swapaxes(moved, 1, 2) @ moved, y.reshape(-1, width).T @ moved
        errors = gram.reshape(len(shifts), -1) @ squares.T - 2.0 * cross.reshape(len(shifts), -1) @ flat.T
        errors = (errors + np.square(y).sum()) / y.size
        best = np.unravel_index(np.argmin(errors + still), errors.shape)
        error[place], shift[place] = errors[best], shifts[list(best)]
    return decibels(error), shift


def _moves(shifts: np.ndarray, size: int) -> np.ndarray:
    """Matrices that move a column of `size` pixels by each shift: [shifts, size, size]."""
    reach = int(np.ceil(np.abs(shifts).max())) + 2
    source = np.arange(-reach, size + reach)  # Beyond the edges too.
    weight = bicubic(np.arange(size)[:, None] - source - shifts[:, None, None])
    moves = np.zeros((len(shifts), size, size))
    for column, pixel in enumerate(np.clip(source, 0, size - 1)):
        moves[:, :, pixel] += weight[:, :, column]
    return moves


def gradient_energy(clips: np.ndarray) -> np.ndarray:
    """How sharp each frame is: the mean square of the difference of neighbouring pixels, down plus across.

    Args:
        clips: [batch, frames, height, width, channels] in [-1, 1] or uint8.

    Returns:
        float64 [batch, frames].
    """
    values = floats(clips)
    return sum(np.square(np.diff(values, axis=axis)).mean(axis=(2, 3, 4)) for axis in (2, 3))


def sharpness_ratio(generated: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The gradient energy of generated clips over the true ones', both means over clips: float64 [frames].

    1 is right; below it frames are blurred, above it they are noisy or too contrasted.
    """
    ours, real = (gradient_energy(clips).mean(axis=0) for clips in (generated, truth))
    return ours / np.maximum(real, 1e-12)


def identity(clips: np.ndarray, labels: np.ndarray, classifier: Classifier) -> np.ndarray:
    """Whether each frame still shows what its clip's label says: bool [clips, frames].

    Args:
        clips: uint8 [clips, frames, height, width, channels].
        labels: int [clips].
        classifier: of frames.
    """
    found = np.asarray(classifier(clips.reshape(-1, *clips.shape[2:])))
    return found.reshape(clips.shape[:2]) == np.asarray(labels)[:, None]
