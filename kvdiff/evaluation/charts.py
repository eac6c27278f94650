"""Line charts as bytes of PNG files, drawn by matplotlib without a window, for a light and a dark page."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

Line = tuple[Sequence[float], Sequence[float]]
"""Abscissae and ordinates."""


@dataclasses.dataclass(frozen=True)
class Theme:
    """Colours of a chart, on a transparent ground."""

    ink: str
    grid: str
    model: str
    baseline: str
    third: str


LIGHT = Theme(ink="#333a44", grid="#d9dde3", model="#d9730d", baseline="#6b7685", third="#1f77b4")
DARK = Theme(ink="#cfd5de", grid="#3a404b", model="#f5a04c", baseline="#98a3b3", third="#6cb4ee")


@dataclasses.dataclass(frozen=True)
class LossCurve:
    """The loss of one run: its mean over every epoch of `steps_per_epoch` steps."""

    label: str
    steps_per_epoch: int
    loss: tuple[float, ...]


def loss_lines(curves: Sequence[LossCurve]) -> dict[str, Line]:
    """The lines of a chart of loss over steps, the last run's first; each run goes on where the one before ended."""
    lines: dict[str, Line] = {}
    start = 0
    for curve in curves:
        steps = [start + curve.steps_per_epoch * (epoch + 1) for epoch in range(len(curve.loss))]
        lines = {curve.label: (steps, curve.loss), **lines}
        start = steps[-1]
    return lines


def line_chart(lines: Mapping[str, Line], across: str, up: str, theme: Theme, *, log: bool = False) -> bytes:
    """A PNG of up to three lines by name: the model's, what it is compared with, another of the model's.

    Args:
        lines: by name, for the legend.
        across, up: the axes' labels.
        theme: the colours.
        log: whether the vertical axis is logarithmic.
    """
    figure, ((axes,),) = empty_axes(1, 1, (4.2, 3.0))
    looks = ((theme.model, "o", "-"), (theme.baseline, "s", "--"), (theme.third, "^", "-"))
    for (name, (x, y)), (colour, marker, line) in zip(lines.items(), looks, strict=False):
        axes.plot(x, y, color=colour, marker=marker, linestyle=line, markersize=6 if len(x) <= 10 else 3, label=name)
        if len(x) <= 10 and not log:
            axes.set(xticks=x)
    axes.set(xlabel=across, ylabel=up)
    if log:
        from matplotlib.ticker import FuncFormatter

        axes.set(yscale="log")
        for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            which(FuncFormatter(lambda value, _: f"{value:g}"))  # 0.1 in place of 10⁻¹.
    axes.set_facecolor("none")
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=theme.ink, labelsize=9, length=0)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=theme.grid)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set(color=theme.ink, fontsize=10)
    axes.legend(frameon=False, fontsize=9, labelcolor=theme.ink)
    return encoded(figure)


def empty_axes(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A matplotlib figure of `size` inches and its axes [rows, columns].

    Raises:
        ImportError: no matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Charts need matplotlib: pip install "keras-video-diffusion[demo]"') from error
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def encoded(figure: Any) -> bytes:
    """A figure's PNG, on a transparent ground."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, transparent=True, metadata={"Software": None})
    return buffer.getvalue()
