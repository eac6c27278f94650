"""Scores of events, numbers of at least a threshold: CSI, POD, FAR, pooled or not, and the fractions skill score.

Fields are [..., height, width]; NaN of the truth are missing pixels and left out. The definitions are those of the
libraries `scores` and `pysteps`, with which the tests compare them.
"""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion.checks import check_array, check_count


def contingency(forecast: np.ndarray, truth: np.ndarray, threshold: float) -> np.ndarray:
    """int64 (hits, misses, false alarms) over all numbers that are there; shapes broadcast."""
    forecast, truth = check_array("forecast", forecast), check_array("truth", truth)
    there, said, happened = ~np.isnan(truth), forecast >= threshold, truth >= threshold
    return np.array([(said & happened).sum(), (~said & happened).sum(), (said & ~happened & there).sum()])


def csi(counts: np.ndarray) -> float:
    """The critical success index, hits / (hits + misses + false alarms), of `contingency`; NaN where nothing was."""
    return _share(counts[0], counts.sum())


def pod(counts: np.ndarray) -> float:
    """The probability of detection, hits / (hits + misses); NaN where no event happened."""
    return _share(counts[0], counts[0] + counts[1])


def far(counts: np.ndarray) -> float:
    """The false alarm ratio, false alarms / (hits + false alarms); NaN where none was forecast."""
    return _share(counts[2], counts[0] + counts[2])


def pooled(fields: np.ndarray, size: int) -> np.ndarray:
    """The largest number of every block of `size` × `size` pixels that is whole: [..., height // size, width // size].

    An event that is forecast near enough is then a hit. Missing pixels of a block are left out; a block of nothing but
    missing pixels is missing.
    """
    check_count("size", size, at_most=min(fields.shape[-2:]))
    height, width = (length // size for length in fields.shape[-2:])
    blocks = fields[..., : height * size, : width * size].reshape(*fields.shape[:-2], height, size, width, size)
    return np.fmax.reduce(np.fmax.reduce(blocks, axis=-1), axis=-2)


def fractions(events: np.ndarray, there: np.ndarray, size: int) -> np.ndarray:
    """The share of events among the pixels that are there, in every window of `size` × `size` inside the field.

    Args:
        events: bool or float [..., height, width]; of an ensemble, its probabilities.
        there: bool, which pixels count.
        size: of the window.

    Returns:
        float64 [..., height - size + 1, width - size + 1]; NaN where none counts.
    """
    check_count("size", size, at_most=min(events.shape[-2:]))
    counted = _window_sums(there.astype(np.float64), size)
    found = _window_sums(np.where(there, events, 0.0), size)
    return np.divide(found, counted, out=np.full(counted.shape, np.nan), where=counted > 0)


def fractions_skill_score(ensemble: np.ndarray, truth: np.ndarray, threshold: float, size: int) -> np.ndarray:
    """The three sums of the fractions skill score, over windows: (forecast², truth², forecast · truth), float64 [3].

    Its value is `fss` of sums that may be added up over many fields (Roberts & Lean 2008). An ensemble's fraction is
    the mean of its members' (Schwartz et al. 2010).

    Args:
        ensemble: float [members, ..., height, width].
        truth: float [..., height, width]; NaN where missing.
        threshold: the event is a number that is at least as large.
        size: of the window, in pixels.
    """
    there = ~np.isnan(truth)
    forecast = fractions((np.asarray(ensemble) >= threshold).mean(axis=0), there, size)
    happened = fractions(truth >= threshold, there, size)
    return np.array([np.nansum(forecast**2), np.nansum(happened**2), np.nansum(forecast * happened)])


def fss(sums: np.ndarray) -> float:
    """The fractions skill score of the sums: 1 is perfect, 0 shares nothing; NaN where no event was or was forecast."""
    return 2.0 * _share(sums[2], sums[0] + sums[1])


def _window_sums(fields: np.ndarray, size: int) -> np.ndarray:
    """Sums over windows inside the field, from cumulative ones."""
    for axis in (-2, -1):
        total = np.cumsum(fields, axis=axis)
        total = np.concatenate([np.zeros_like(np.take(total, [0], axis=axis)), total], axis=axis)
        upper = np.take(total, np.arange(size, total.shape[axis]), axis=axis)
        fields = upper - np.take(total, np.arange(total.shape[axis] - size), axis=axis)
    return fields


def _share(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole > 0 else float("nan")
