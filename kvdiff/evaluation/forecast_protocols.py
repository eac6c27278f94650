"""Frozen protocols of ensemble forecasts, in the data's own numbers; see `protocols` for those of videos."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from kvdiff.diffusion.checks import check_count, check_real
from kvdiff.evaluation.protocols import digest


@dataclasses.dataclass(frozen=True)
class ForecastProtocol:
    """A way to verify ensemble forecasts of fields in their own numbers, complete.

    Attributes:
        name, version: of the protocol; its title is `name@version`.
        past, future: frames that are known and that are forecast.
        members: of the ensemble.
        num_cases: windows of past + future frames, one after the other, evenly spread over the data.
        thresholds: an event is a number at least as large; in the data's unit.
        pools: sides in pixels of the blocks whose largest number CSI, POD and FAR are of; 1 is every pixel.
        windows: sides of the windows of the fractions skill score.
        follows: whose choices these are.

    CRPS is the fair one. Missing pixels of the truth are left out and counted; windows whose past misses some are not
    taken, but for those that are missing in all of their frames. Nothing is rounded. Blocks and windows larger than a
    frame are left out, and so are the spectra of fields that miss a pixel, but one that is missing at every lead time
    counts there as the smallest number of its case, in forecast and truth.
    """

    name: str
    version: int
    past: int
    future: int
    members: int
    num_cases: int
    thresholds: tuple[float, ...]
    pools: tuple[int, ...]
    windows: tuple[int, ...]
    follows: str

    @property
    def title(self) -> str:
        """`name@version`, and what is not the protocol's own."""
        title = f"{self.name}@{self.version}"
        frozen = FORECASTS.get(title)
        if frozen in (None, self):
            return title
        thresholds = ", ".join(f"{threshold:g}" for threshold in self.thresholds)
        return f"{title} (changed: {self.num_cases} cases, thresholds {thresholds})"

    @property
    def config(self) -> dict[str, Any]:
        """Every choice, JSON-able."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    @property
    def sha256(self) -> str:
        """Of every choice: equal for equal protocols alone."""
        return digest(self.config)

    def changed(self, num_cases: int | None = None, thresholds: Sequence[float] | None = None) -> ForecastProtocol:
        """The same with other cases or thresholds, for data of another unit; results compare with their like alone."""
        cases = self.num_cases if num_cases is None else check_count("num_clips", num_cases)
        levels = self.thresholds if thresholds is None else tuple(check_real("threshold", t) for t in thresholds)
        return dataclasses.replace(self, num_cases=cases, thresholds=levels)


_NOWCAST = ForecastProtocol(
    name="nowcast-6-6",
    version=1,
    past=6,
    future=6,
    members=20,
    num_cases=64,
    thresholds=(0.5, 2.0, 5.0, 10.0, 30.0),
    pools=(1, 4, 16),
    windows=(1, 5, 17),
    follows="thresholds in mm/h as in HKO-7 (Shi et al. 2017, arXiv:1706.03458), pooled scores as in DGMR (Ravuri et "
    "al. 2021), which pools in overlapping blocks",
)

FORECASTS = {f"{_NOWCAST.name}@{_NOWCAST.version}": _NOWCAST}
"""The frozen protocols of forecasts by title."""
