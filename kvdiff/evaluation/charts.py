"""Line charts as bytes of PNG files, drawn by matplotlib without a window, for a light and a dark page."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["DARK", "LIGHT", "Theme", "blank_figure", "finished_png", "frame_curves"]


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


def frame_curves(frames: Sequence[int], curves: Mapping[str, Sequence[float]], label: str, theme: Theme) -> bytes:
    """A PNG of up to three curves over a clip's frames.

    Args:
        frames: the frames' numbers, from 1 as in the clip.
        curves: one value a frame, by name: the model's, what it is compared with, another of the model's.
        label: of the vertical axis.
        theme: its colours.
    """
    figure, axes = blank_figure()
    looks = ((theme.model, "o", "-"), (theme.baseline, "s", "--"), (theme.third, "^", "-"))
    for (name, values), (colour, marker, line) in zip(curves.items(), looks, strict=False):
        axes.plot(frames, values, color=colour, marker=marker, linestyle=line, label=name)
    axes.set(xlabel="frame", ylabel=label)
    if len(frames) <= 10:
        axes.set(xticks=frames)
    return finished_png(figure, axes, theme)


def blank_figure() -> tuple[Any, Any]:
    """A matplotlib figure without a window, and its axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Charts need matplotlib: pip install "keras-video-diffusion[demo]"') from error
    figure = Figure(figsize=(4.2, 3.0), layout="constrained")
    return figure, figure.subplots()


def finished_png(figure: Any, axes: Any, theme: Theme) -> bytes:
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
