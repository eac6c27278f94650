"""The page of an evaluation: what was measured and how, curves over the frames, and clips side by side."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.evaluation import pictures
from kvdiff.evaluation.bars import COLUMNS, Check
from kvdiff.evaluation.charts import DARK, LIGHT, Line, LossCurve, line_chart, loss_lines
from kvdiff.evaluation.evaluation import Evaluation
from kvdiff.evaluation.page import escaped, figure, page, picture, table, themed_picture
from kvdiff.evaluation.protocols import Task
from kvdiff.evaluation.real import RealClips
from kvdiff.evaluation.result import NUMBERS, flat_numbers, frechet_words
from kvdiff.evaluation.scoring import TaskClips
from kvdiff.media import write_bytes

_ROWS, _SQUARE, _STRIPS = 5, 16, 3  # Clips in the GIF of a task with known frames, in that of a set, and at rest.
_KEY = (
    f'Frames <span class="key" style="background:rgb{pictures.KNOWN}"></span>known &nbsp;'
    f'<span class="key" style="background:rgb{pictures.GENERATED}"></span>generated.'
)
_OF_FRAMES = "each generated frame, mean over clips"
_ORDER = ["model", "baseline", "truth", "best"]  # Of a chart's lines.
_CURVES = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "psnr_aligned": "PSNR after the best shift (dB)",
    "shift": "Length of the best shift (pixels)",
    "sharpness": "Sharpness over the data's",
    "identity": "Share that keeps its label",
}


@dataclasses.dataclass(frozen=True)
class Training:
    """What the page says of the model's training.

    Attributes:
        words: a sentence or two.
        losses: of every run that led to the weights, in order.
        settings: every choice, by name.
    """

    words: str
    losses: Sequence[LossCurve]
    settings: Mapping[str, Any]


def write_report(
    directory: pathlib.Path,
    evaluation: Evaluation,
    clips: RealClips,
    result: Mapping[str, Any],
    training: Training | None = None,
) -> None:
    """Write report.html, which holds everything, and its GIFs, film strips and curves as files of their own.

    Args:
        directory: a folder that exists.
        evaluation, clips: what was measured, and on what.
        result: of `result_of`; where it has "checks", the page opens with them.
        training: of the model, where it is at hand.
    """
    report = _Report(evaluation, clips, result, training)
    html = report.page()
    for name, data in {**report.files, "report.html": html.encode()}.items():
        write_bytes(directory / name, data)


@dataclasses.dataclass(eq=False)
class _Report:
    """The page under way, and the pictures that it has so far, by file name."""

    evaluation: Evaluation
    clips: RealClips
    result: Mapping[str, Any]
    training: Training | None
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)

    def page(self) -> str:
        title = f"Evaluation: {self.result['protocol']['title']}"
        sections = [
            f"<h1>{escaped(title)}</h1>",
            self._introduction(),
            _bars([Check(**check) for check in self.result.get("checks", ())]),
            *(self._task(Task(**rule)) for rule in self.result["protocol"]["tasks"]),
            self._training(),
            making(self.result),
        ]
        return page(title, filter(None, sections))

    def _introduction(self) -> str:
        clips, protocol = self.clips.truth, self.result["protocol"]
        return (
            f"<p>{len(clips)} real clips of {clips.shape[1]} frames, {clips.shape[2]} × {clips.shape[3]} pixels: "
            f"{escaped(self.clips.source)}. The choices follow {escaped(protocol['follows'])}. Pictures show the first "
            "clips; none were picked.</p>" + (f"<p>{escaped(self.training.words)}</p>" if self.training else "")
        )

    def _task(self, rule: Task) -> str:
        measured, clips = self.result["tasks"][rule.name], self.evaluation.clips[rule.name]
        rows = [(escaped(NUMBERS[n][0]), NUMBERS[n][1].format(value)) for n, value in flat_numbers(measured).items()]
        numbers = f"<figure>{table(('', 'value'), rows)}<figcaption>{frechet_words(measured)}</figcaption></figure>"
        words, shown, more = (self._known if clips.known.any() else self._generated)(rule, clips)
        curves = [
            self._curve(f"{rule.name}_{curve}", self._lines(rule, curve), ("frame", label), f"{label}, {_OF_FRAMES}")
            for curve, label in _CURVES.items()
            if curve in measured["curves"]
        ]
        return (
            f"<section><h2>{escaped(rule.name.capitalize())}</h2><p>{words}</p>"
            f'<div class="pair">{shown}{numbers}</div>{more}<div class="row">{"".join(curves)}</div></section>'
        )

    def _known(self, rule: Task, clips: TaskClips) -> tuple[str, str, str]:
        """Of a task with known frames: what it is, an animation, and film strips."""
        a_clip = "one sample" if rule.samples == 1 else f"{rule.samples} samples"
        baseline = "a cross-fade between the two nearest known frames" if rule.future else "the last known frame"
        names = ("truth", "model", rule.baseline)
        animation = pictures.comparison(clips, names, _ROWS, self._scale(96))
        labels = "".join(f"<li>{label}</li>" for label in names)
        strips = ""
        for index in range(min(_STRIPS, len(clips.truth))):
            still = pictures.strip(clips, index, self._scale(64))
            shown = self._picture(f"{rule.name}_{index}.png", still, f"{rule.name}, frame by frame, clip {index + 1}")
            strips += f'<div class="screen strip"><ol>{labels}</ol>{shown}</div>'
        return (
            f"{clips.known.sum()} frames of each clip are known; the others are generated, {a_clip} a clip. The "
            f"baseline is {baseline}.",
            self._animation(f"{rule.name}.gif", animation, f"{_KEY} One clip a row, the first sample."),
            f"<figure>{strips}<figcaption>The first of these clips at rest, frame by frame.</figcaption></figure>",
        )

    def _generated(self, rule: Task, clips: TaskClips) -> tuple[str, str, str]:
        """Of a task without: what it is, an animation, and the clips that are nearest to training clips."""
        animation = pictures.halves(clips.generated, clips.truth, ("generated", "real"), _SQUARE, self._scale(96))
        shown, nearest = self._animation(f"{rule.name}.gif", animation, "The first clips of each."), ""
        copies = self.evaluation.copies.get(rule.name)
        if copies is not None and self.clips.training is not None:
            near = np.argsort(copies.distance)[:_SQUARE]
            pair = clips.generated[near], self.clips.training[copies.index[near]]
            animation = pictures.halves(*pair, ("generated", "nearest"), _SQUARE, self._scale(96))
            caption = "The generated clips that come nearest to a training clip, and those clips."
            nearest = self._animation(f"{rule.name}_nearest.gif", animation, caption)
        return "No frame is known.", shown, nearest

    def _training(self) -> str:
        if self.training is None:
            return ""
        axes = ("training step", "loss (mean square)")
        curve = self._curve(
            "loss", loss_lines(self.training.losses), axes, "Training loss, one point an epoch", log=True
        )
        choices = _choices("Every choice of the training", self.training.settings)
        return f'<section><h2>Training</h2><div class="row">{curve}</div>{choices}</section>'

    def _lines(self, rule: Task, curve: str) -> dict[str, Line]:
        """One task's curve over the generated frames, counted from 1; the best sample's where there are several."""
        measured = self.result["tasks"][rule.name]
        frames = [frame + 1 for frame in range(self.clips.truth.shape[1]) if frame not in measured["known"]]
        values = dict(measured["curves"][curve])
        if values.get("best") == values["model"]:
            del values["best"]
        names = {"baseline": rule.baseline, "best": "best sample"}
        return {names.get(line, line): (frames, values[line]) for line in sorted(values, key=_ORDER.index)}

    def _scale(self, height: int) -> int:
        """How many times to enlarge clips to about so many pixels."""
        return max(height // self.clips.truth.shape[2], 1)

    def _picture(self, name: str, data: bytes, description: str) -> str:
        self.files[name] = data
        return picture(data, name.rpartition(".")[2], description)

    def _animation(self, name: str, data: bytes, caption: str) -> str:
        return figure(self._picture(name, data, f"{name.rpartition('.')[0]}, animated"), caption, screen=True)

    def _curve(
        self, stem: str, lines: Mapping[str, Line], axes: tuple[str, str], caption: str, *, log: bool = False
    ) -> str:
        light, dark = (line_chart(lines, *axes, theme, log=log) for theme in (LIGHT, DARK))
        self.files |= {f"{stem}.png": light, f"{stem}_dark.png": dark}
        return figure(themed_picture(light, dark, caption), f"{caption}.")


def _bars(checks: Sequence[Check]) -> str:
    """The verdict, and every number beside its bar; empty where there are none."""
    if not checks:
        return ""
    misses = [f"<li>{escaped(f'{c.what}: {c.difference}; the bar is {c.bar}.')}</li>" for c in checks if not c.reached]
    verdict = '<div class="verdict good">Every bar was reached.</div>'
    if misses:
        said = f"This run falls short of {len(misses)} of {len(checks)} bars:<ul>{''.join(misses)}</ul>"
        verdict = f'<div class="verdict bad">{said}</div>'
    marks = {True: '<span class="good">✓ reached</span>', False: '<span class="bad">✗ missed</span>'}
    rows = [(*map(escaped, check.row[:-1]), marks[check.reached]) for check in checks]
    note = "Mean and variance are over all pixels in [−1, 1] of all clips."
    return f"{verdict}<section><h2>The bars</h2>{table(COLUMNS, rows)}<p><small>{note}</small></p></section>"


def making(result: Mapping[str, Any]) -> str:
    """How a result came about: command, model, sampling, data, protocol, versions."""
    protocol = {name: value for name, value in result["protocol"].items() if name not in ("title", "sha256")}
    facts = {
        "Command": f"<code>{escaped(result['command'])}</code>",
        "Model": _listed(result["model"]),
        "Sampling": _listed(result["sampling"]),
        "Real clips": _listed(result["clips"]),
        "Features": _listed(result["features"] or {"": "none"}),
        "Classifier": _listed(result.get("classifier") or {"": "none"}),
        "Protocol": f"SHA-256 {result['protocol']['sha256']}",
        "Versions": _listed(result["versions"]),
        "Machine": _listed(result["machine"]),
        "Seconds": _listed(result["seconds"]),
    }
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items())
    choices = _choices("Every choice of the protocol", protocol)
    return f"<section><h2>How it was measured</h2><dl>{listed}</dl>{choices}</section>"


def _choices(summary: str, choices: Mapping[str, Any]) -> str:
    listed = "\n".join(f"{name} = {value!r}" for name, value in choices.items())
    return f"<details><summary>{summary}</summary><pre>{escaped(listed)}</pre></details>"


def _listed(entries: Mapping[str, Any]) -> str:
    return escaped(", ".join(f"{name} {value}".strip() for name, value in entries.items()))
