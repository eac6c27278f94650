"""Scores of an ensemble of fields: CRPS, spread and skill, rank histogram, reliability. Missing pixels are left out.

An ensemble is [members, …], the truth […], NaN where a pixel is missing. The definitions are those of the libraries
`scores` and `xskillscore`, with which the tests compare them.
"""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion.checks import check_array


def crps(ensemble: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The fair continuous ranked probability score of each number; smaller is better, and its unit is the field's.

    mean |x_i - y| - sum_ij |x_i - x_j| / (2 M (M - 1)): what an ensemble of infinitely many members would score, on
    average, so ensembles of unlike size compare (Ferro 2014, "Fair scores for ensemble forecasts"). Of one member it
    is the absolute error.

    Args:
        ensemble: float [members, …].
        truth: float […]; NaN where missing.

    Returns:
        float64 […]; NaN where the truth is missing.
    """
    ensemble, truth = _pair(ensemble, truth)
    error = np.abs(ensemble - truth).mean(axis=0)
    count = len(ensemble)
    if count == 1:
        return error
    weight = 2.0 * np.arange(count) - count + 1.0  # sum_i<j (x_j - x_i) of sorted members, one pass.
    apart = np.tensordot(weight, np.sort(ensemble, axis=0), axes=1)
    return error - apart / (count * (count - 1))


def spread_skill(ensemble: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """(spread, error of the mean) over all numbers that are there; a calibrated ensemble has both alike.

    The spread is sqrt((M + 1) / M mean variance), with the factor for M members that makes it comparable with the root
    mean square error of their mean (Fortin et al. 2014, "Why should ensemble spread match the RMSE of the ensemble
    mean?", eq. 15).

    Args:
        ensemble: float [members, …], at least 2 members.
        truth: float […]; NaN where missing.
    """
    ensemble, truth = _pair(ensemble, truth)
    count = len(ensemble)
    if count < 2:
        raise ValueError(f"`ensemble`: expected at least 2 members. Received: {count}")
    there = ~np.isnan(truth)
    variance = ensemble.var(axis=0, ddof=1)[there].mean()
    error = np.square(ensemble.mean(axis=0) - truth)[there].mean()
    return float(np.sqrt((count + 1) / count * variance)), float(np.sqrt(error))


def ranks(ensemble: np.ndarray, truth: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """How many members lie below the truth, where equal ones are put below or above it at random.

    Args:
        ensemble: float [members, …].
        truth: float […]; NaN where missing.
        uniform: float […], numbers in [0, 1) that decide ties.

    Returns:
        int64 of the numbers that are there, flat: 0 … members.
    """
    ensemble, truth = _pair(ensemble, truth)
    there = ~np.isnan(truth)
    below, equal = (ensemble < truth).sum(axis=0)[there], (ensemble == truth).sum(axis=0)[there]
    return below + np.minimum(np.floor(np.asarray(uniform)[there] * (equal + 1)), equal).astype(np.int64)


def rank_histogram(ensemble: np.ndarray, truth: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """How often the truth has which rank among the members: flat where it could be one of them.

    U-shaped, the members are too alike; a hill, they differ too much; a slope, they are biased (Hamill 2001,
    "Interpretation of rank histograms"). Ties are broken at random: fields with many zeros have many.

    Args:
        ensemble: float [members, …].
        truth: float […]; NaN where missing.
        seed: of the ties.

    Returns:
        int64 [members + 1].
    """
    uniform = np.random.default_rng(seed).random(np.shape(truth))
    return np.bincount(ranks(ensemble, truth, uniform), minlength=len(ensemble) + 1)


def reliability(ensemble: np.ndarray, truth: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """How often an event happens where k of M members have it: reliable, it is k / M of the time.

    Args:
        ensemble: float [members, …].
        truth: float […]; NaN where missing.
        threshold: the event is a number that is at least as large.

    Returns:
        (how often k members had the event, how often it happened then), both int64 [members + 1].
    """
    ensemble, truth = _pair(ensemble, truth)
    there = ~np.isnan(truth)
    members, happened = (ensemble >= threshold).sum(axis=0)[there], (truth >= threshold)[there]
    bins = len(ensemble) + 1
    return np.bincount(members, minlength=bins), np.bincount(members[happened], minlength=bins)


def _pair(ensemble: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64; raises unless the ensemble has an axis for members before those of the truth."""
    ensemble, truth = check_array("ensemble", ensemble), check_array("truth", truth)
    if ensemble.shape[1:] != truth.shape or not ensemble.size:
        wanted = ", ".join(map(str, ("members", *truth.shape)))
        raise ValueError(f"`ensemble`: expected shape [{wanted}]. Received: {list(ensemble.shape)}")
    ensemble = ensemble.astype(np.float64)
    if np.isnan(ensemble).any():
        raise ValueError("`ensemble`: expected no NaN; only the truth may miss pixels. Received: NaN")
    return ensemble, truth.astype(np.float64)
