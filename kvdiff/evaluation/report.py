"""The page of an evaluation: what was measured and how, curves over the frames, and clips side by side."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kvdiff.evaluation import pictures
from kvdiff.evaluation.charts import DARK, LIGHT, frame_curves
from kvdiff.evaluation.evaluation import Evaluation
from kvdiff.evaluation.page import escaped, figure, page, picture, table, themed_picture
from kvdiff.evaluation.real import RealClips
from kvdiff.evaluation.result import NUMBERS, flat_numbers, frechet_words
from kvdiff.media import write_bytes

__all__ = ["report_pictures", "result_html", "write_report"]

_ROWS, _SQUARE = 5, 16  # Clips shown of a task with known frames, and of generation.
_CURVES = {"psnr": "PSNR (dB)", "ssim": "SSIM"}


def write_report(directory: pathlib.Path, evaluation: Evaluation, clips: RealClips, result: Mapping[str, Any]) -> None:
    """Write report.html, which holds everything, and its GIFs and curves as files of their own."""
    content = report_pictures(evaluation, clips, result)
    for name, data in content.items():
        write_bytes(directory / name, data)
    write_bytes(directory / "report.html", result_html(result, content).encode())


def report_pictures(evaluation: Evaluation, clips: RealClips, result: Mapping[str, Any]) -> dict[str, bytes]:
    """The pictures by file name: a GIF for every task, one of the nearest training clips, curves in two themes."""
    scale = max(96 // clips.truth.shape[2], 1)
    content = {
        f"{name}.gif": pictures.comparison(task, ("truth", "model", "baseline"), _ROWS, scale)
        for name, task in evaluation.compared.items()
    }
    for name, made in evaluation.generated.items():
        content[f"{name}.gif"] = pictures.halves(made, clips.truth, ("generated", "real"), _SQUARE, scale)
    if evaluation.copies is not None and clips.training is not None:
        (made,) = evaluation.generated.values()
        near = np.argsort(evaluation.copies.distance)[:_SQUARE]
        training = clips.training[evaluation.copies.index[near]]
        content["nearest.gif"] = pictures.halves(made[near], training, ("generated", "nearest"), _SQUARE, scale)
    for name, task in result["tasks"].items():
        for curve, label in _CURVES.items():
            if curve in task["curves"]:
                content |= _curve(f"{name}_{curve}", task, curve, label, clips.truth.shape[1])
    return content


def _curve(stem: str, task: Mapping[str, Any], curve: str, label: str, num_frames: int) -> dict[str, bytes]:
    frames = [frame + 1 for frame in range(num_frames) if frame not in task["known"]]
    lines = dict(task["curves"][curve])
    best = lines.pop("best")
    curves = {"model": lines["model"], "baseline": lines["baseline"]}
    if best != lines["model"]:
        curves["best sample"] = best
    return {
        f"{stem}.png": frame_curves(frames, curves, label, LIGHT),
        f"{stem}_dark.png": frame_curves(frames, curves, label, DARK),
    }


def result_html(result: Mapping[str, Any], content: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        result: of `result_of`.
        content: of `report_pictures`.
    """
    title = f"Evaluation: {result['protocol']['title']}"
    tasks = [_task(name, task, result, content) for name, task in result["tasks"].items()]
    return page(title, [f"<h1>{escaped(title)}</h1>", _introduction(result), *tasks, _making(result)])


def _introduction(result: Mapping[str, Any]) -> str:
    protocol, clips = result["protocol"], result["clips"]
    frames, height, width, _ = protocol["clip_shape"]
    return (
        f"<p>{clips['shape'][0]} real clips of {frames} frames, {height} × {width} pixels: {escaped(clips['source'])}. "
        f"The choices follow {escaped(protocol['follows'])}. Pictures show the first clips; none were picked.</p>"
    )


def _task(name: str, task: Mapping[str, Any], result: Mapping[str, Any], content: Mapping[str, bytes]) -> str:
    rule = next(rule for rule in result["protocol"]["tasks"] if rule["name"] == name)
    known, samples = len(task["known"]), rule["samples"]
    made = "one sample" if samples == 1 else f"{samples} samples"
    text = (
        f"{known} frames of each clip are given; the others are made, {made} a clip." if known else "Nothing is given."
    )
    rows = [
        (escaped(NUMBERS[number][0]), NUMBERS[number][1].format(value)) for number, value in flat_numbers(task).items()
    ]
    moving = picture(content[f"{name}.gif"], "gif", f"{name}, animated")
    parts = [
        f"<section><h2>{escaped(name.capitalize())}</h2><p>{text}</p>",
        f'<div class="pair">{figure(moving, _key() if known else "The first clips of each.", screen=True)}',
        f"<figure>{table(('', 'value'), rows)}<figcaption>{frechet_words(task)}</figcaption></figure></div>",
        _curve_figures(name, task, content),
        _nearest(content) if not known and "nearest.gif" in content else "",
        "</section>",
    ]
    return "".join(parts)


def _key() -> str:
    return (
        f'Frames <span class="key" style="background:rgb{pictures.KNOWN}"></span>given &nbsp;'
        f'<span class="key" style="background:rgb{pictures.MADE}"></span>made. One clip a row, the first sample.'
    )


def _curve_figures(name: str, task: Mapping[str, Any], content: Mapping[str, bytes]) -> str:
    figures = ""
    for curve, label in _CURVES.items():
        if curve in task["curves"]:
            caption = f"{label} of each made frame, mean over clips."
            light, dark = (content[f"{name}_{curve}{suffix}.png"] for suffix in ("", "_dark"))
            figures += figure(themed_picture(light, dark, caption), caption)
    return f'<div class="row">{figures}</div>' if figures else ""


def _nearest(content: Mapping[str, bytes]) -> str:
    moving = picture(content["nearest.gif"], "gif", "Generated clips beside the nearest training clips, animated")
    return figure(moving, "The generated clips that come nearest to a training clip, and those clips.", screen=True)


def _making(result: Mapping[str, Any]) -> str:
    protocol = {name: value for name, value in result["protocol"].items() if name not in ("title", "sha256")}
    facts = {
        "Command": f"<code>{escaped(result['command'])}</code>",
        "Model": _listed(result["model"]),
        "Sampling": _listed(result["sampling"]),
        "Real clips": _listed(result["clips"]),
        "Features": _listed(result["features"] or {"": "none"}),
        "Protocol": f"SHA-256 {result['protocol']['sha256']}",
        "Versions": _listed(result["versions"]),
        "Machine": _listed(result["machine"]),
        "Seconds": _listed(result["seconds"]),
    }
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items())
    choices = "\n".join(f"{name} = {value!r}" for name, value in protocol.items())
    return (
        f"<section><h2>How it was measured</h2><dl>{listed}</dl>"
        f"<details><summary>Every choice of the protocol</summary><pre>{escaped(choices)}</pre></details></section>"
    )


def _listed(entries: Mapping[str, Any]) -> str:
    return escaped(", ".join(f"{name} {value}".strip() for name, value in entries.items()))
