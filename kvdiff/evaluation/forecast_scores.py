"""The scores of many forecasts, added up a few cases at a time: by lead time, and over all."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from kvdiff.evaluation import events
from kvdiff.evaluation.ensembles import crps, ranks, reliability
from kvdiff.evaluation.forecast_protocols import ForecastProtocol
from kvdiff.evaluation.spectra import power_spectrum


@dataclasses.dataclass(eq=False)
class ForecastScores:
    """Sums over cases and pixels, an entry a lead time; missing pixels of the truth are left out and counted.

    Args:
        protocol: which thresholds, blocks and windows.
        members: of the forecasts.
        frame_shape: (height, width, channels). Channels count as further pixels.
    """

    protocol: ForecastProtocol
    members: int
    frame_shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        leads, thresholds = self.protocol.future, self.protocol.thresholds
        self.pools, self.windows = (
            [size for size in sizes if size <= min(self.frame_shape[:2])]
            for sizes in (self.protocol.pools, self.protocol.windows)
        )
        rings = (max(self.frame_shape[:2]) + 1) // 2
        self.sums = {
            name: np.zeros(leads) for name in ("there", "missing", "crps", "error", "member_error", "variance", "whole")
        }
        self.ranks = np.zeros(self.members + 1, np.int64)
        self.counts = np.zeros((len(thresholds), len(self.pools), leads, 3), np.int64)
        self.fractions = np.zeros((len(thresholds), len(self.windows), leads, 3))
        self.reliability = np.zeros((len(thresholds), 2, self.members + 1), np.int64)
        self.spectra = np.zeros((2, leads, rings))

    def add(self, ensemble: np.ndarray, truth: np.ndarray, cases: np.ndarray) -> None:
        """Count the forecasts [members, cases, leads, height, width, channels] of these cases, by their numbers."""
        # What the truth misses throughout, as out of a radar's reach, counts in a spectrum as its smallest number.
        away = np.moveaxis(np.isnan(truth).all(axis=1), -1, 1)
        floor = np.nan_to_num(np.fmin.reduce(truth, axis=(1, 2, 3)))[..., None, None]
        for lead in range(self.protocol.future):
            # Channels beside cases, so that fields are the last two axes.
            forecast, field = np.moveaxis(ensemble[:, :, lead], -1, 2), np.moveaxis(truth[:, lead], -1, 1)
            self._add_numbers(lead, forecast, field, cases)
            for number, threshold in enumerate(self.protocol.thresholds):
                self.reliability[number] += reliability(forecast, field, threshold)
                for place, size in enumerate(self.pools):
                    pair = events.pooled(forecast, size), events.pooled(field, size)
                    self.counts[number, place, lead] += events.contingency(*pair, threshold)
                for place, size in enumerate(self.windows):
                    sums = events.fractions_skill_score(forecast, field, threshold, size)
                    self.fractions[number, place, lead] += sums
            whole = ~(np.isnan(field) & ~away).any(axis=(-1, -2))
            self.sums["whole"][lead] += whole.sum()
            if whole.any():
                said, happened = np.where(away, floor, forecast)[:, whole], np.where(away, floor, field)[whole]
                self.spectra[0, lead] += power_spectrum(said).mean(axis=0).sum(axis=0)
                self.spectra[1, lead] += power_spectrum(happened).sum(axis=0)

    def _add_numbers(self, lead: int, forecast: np.ndarray, field: np.ndarray, cases: np.ndarray) -> None:
        """What is a mean over pixels, and the ranks."""
        there = ~np.isnan(field)
        added = {
            "there": there.sum(),
            "missing": (~there).sum(),
            "crps": np.nansum(crps(forecast, field)),
            "error": np.nansum(np.square(forecast.mean(axis=0, dtype=np.float64) - field)),
            "member_error": np.nansum(np.square(forecast - field).mean(axis=0, dtype=np.float64)),
        }
        if self.members > 1:
            added["variance"] = forecast.var(axis=0, ddof=1, dtype=np.float64)[there].sum()
            ties = [np.random.default_rng((lead, int(case))).random(field.shape[1:]) for case in cases]
            self.ranks += np.bincount(ranks(forecast, field, np.stack(ties)), minlength=self.members + 1)
        for name, value in added.items():
            self.sums[name][lead] += value

    @property
    def numbers(self) -> dict[str, float]:
        """Over all lead times; a number that has no meaning, such as the spread of one forecast, is left out."""
        there, total = self.sums["there"].sum(), {name: sums.sum() for name, sums in self.sums.items()}
        numbers = {"missing_share": total["missing"] / max(there + total["missing"], 1.0)}
        numbers |= {"crps": total["crps"] / there, "rmse": math.sqrt(total["error"] / there)}
        if self.members > 1:
            numbers["rmse_member"] = math.sqrt(total["member_error"] / there)
            numbers["spread_skill"] = self._spread(total["variance"], there) / numbers["rmse"]
            share = self.ranks / self.ranks.sum()
            numbers["rank_deviation"] = np.abs(share - 1.0 / len(share)).sum()
        for name, score in (("csi", events.csi), ("pod", events.pod), ("far", events.far)):
            numbers[name] = np.mean([score(counts) for counts in self.counts[:, 0].sum(axis=1)])
        if len(self.pools) > 1:
            numbers["csi_pooled"] = np.mean([events.csi(counts) for counts in self.counts[:, -1].sum(axis=1)])
        if len(self.windows):
            numbers["fss"] = np.mean([events.fss(sums) for sums in self.fractions[:, -1].sum(axis=1)])
        if self.sums["whole"].any():
            numbers["spectrum_error"] = np.abs(10.0 * np.log10(_ratio(self.spectra.sum(axis=1)))).mean()
        return {name: float(value) for name, value in numbers.items() if not math.isnan(value)}

    @property
    def curves(self) -> dict[str, Any]:
        """By lead time, threshold or wavenumber; JSON-able, None where a number has no meaning."""
        there = np.maximum(self.sums["there"], 1)
        curves: dict[str, Any] = {
            "crps": self.sums["crps"] / there,
            "rmse": np.sqrt(self.sums["error"] / there),
            "missing": self.sums["missing"],
            "spectrum": (self.spectra[0] / np.maximum(self.sums["whole"], 1)[:, None]).mean(axis=0),
            "spectrum_truth": (self.spectra[1] / np.maximum(self.sums["whole"], 1)[:, None]).mean(axis=0),
        }
        if self.members > 1:
            curves["spread"] = self._spread(self.sums["variance"], there)
            curves["rank_histogram"] = self.ranks
            curves["reliability"] = {
                f"{threshold:g}": {"forecast": said, "happened": happened}
                for threshold, (said, happened) in zip(self.protocol.thresholds, self.reliability, strict=True)
            }
        for name, score in (("csi", events.csi), ("pod", events.pod), ("far", events.far)):
            curves[name] = self._by_threshold(self.pools, self.counts, score, "blocks of")
        curves["fss"] = self._by_threshold(self.windows, self.fractions, events.fss, "windows of")
        return _plain(curves)

    def _by_threshold(self, sizes: list[int], counts: np.ndarray, score: Any, what: str) -> dict[str, list[float]]:
        """A score by lead time, for every threshold and size."""
        return {
            f"{threshold:g}, {what} {size}": [score(entry) for entry in counts[number, place]]
            for number, threshold in enumerate(self.protocol.thresholds)
            for place, size in enumerate(sizes)
        }

    def _spread(self, variance: Any, there: Any) -> Any:
        """With the factor for this number of members, as `spread_skill`."""
        return np.sqrt((self.members + 1) / self.members * variance / there)


def _ratio(spectra: np.ndarray) -> np.ndarray:
    """Forecast over truth at every wavenumber but 0, where both have power."""
    forecast, truth = spectra[:, 1:]
    both = (forecast > 0) & (truth > 0)
    return forecast[both] / truth[both]


def _plain(value: Any) -> Any:
    """Arrays as lists, and what is no number as None."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, np.ndarray)):
        return [_plain(entry) for entry in value]
    number = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(number, float) and not math.isfinite(number) else number
