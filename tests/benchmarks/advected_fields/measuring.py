"""Forecasts beside the exact law: the numbers of the study, from any sampler."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvdiff.evaluation.ensembles import crps, rank_histogram, spread_skill
from kvdiff.evaluation.spectra import power_spectrum
from tests.benchmarks.advected_fields.law import AdvectedFields

__all__ = ["deterministic_scores", "ensemble_scores", "rank_p_value"]


def ensemble_scores(law: AdvectedFields, ensemble: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Of an ensemble [members, cases, frames to come, size, size, 1] and what came [cases, …].

    Ratios are of what the exact law has: 1 is best.
    """
    spread, error = spread_skill(ensemble, truth)
    counts = one_rank_a_case(ensemble, truth)
    return {
        "crps": float(crps(ensemble, truth).mean()),
        "crps_ratio": float(crps(ensemble, truth).mean() / law.exact_crps.mean()),
        "spread_skill": spread / error,
        "rank_p": rank_p_value(counts),
        "ranks": counts.tolist(),
        "rmse_of_mean": error,
        "rmse_of_member": float(np.sqrt(np.square(ensemble - truth).mean())),
        "spectrum_ratio": spectrum_ratio(law, ensemble),
    }


def deterministic_scores(law: AdvectedFields, forecast: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Of one forecast a case [cases, …]; its CRPS is its absolute error."""
    return {
        "crps": float(np.abs(forecast - truth).mean()),
        "crps_ratio": float(np.abs(forecast - truth).mean() / law.exact_crps.mean()),
        "rmse": float(np.sqrt(np.square(forecast - truth).mean())),
        "spectrum_ratio": spectrum_ratio(law, forecast),
    }


def one_rank_a_case(ensemble: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The rank histogram of one pixel of each case, drawn at random: neighbours are no independent evidence."""
    cases = np.arange(len(truth))
    pixel = np.random.default_rng(0).integers(truth[0].size, size=len(truth))
    chosen = truth.reshape(len(truth), -1)[cases, pixel]
    return rank_histogram(ensemble.reshape(len(ensemble), len(truth), -1)[:, cases, pixel], chosen)


def rank_p_value(counts: np.ndarray) -> float:
    """Of the chi-squared test that ranks are equally likely."""
    from scipy.stats import chisquare

    return float(chisquare(counts).pvalue)


def spectrum_ratio(law: AdvectedFields, fields: np.ndarray) -> list[float]:
    """Mean power at each wavenumber from 1 over the law's, which is that of every frame: stationary."""
    power = power_spectrum(fields[..., 0]).reshape(-1, law.size // 2).mean(axis=0)
    factor = np.linalg.cholesky(law.clips.covariance[: law.size**2, : law.size**2])
    columns = factor.T.reshape(-1, law.size, law.size)  # Their spectra add up to the expected one.
    return (power / power_spectrum(columns).sum(axis=0))[1:].tolist()
