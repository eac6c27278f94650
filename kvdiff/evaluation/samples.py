"""Spread and steadiness: do samples differ as much as the data do, and do they flicker?"""

from __future__ import annotations

import numpy as np


def spread(clips: np.ndarray) -> float:
    """How much clips differ, in pixel values: the root of the mean over pixels of their variance over axis 0.

    Args:
        clips: float [clips, …], at least 2 of them; 0 where all are alike.
    """
    return float(np.sqrt(_variance(clips[None]).mean()))


def ensemble(samples: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two sides of the equation that a calibrated model's samples satisfy on average over conditions.

    A condition's true clip is one draw from the data's distribution. Where the model's is the same, the truth lies as
    far from the mean of K samples as another sample would: E (truth - mean)² = (1 + 1/K) variance (Fortin et al. 2014,
    "Why should ensemble spread match the RMSE of the ensemble mean?", eq. 15).

    Args:
        samples: float [conditions, samples, …], at least 2 samples.
        truth: float [conditions, …].

    Returns:
        (1 + 1/K) variance, and the squared error of the samples' mean, both float64 [conditions], means over pixels.
    """
    pixels = tuple(range(1, truth.ndim))
    expected = (1.0 + 1.0 / samples.shape[1]) * _variance(samples).mean(axis=pixels)
    error = np.square(np.asarray(truth, np.float64) - samples.mean(axis=1, dtype=np.float64)).mean(axis=pixels)
    return expected, error


def calibration(expected: np.ndarray, error: np.ndarray) -> float:
    """The spread of a condition's samples against the data's, from `ensemble` of all conditions.

    1 where they match, 0 for a collapsed model whose samples are all the same; between, samples are too alike, or wrong
    in the same way.
    """
    return float(np.sqrt(np.sum(expected) / max(np.sum(error), np.finfo(float).tiny)))


def flicker(clips: np.ndarray) -> float:
    """The mean of |x[t - 1] - 2 x[t] + x[t + 1]|: what a steady motion has little of and a flicker much.

    Args:
        clips: float [clips, frames, …], at least 3 frames.
    """
    if clips.shape[1] < 3:
        raise ValueError(f"`clips`: expected at least 3 frames. Received: {clips.shape[1]}")
    return float(np.abs(np.diff(np.asarray(clips, np.float64), n=2, axis=1)).mean())


def best_of(per_frame: np.ndarray) -> np.ndarray:
    """Of each clip's samples the best one's scores: [clips, samples, frames] to [clips, frames].

    The best by its mean over frames: choosing anew for every frame would put together a clip that was never sampled.
    """
    best = per_frame.mean(axis=2).argmax(axis=1)
    return per_frame[np.arange(len(per_frame)), best]


def _variance(samples: np.ndarray) -> np.ndarray:
    """Unbiased, over axis 1 of [conditions, samples, …]."""
    if samples.shape[1] < 2:
        raise ValueError(f"`samples`: expected at least 2. Received: {samples.shape[1]}")
    return np.var(np.asarray(samples, np.float64), axis=1, ddof=1)
