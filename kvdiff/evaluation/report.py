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
from kvdiff.media import write_bytes

__all__ = ["Training", "report_pictures", "result_html", "write_report"]

_ROWS, _SQUARE, _STRIPS = 5, 16, 3  # Clips in the GIF of a task with known frames, in that of a set, and at rest.
_ORDER = ["model", "baseline", "truth", "best"]  # Of a chart's lines.
_CURVES = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "psnr_aligned": "PSNR after the best shift (dB)",
    "sharpness": "sharpness over the data's",
    "identity": "share that keeps its label",
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
    content = report_pictures(evaluation, clips, result, training)
    for name, data in content.items():
        write_bytes(directory / name, data)
    write_bytes(directory / "report.html", result_html(result, content, training).encode())


def report_pictures(
    evaluation: Evaluation, clips: RealClips, result: Mapping[str, Any], training: Training | None = None
) -> dict[str, bytes]:
    """The pictures by file name: GIFs, film strips, and curves in two themes. Arguments as in `write_report`."""
    height = clips.truth.shape[2]
    scale, small = max(96 // height, 1), max(64 // height, 1)
    content: dict[str, bytes] = {}
    for name, task in evaluation.clips.items():
        if not task.known.any():
            pair = task.generated, task.truth
            content[f"{name}.gif"] = pictures.halves(*pair, ("generated", "real"), _SQUARE, scale)
            continue
        names = ("truth", "model", _rule(name, result).baseline)
        content[f"{name}.gif"] = pictures.comparison(task, names, _ROWS, scale)
        for index in range(min(_STRIPS, len(task.truth))):
            content[f"{name}_{index}.png"] = pictures.strip(task, index, small)
        for curve, label in _CURVES.items():
            if curve in result["tasks"][name]["curves"]:
                content |= _themed(f"{name}_{curve}", _lines(name, result, curve), "frame", label)
    if evaluation.copies is not None and clips.training is not None:
        (generated,) = (task.generated for task in evaluation.clips.values() if not task.known.any())
        near = np.argsort(evaluation.copies.distance)[:_SQUARE]
        pair = generated[near], clips.training[evaluation.copies.index[near]]
        content["nearest.gif"] = pictures.halves(*pair, ("generated", "nearest"), _SQUARE, scale)
    if training is not None:
        content |= _themed("loss", loss_lines(training.losses), "training step", "loss (mean square)", log=True)
    return content


def _rule(name: str, result: Mapping[str, Any]) -> Task:
    return next(Task(**rule) for rule in result["protocol"]["tasks"] if rule["name"] == name)


def _themed(stem: str, lines: Mapping[str, Line], across: str, up: str, *, log: bool = False) -> dict[str, bytes]:
    themes = (("", LIGHT), ("_dark", DARK))
    return {f"{stem}{suffix}.png": line_chart(lines, across, up, theme, log=log) for suffix, theme in themes}


def _lines(name: str, result: Mapping[str, Any], curve: str) -> dict[str, Line]:
    """One task's curve over the generated frames, counted from 1; the best sample's where there are several."""
    task, rule = result["tasks"][name], _rule(name, result)
    frames = [frame + 1 for frame in range(result["protocol"]["clip_shape"][0]) if frame not in task["known"]]
    values = dict(task["curves"][curve])
    if values.get("best") == values["model"]:
        del values["best"]
    names = {"baseline": rule.baseline, "best": "best sample"}
    return {names.get(line, line): (frames, values[line]) for line in sorted(values, key=_ORDER.index)}


def result_html(result: Mapping[str, Any], content: Mapping[str, bytes], training: Training | None = None) -> str:
    """The page, of what `report_pictures` and `result_of` return."""
    title = f"Evaluation: {result['protocol']['title']}"
    sections = [
        f"<h1>{escaped(title)}</h1>",
        _introduction(result, training),
        _bars([Check(**check) for check in result.get("checks", ())]),
        *(_task(name, task, result, content) for name, task in result["tasks"].items()),
        _training(content, training),
        _making(result),
    ]
    return page(title, filter(None, sections))


def _introduction(result: Mapping[str, Any], training: Training | None) -> str:
    protocol, clips = result["protocol"], result["clips"]
    frames, height, width, _ = protocol["clip_shape"]
    return (
        f"<p>{clips['shape'][0]} real clips of {frames} frames, {height} × {width} pixels: {escaped(clips['source'])}. "
        f"The choices follow {escaped(protocol['follows'])}. Pictures show the first clips; none were picked.</p>"
        + (f"<p>{escaped(training.words)}</p>" if training else "")
    )


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


def _task(name: str, task: Mapping[str, Any], result: Mapping[str, Any], content: Mapping[str, bytes]) -> str:
    rule, known = _rule(name, result), len(task["known"])
    a_clip = "one sample" if rule.samples == 1 else f"{rule.samples} samples"
    text, caption = "No frame is known.", "The first clips of each."
    if known:
        text = f"{known} frames of each clip are known; the others are generated, {a_clip} a clip. The baseline is " + (
            "a cross-fade between the two nearest known frames." if rule.future else "the last known frame, repeated."
        )
        caption = f"{_key()} One clip a row, the first sample."
    rows = [
        (escaped(NUMBERS[number][0]), NUMBERS[number][1].format(value)) for number, value in flat_numbers(task).items()
    ]
    moving = picture(content[f"{name}.gif"], "gif", f"{name}, animated")
    parts = [
        f"<section><h2>{escaped(name.capitalize())}</h2><p>{text}</p>",
        f'<div class="pair">{figure(moving, caption, screen=True)}',
        f"<figure>{table(('', 'value'), rows)}<figcaption>{frechet_words(task)}</figcaption></figure></div>",
        _strips(name, rule, content) if known else "",
        _curve_figures(name, task, content),
        _nearest(content) if not known and "nearest.gif" in content else "",
        "</section>",
    ]
    return "".join(parts)


def _key() -> str:
    return (
        f'Frames <span class="key" style="background:rgb{pictures.KNOWN}"></span>known &nbsp;'
        f'<span class="key" style="background:rgb{pictures.GENERATED}"></span>generated.'
    )


def _strips(name: str, rule: Task, content: Mapping[str, bytes]) -> str:
    """The first clips at rest."""
    labels = "".join(f"<li>{label}</li>" for label in ("truth", "model", rule.baseline))
    stills = [content[key] for key in (f"{name}_{index}.png" for index in range(_STRIPS)) if key in content]
    strips = "".join(
        f'<div class="screen strip"><ol>{labels}</ol>'
        f"{picture(still, 'png', f'{name}, frame by frame, clip {index + 1}')}</div>"
        for index, still in enumerate(stills)
    )
    return f"<figure>{strips}<figcaption>The first of these clips at rest, frame by frame.</figcaption></figure>"


def _curve_figures(name: str, task: Mapping[str, Any], content: Mapping[str, bytes]) -> str:
    figures = (
        _themed_figure(
            f"{name}_{curve}", f"{label[0].upper()}{label[1:]} of each generated frame, mean over clips.", content
        )
        for curve, label in _CURVES.items()
        if curve in task["curves"]
    )
    return f'<div class="row">{"".join(figures)}</div>' if task["curves"] else ""


def _themed_figure(stem: str, caption: str, content: Mapping[str, bytes]) -> str:
    light, dark = (content[f"{stem}{suffix}.png"] for suffix in ("", "_dark"))
    return figure(themed_picture(light, dark, caption), caption)


def _nearest(content: Mapping[str, bytes]) -> str:
    moving = picture(content["nearest.gif"], "gif", "Generated clips beside the nearest training clips, animated")
    return figure(moving, "The generated clips that come nearest to a training clip, and those clips.", screen=True)


def _training(content: Mapping[str, bytes], training: Training | None) -> str:
    if training is None:
        return ""
    curve = _themed_figure("loss", "Training loss, one point an epoch.", content)
    choices = _choices("Every choice of the training", training.settings)
    return f'<section><h2>Training</h2><div class="row">{curve}</div>{choices}</section>'


def _making(result: Mapping[str, Any]) -> str:
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
