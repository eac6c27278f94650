"""The page of a forecast evaluation: maps, the ensemble's spread, spectra, ranks, and scores by lead time."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kvdiff.evaluation.charts import DARK, LIGHT, Line, line_chart
from kvdiff.evaluation.field_charts import field_maps, rank_chart
from kvdiff.evaluation.forecast_cases import ForecastCases
from kvdiff.evaluation.forecasting import ForecastEvaluation
from kvdiff.evaluation.page import escaped, figure, page, table, themed_picture
from kvdiff.evaluation.report import making
from kvdiff.evaluation.result import NUMBERS, flat_numbers
from kvdiff.media import write_bytes

NO_PYSTEPS = (
    "pysteps and OpenCV are not installed, so its extrapolation is not among the baselines: "
    'pip install "keras-video-diffusion[verification]"'
)
_LEAD, _WAVENUMBER = "frames ahead", "wavenumber (waves a frame)"


def write_forecast_report(
    directory: pathlib.Path, evaluation: ForecastEvaluation, cases: ForecastCases, result: Mapping[str, Any]
) -> None:
    """Write report.html, which holds everything, and its maps and curves as files of their own.

    Args:
        directory: a folder that exists.
        evaluation, cases: what was measured, and on what.
        result: of `result_of`.
    """
    report = _Report(evaluation, cases, result)
    html = report.page()
    for name, data in {**report.files, "report.html": html.encode()}.items():
        write_bytes(directory / name, data)


@dataclasses.dataclass(eq=False)
class _Report:
    """The page under way, and the pictures that it has so far, by file name."""

    evaluation: ForecastEvaluation
    cases: ForecastCases
    result: Mapping[str, Any]
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)

    def page(self) -> str:
        protocol = self.result["protocol"]
        title = f"Forecasts: {protocol['title']}"
        clips = self.cases.clips
        missing = np.isnan(clips[:, self.cases.past :]).mean()
        words = (
            f"{len(clips)} cases of {protocol['past']} known and {protocol['future']} forecast frames, "
            f"{clips.shape[2]} × {clips.shape[3]} pixels: {escaped(self.cases.source)}. {protocol['members']} members. "
            f"{missing:.2%} of the true pixels are missing and left out; {self.cases.left_out} windows were not taken "
            f"because their past misses some. The choices follow {escaped(protocol['follows'])}. Maps show the first "
            "cases; none were picked."
        )
        note = f"<p>{escaped(NO_PYSTEPS)}</p>" if self.evaluation.missing_packages else ""
        sections = [
            f"<h1>{escaped(title)}</h1><p>{words}</p>{note}",
            self._numbers(),
            self._curves(),
            self._maps(),
            self._events(),
            making(self.result),
        ]
        return page(title, sections)

    def _numbers(self) -> str:
        tasks = {name: flat_numbers(task) for name, task in self.result["tasks"].items()}
        rows = [
            (escaped(words), *(form.format(numbers[key]) if key in numbers else "—" for numbers in tasks.values()))
            for key, (words, form) in NUMBERS.items()
            if any(key in numbers for numbers in tasks.values())
        ]
        return f"<section><h2>Scores</h2>{table(('', *map(escaped, tasks)), rows)}</section>"

    def _curves(self) -> str:
        """Scores by lead time, the spread beside the error, spectra, ranks."""
        tasks, charts = self.result["tasks"], []
        leads = list(range(1, self.result["protocol"]["future"] + 1))
        for curve, label in (("crps", "Fair CRPS"), ("rmse", "RMSE of the mean")):
            lines = {name: (leads, task["curves"][curve]) for name, task in list(tasks.items())[:3]}
            charts.append(self._chart(curve, lines, (_LEAD, label), f"{label} by lead time"))
        model = tasks["model"]["curves"]
        pair: dict[str, Line] = {"spread": (leads, model["spread"]), "error of the mean": (leads, model["rmse"])}
        charts.append(
            self._chart("spread", pair, (_LEAD, "in the data's unit"), "Spread; calibrated, it is the mean's error")
        )
        waves = list(range(1, len(model["spectrum"])))
        lines = {"model": (waves, model["spectrum"][1:]), "truth": (waves, model["spectrum_truth"][1:])}
        other = next(name for name in reversed(tasks) if name != "steps")
        if other != "model":
            lines[other] = (waves, tasks[other]["curves"]["spectrum"][1:])
        charts.append(self._chart("spectrum", lines, (_WAVENUMBER, "power"), "Radially averaged spectrum", log=True))
        light, dark = (rank_chart(model["rank_histogram"], theme) for theme in (LIGHT, DARK))
        self.files |= {"ranks.png": light, "ranks_dark.png": dark}
        words = "Rank histogram; flat where the truth could be a member"
        charts.append(figure(themed_picture(light, dark, words), f"{words}."))
        return f'<section><h2>By lead time and scale</h2><div class="row">{"".join(charts)}</div></section>'

    def _maps(self) -> str:
        """Truth, members, mean and spread of the first cases at a few lead times."""
        shown, future = self.evaluation.shown, self.result["protocol"]["future"]
        leads = sorted({0, future // 2, future - 1})
        pictures = []
        for case in range(shown["model"].shape[1]):
            truth = self.cases.clips[case, self.cases.past :][leads][..., 0]
            ensemble = shown["model"][:, case][:, leads][..., 0]
            members = {f"member {number}": ensemble[number] for number in range(min(2, len(ensemble)))}
            rows = {"truth": truth, **members, "mean": ensemble.mean(axis=0), "spread": ensemble.std(axis=0, ddof=1)}
            if "extrapolation" in shown:
                rows["extrapolation"] = shown["extrapolation"][0, case][leads][..., 0]
            titles = [f"+{lead + 1}" for lead in leads]
            light, dark = (field_maps(rows, titles, "spread", theme) for theme in (LIGHT, DARK))
            self.files |= {f"case_{case}.png": light, f"case_{case}_dark.png": dark}
            pictures.append(figure(themed_picture(light, dark, f"Case {case + 1}"), f"Case {case + 1}."))
        return f'<section><h2>Maps</h2><div class="row">{"".join(pictures)}</div></section>'

    def _events(self) -> str:
        """CSI, POD, FAR and FSS, each a mean over lead times, by threshold and size."""
        curves = self.result["tasks"]["model"]["curves"]
        sections = []
        for name, words in (("csi", "CSI"), ("pod", "POD"), ("far", "FAR"), ("fss", "Fractions skill score")):
            rows = [
                (escaped(f"≥ {key}"), *("—" if value is None else f"{value:.3f}" for value in values))
                for key, values in curves[name].items()
            ]
            heads = ("", *(f"+{lead + 1}" for lead in range(self.result["protocol"]["future"])))
            sections.append(
                f"<details><summary>{words} of the model, by lead time</summary>{table(heads, rows)}</details>"
            )
        rows = [
            (
                escaped(f"≥ {threshold}"),
                f"{members / (len(bins['forecast']) - 1):.2f}",
                str(said),
                f"{happened / said:.3f}",
            )
            for threshold, bins in curves["reliability"].items()
            for members, (said, happened) in enumerate(zip(bins["forecast"], bins["happened"], strict=True))
            if said
        ]
        heads = ("event", "forecast probability", "how often", "how often it happened")
        sections.append(f"<details><summary>Reliability of the model</summary>{table(heads, rows)}</details>")
        return f"<section><h2>Events</h2>{''.join(sections)}</section>"

    def _chart(
        self, stem: str, lines: Mapping[str, Line], axes: tuple[str, str], caption: str, *, log: bool = False
    ) -> str:
        light, dark = (line_chart(lines, *axes, theme, log=log) for theme in (LIGHT, DARK))
        self.files |= {f"{stem}.png": light, f"{stem}_dark.png": dark}
        return figure(themed_picture(light, dark, caption), f"{caption}.")
