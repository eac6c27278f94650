"""A model's ensemble forecasts under a protocol, beside forecasts that need no model."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_kind
from kvdiff.diffusion.sampling.sampler import Sampler, check_sampler
from kvdiff.evaluation.forecast_cases import ForecastCases
from kvdiff.evaluation.forecast_protocols import ForecastProtocol
from kvdiff.evaluation.forecast_scores import ForecastScores
from kvdiff.evaluation.nowcasting import BASELINES, installed_baselines

_SHOWN = 3  # Cases on the page.


@dataclasses.dataclass(frozen=True, eq=False)
class ForecastEvaluation:
    """Numbers, and the forecasts to look at.

    Attributes:
        tasks: by who forecasts, "model" first: `{"numbers", "curves"}`; JSON-able.
        seconds: by who forecasts.
        shown: by who forecasts, the first cases' [members, cases, future, height, width, channels].
        missing_packages: whether pysteps or OpenCV is not installed, and its baselines left out.
    """

    tasks: dict[str, dict[str, Any]]
    seconds: dict[str, float]
    shown: dict[str, np.ndarray]
    missing_packages: bool


def evaluate_forecasts(
    sampler: Sampler,
    protocol: ForecastProtocol,
    cases: ForecastCases,
    *,
    baselines: Sequence[str] | None = None,
    seed: int = 0,
    batch_size: int = 32,
    progress: Callable[[str, int, int], None] | None = None,
    **sampling: Any,
) -> ForecastEvaluation:
    """Forecast every case of the protocol, and score.

    Member m of case i has the noise of sample i, member m, so figures do not depend on `batch_size` but for rounding.

    Args:
        sampler: a sampler of any runtime.
        protocol, cases: which protocol, and its cases, in the numbers of the sampler's values.
        baselines: names in `kvdiff.evaluation.nowcasting.BASELINES`; by default those that are installed.
        seed, batch_size, **sampling: as in `Sampler.infill`. A model of fewer frames than the protocol's goes by the
            plan "autoregressive" where neither `plan` nor `at_a_time` says otherwise.
        progress: called as `progress(name, done, total)`.
    """
    check_sampler("sampler", sampler)
    check_kind("protocol", protocol, ForecastProtocol)
    check_kind("cases", cases, ForecastCases)
    frame_shape = sampler.spec.clip.frame_shape
    if cases.clips.shape[1:] != (protocol.past + protocol.future, *frame_shape):
        wanted = [protocol.past + protocol.future, *frame_shape]
        raise ValueError(f"`cases`: expected clips of {wanted}. Received: {list(cases.clips.shape[1:])}")
    installed = installed_baselines(frame_shape)
    names = installed if baselines is None else [check_choice("baselines", name, BASELINES) for name in baselines]
    if sampler.spec.clip.num_frames < protocol.past + protocol.future and not {"plan", "at_a_time"} & set(sampling):
        sampling["plan"] = "autoregressive"
    report = progress or (lambda *_: None)

    def by_model(past: np.ndarray, start: int) -> np.ndarray:
        def done(count: int, total: int) -> None:
            report("model", total * start + count * len(past), total * len(cases.clips))

        how = {"seed": seed, "batch_size": batch_size, **sampling, "progress": done}
        return sampler.predict_frames(past, protocol.future, num_members=protocol.members, first_sample=start, **how)

    forecasters: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"model": by_model}
    for name in names:
        forecasters[name] = lambda past, start, name=name: BASELINES[name](  # type: ignore[misc]
            past, protocol.future, protocol.members, seed + start
        )
    run = _Run(protocol, cases, max(batch_size // protocol.members, 1))
    for name, forecast in forecasters.items():
        run.score(name, forecast)
    missing = baselines is None and "extrapolation" not in names
    return ForecastEvaluation(run.tasks, run.seconds, run.shown, missing)


@dataclasses.dataclass(eq=False)
class _Run:
    """One evaluation under way: what forecasters share, and what they leave."""

    protocol: ForecastProtocol
    cases: ForecastCases
    at_a_time: int
    tasks: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    shown: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def score(self, name: str, forecast: Callable[[np.ndarray, int], np.ndarray]) -> None:
        """Forecast and score some cases at a time: an ensemble of all of them may not fit into memory."""
        clips, past, started = self.cases.clips, self.protocol.past, time.perf_counter()
        lowest = np.nanmin(clips)
        scores, shown = None, []
        for start in range(0, len(clips), self.at_a_time):
            some = clips[start : start + self.at_a_time]
            ensemble = forecast(some[:, :past], start)
            if scores is None:
                scores = ForecastScores(self.protocol, len(ensemble), clips.shape[2:])
            # Where neither says anything, as out of a radar's reach, any number does: the truth is left out.
            neither = np.isnan(ensemble) & np.isnan(some[:, past:])
            scores.add(np.where(neither, lowest, ensemble), some[:, past:], start + np.arange(len(some)))
            if start < _SHOWN:
                shown.append(ensemble[:, : _SHOWN - start])
        assert scores is not None
        self.tasks[name] = {"numbers": scores.numbers, "curves": scores.curves}
        self.seconds[name] = round(time.perf_counter() - started, 1)
        self.shown[name] = np.concatenate(shown, axis=1)
