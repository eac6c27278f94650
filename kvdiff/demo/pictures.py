"""What the report shows: animated comparisons, film strips and curves, as bytes of GIF and PNG files."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from kvdiff.evaluation import MadeFrames, TaskScore
from kvdiff.media import encode_clip, encode_png, enlarge, filmstrip, framed, grid, labelled, side_by_side

__all__ = ["DARK", "LIGHT", "LossCurve", "Theme", "comparison", "generation", "loss_curve", "psnr_curve", "strip"]

KNOWN = (74, 144, 217)
MADE = (240, 150, 50)
PLAIN = (96, 102, 112)
"""The borders of frames that were given, that were made, and of the truth."""

_FPS = 4.0
_HOLD = 2  # The last frame stays, so that the eye sees where a loop ends.


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of a chart, on a transparent ground."""

    ink: str
    grid: str
    model: str
    baseline: str


LIGHT = Theme(ink="#333a44", grid="#d9dde3", model="#d9730d", baseline="#6b7685")
DARK = Theme(ink="#cfd5de", grid="#3a404b", model="#f5a04c", baseline="#98a3b3")


@dataclasses.dataclass(frozen=True)
class LossCurve:
    """The loss of one run: its mean over every epoch of `steps_per_epoch` steps."""

    label: str
    steps_per_epoch: int
    loss: tuple[float, ...]


def comparison(task: MadeFrames, names: tuple[str, str, str], clips: int, scale: int) -> bytes:
    """A GIF with a row for each of the first `clips` clips, and truth, model and baseline in columns."""
    columns = []
    for name, part in zip(names, (task.truth, task.made, task.baseline), strict=True):
        colours = _borders(task, plain=part is task.truth)
        panels = [framed(enlarge(clip, scale), colours, 2) for clip in part[:clips]]
        columns.append(labelled(grid(panels, 1, gap=3), name, size=13))
    return encode_clip(_held(side_by_side(columns, gap=0)), ".gif", fps=_FPS)


def strip(task: MadeFrames, index: int, scale: int) -> bytes:
    """A PNG of one clip at rest: truth, model and baseline in rows, one column a frame."""
    parts = (task.truth, task.made, task.baseline)
    rows = [framed(enlarge(part[index], scale), _borders(task, plain=part is task.truth), 2) for part in parts]
    return encode_png(filmstrip(rows, gap=2))


def generation(generated: np.ndarray, truth: np.ndarray, clips: int, scale: int) -> bytes:
    """A GIF with the first `clips` generated clips on the left and as many true ones on the right."""
    columns = max(int(np.sqrt(clips)), 1)
    halves = [
        labelled(grid([enlarge(clip, scale) for clip in part[:clips]], columns, gap=3), name, size=13)
        for name, part in (("generated", generated), ("real digits", truth))
    ]
    return encode_clip(_held(side_by_side(halves, gap=6)), ".gif", fps=_FPS)


def loss_curve(curves: Sequence[LossCurve], theme: Theme = LIGHT) -> bytes:
    """A PNG of the training loss over steps; later runs go on where the earlier ones ended."""
    figure, axes = _figure()
    start = 0
    for curve, colour in zip(curves, (theme.baseline, theme.model)[-len(curves) :], strict=True):
        steps = start + curve.steps_per_epoch * np.arange(1, len(curve.loss) + 1)
        axes.plot(steps, curve.loss, color=colour, marker="o", markersize=3, label=curve.label)
        start = int(steps[-1])
    axes.set(xlabel="training step", ylabel="loss (mean square)", yscale="log")
    _plain_ticks(axes)
    return _finished(figure, axes, theme)


def psnr_curve(task: MadeFrames, score: TaskScore, baseline: str, theme: Theme = LIGHT) -> bytes:
    """A PNG of the PSNR of each made frame, numbered from 1 as in the clip, for model and baseline."""
    figure, axes = _figure()
    frame = np.flatnonzero(~task.known) + 1
    axes.plot(frame, score.model_per_frame, color=theme.model, marker="o", label="model")
    axes.plot(frame, score.baseline_per_frame, color=theme.baseline, marker="s", linestyle="--", label=baseline)
    axes.set(xticks=frame, xlabel="frame", ylabel="PSNR (dB)")
    return _finished(figure, axes, theme)


def _borders(task: MadeFrames, *, plain: bool) -> list[tuple[int, int, int]]:
    return [PLAIN if plain else KNOWN if known else MADE for known in task.known]


def _held(clip: np.ndarray) -> np.ndarray:
    return np.concatenate([clip, np.repeat(clip[-1:], _HOLD, axis=0)])


def _figure() -> tuple[Any, Any]:
    """A matplotlib figure without a window, and its axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Charts need matplotlib: pip install "keras-video-diffusion[demo]"') from error
    figure = Figure(figsize=(4.2, 3.0), layout="constrained")
    return figure, figure.subplots()


def _plain_ticks(axes: Any) -> None:
    """0.1 in place of 10⁻¹ on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter

    for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        which(FuncFormatter(lambda value, _: f"{value:g}"))


def _finished(figure: Any, axes: Any, theme: Theme) -> bytes:
    """The figure in the theme's colours, as the bytes of a PNG."""
    axes.set_facecolor("none")
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=theme.ink, labelsize=9, length=0)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=theme.grid)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set(color=theme.ink, fontsize=10)
    axes.legend(frameon=False, fontsize=9, labelcolor=theme.ink)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, transparent=True, metadata={"Software": None})
    return buffer.getvalue()
