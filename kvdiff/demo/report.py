"""The demo's report: one HTML page that shows what the model made and what the numbers say, good or bad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.demo.pictures import LossCurve, loss_curve
from kvdiff.evaluation import Bars, Check, MadeFrames, TaskReport, TaskSamples, TaskScore, pictures
from kvdiff.evaluation.charts import DARK, LIGHT, Theme, frame_curves
from kvdiff.evaluation.page import escaped, figure, page, picture, table, themed_picture

__all__ = ["report_html", "report_pictures"]

PREDICTION = ("truth", "model", "repeat last")
INTERPOLATION = ("truth", "model", "linear blend")

_KEY = (
    f'<span class="key" style="background:rgb{pictures.KNOWN}"></span>given &nbsp;'
    f'<span class="key" style="background:rgb{pictures.MADE}"></span>made. '
)
_STRIPS = 3


def report_pictures(samples: TaskSamples, report: TaskReport, curves: Sequence[LossCurve]) -> dict[str, bytes]:
    """The pictures by file name: GIFs of the three tasks, film strips, and curves (for a dark page too)."""
    strips = {
        f"{name}_{index}.png": pictures.strip(task, index, scale=4)
        for name, task in (("prediction", samples.prediction), ("interpolation", samples.interpolation))
        for index in range(min(_STRIPS, len(task.truth)))
    }
    content = {
        "prediction.gif": pictures.comparison(samples.prediction, PREDICTION, clips=5, scale=6),
        "interpolation.gif": pictures.comparison(samples.interpolation, INTERPOLATION, clips=5, scale=6),
        "generation.gif": pictures.halves(
            samples.generated, samples.prediction.truth, ("generated", "real digits"), clips=16, scale=5
        ),
        **strips,
    }
    for suffix, theme in (("", LIGHT), ("_dark", DARK)):
        prediction = _psnr_curve(samples.prediction, report.prediction, PREDICTION[2], theme)
        interpolation = _psnr_curve(samples.interpolation, report.interpolation, INTERPOLATION[2], theme)
        content[f"prediction_psnr{suffix}.png"] = prediction
        content[f"interpolation_psnr{suffix}.png"] = interpolation
        content[f"loss{suffix}.png"] = loss_curve(curves, theme)
    return content


def _psnr_curve(task: MadeFrames, score: TaskScore, baseline: str, theme: Theme) -> bytes:
    curves = {"model": score.model_per_frame, baseline: score.baseline_per_frame}
    return frame_curves((np.flatnonzero(~task.known) + 1).tolist(), curves, "PSNR (dB)", theme)


def report_html(
    samples: TaskSamples, report: TaskReport, bars: Bars, record: Mapping[str, Any], content: Mapping[str, bytes]
) -> str:
    """The page.

    Args:
        samples, report: what was made, and its numbers.
        bars: what the numbers are held to.
        record: how it was made, as `run_demo` writes it to record.json.
        content: the pictures of `report_pictures`.
    """
    title = "Moving digits: predicted, interpolated, generated"
    return page(
        title,
        [
            f"<h1>{escaped(title)}</h1>",
            _introduction(report, record),
            _verdict(report.checks(bars)),
            _numbers(report, bars),
            _task("Prediction", samples.prediction, PREDICTION, content, _PREDICTION_TEXT),
            _task("Interpolation", samples.interpolation, INTERPOLATION, content, _INTERPOLATION_TEXT),
            _generation(content),
            _curves(content),
            _making(record),
        ],
    )


_PREDICTION_TEXT = (
    "The first half of each clip is given; the model continues it. Beside it: the last given frame, held."
)
_INTERPOLATION_TEXT = (
    "The first and the last quarter of each clip are given; the model fills the gap between. Beside it: a "
    "cross-fade between the two nearest given frames."
)


def _introduction(report: TaskReport, record: Mapping[str, Any]) -> str:
    minutes = record["training_seconds"] / 60
    how = "trained from scratch" if record["from_scratch"] else "loaded as shipped and trained on"
    machine = record["machine"]
    return (
        f"<p>A video diffusion model was {how} for {record['steps']:,} steps ({minutes:.1f} minutes on "
        f"{machine['cores']} cores of {escaped(machine['processor'])}), exported to ONNX, and sampled by "
        f"<strong>ONNX Runtime {escaped(record['versions'].get('onnxruntime', ''))}</strong>; Keras took no part in "
        f"that. The clips are handwritten digits on paths never seen in training: {report.num_clips} of them, one "
        "sample each. The pictures show the first ones; none were picked.</p>"
    )


def _verdict(checks: Sequence[Check]) -> str:
    misses = [check for check in checks if not check.reached]
    if not misses:
        return '<div class="verdict good">Every bar was reached.</div>'
    words = "".join(f"<li>{escaped(f'{c.what}: {c.difference}; the bar is {c.bar}.')}</li>" for c in misses)
    return (
        f'<div class="verdict bad">This run falls short of {len(misses)} of {len(checks)} bars:<ul>{words}</ul></div>'
    )


def _numbers(report: TaskReport, bars: Bars) -> str:
    marks = {True: '<span class="good">✓ reached</span>', False: '<span class="bad">✗ missed</span>'}
    rows = [
        (
            *map(escaped, (check.what, check.model, check.compared_with, check.difference, check.bar)),
            marks[check.reached],
        )
        for check in report.checks(bars)
    ]
    head = ("", "model", "compared with", "difference", "bar", "")
    note = (
        "PSNR is 10 log₁₀(2² / mean squared error) for pixels in [−1, 1], on the made frames only, once a clip, "
        "averaged over clips. The linear blend is between the two nearest given frames. Generated pixels count as near "
        f"the data's when their mean, over all pixels of {report.num_clips} clips, is within {bars.mean_gap} and their "
        f"variance within {bars.variance_gap:.0%}."
    )
    return f"<section><h2>The numbers</h2>{table(head, rows)}<p><small>{note}</small></p></section>"


def _task(title: str, task: MadeFrames, names: tuple[str, str, str], content: Mapping[str, bytes], text: str) -> str:
    name = title.lower()
    moving = picture(content[f"{name}.gif"], "gif", f"{title}, animated: {', '.join(names)}")
    labels = "".join(f"<li>{label}</li>" for label in names)
    strips = "".join(
        f'<div class="screen strip"><ol>{labels}</ol>'
        f"{picture(content[key], 'png', f'{title}, frame by frame, clip {index + 1}')}</div>"
        for index, key in enumerate(f"{name}_{index}.png" for index in range(min(_STRIPS, len(task.truth))))
    )
    frames = f"The first {min(_STRIPS, len(task.truth))} of these clips at rest, frame 1 to {task.truth.shape[1]}."
    return (
        f"<section><h2>{title}</h2><p>{text}</p>"
        + f'<div class="pair">{figure(moving, f"Frames {_KEY}One clip a row.", screen=True)}'
        + f"<figure>{strips}<figcaption>{frames}</figcaption></figure></div></section>"
    )


def _generation(content: Mapping[str, bytes]) -> str:
    moving = picture(content["generation.gif"], "gif", "Generated clips beside real ones, animated")
    text = (
        "Nothing is given: every clip on the left starts from noise alone. On the right, unseen digits to compare with."
    )
    return (
        f"<section><h2>Generation</h2><p>{text}</p>{figure(moving, 'The first clips of each.', screen=True)}</section>"
    )


def _curves(content: Mapping[str, bytes]) -> str:
    curves = {
        "prediction_psnr": "Prediction: PSNR of each made frame, mean over clips.",
        "interpolation_psnr": "Interpolation: PSNR of each made frame, mean over clips.",
        "loss": "Training loss, one point an epoch.",
    }
    figures = (
        figure(themed_picture(content[f"{name}.png"], content[f"{name}_dark.png"], caption), caption)
        for name, caption in curves.items()
    )
    return f'<section><h2>Curves</h2><div class="row">{"".join(figures)}</div></section>'


def _making(record: Mapping[str, Any]) -> str:
    machine, sampling = record["machine"], record["sampling"]
    memory = f", {machine['memory_gib']} GiB" if machine["memory_gib"] else ""
    facts = {
        "Command": f"<code>{escaped(record['command'])}</code>",
        "Machine": escaped(f"{machine['processor']}, {machine['cores']} cores{memory}, {machine['system']}"),
        "Versions": escaped(", ".join(f"{name} {version}" for name, version in record["versions"].items())),
        "Seeds": f"training {record['recipe']['seed']}, held-out clips {record['data']['seed']}, "
        f"sampling {sampling['seed']}",
        "Sampling": f"{sampling['num_steps']} steps of {escaped(sampling['solver'])}; generation with "
        f"{escaped(sampling['generation']['spacing'])} spacing",
        "Data": escaped(record["data"]["description"]),
        "Time": escaped(", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in record["seconds"].items())),
    }
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items())
    recipe = "\n".join(f"{name} = {value!r}" for name, value in record["recipe"].items())
    return (
        f"<section><h2>How it was made</h2><dl>{listed}</dl>"
        f"<details><summary>The recipe</summary><pre>{escaped(recipe)}</pre></details></section>"
    )
