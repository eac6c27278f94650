"""The curve of a training's loss, as bytes of a PNG file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from kvdiff.evaluation.charts import LIGHT, Theme, blank_figure, finished_png

__all__ = ["LossCurve", "loss_curve"]


@dataclasses.dataclass(frozen=True)
class LossCurve:
    """The loss of one run: its mean over every epoch of `steps_per_epoch` steps."""

    label: str
    steps_per_epoch: int
    loss: tuple[float, ...]


def loss_curve(curves: Sequence[LossCurve], theme: Theme = LIGHT) -> bytes:
    """A PNG of the training loss over steps; later runs go on where the earlier ones ended."""
    figure, axes = blank_figure()
    start = 0
    for curve, colour in zip(curves, (theme.baseline, theme.model)[-len(curves) :], strict=True):
        steps = start + curve.steps_per_epoch * np.arange(1, len(curve.loss) + 1)
        axes.plot(steps, curve.loss, color=colour, marker="o", markersize=3, label=curve.label)
        start = int(steps[-1])
    axes.set(xlabel="training step", ylabel="loss (mean square)", yscale="log")
    _plain_ticks(axes)
    return finished_png(figure, axes, theme)


def _plain_ticks(axes: Any) -> None:
    """0.1 in place of 10⁻¹ on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter

    for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        which(FuncFormatter(lambda value, _: f"{value:g}"))
