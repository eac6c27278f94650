"""Charts of forecasts as bytes of PNG files: maps in rows, and histograms of ranks. Drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.evaluation.charts import Theme, empty_axes, encoded


def field_maps(rows: Mapping[str, np.ndarray], frames: Sequence[str], spread: str, theme: Theme) -> bytes:
    """Fields in rows by name, one column a lead time, on one scale; the row `spread` has a scale of its own.

    Args:
        rows: [frames, height, width] each, NaN where a pixel is missing, which is left blank.
        frames: the columns' names.
        spread: the name of the row of spreads.
        theme: the colours.
    """
    figure, axes = empty_axes(len(rows), len(frames), (1.5 * len(frames) + 1.6, 1.5 * len(rows)))
    fields = [row for name, row in rows.items() if name != spread]
    low, high = min(np.nanmin(row) for row in fields), max(np.nanmax(row) for row in fields)
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        scale = (0.0, float(row.max())) if name == spread else (low, high)
        colours = "magma" if name == spread else "viridis"
        for column, (place, field) in enumerate(zip(line, row, strict=True)):
            image = place.imshow(field, vmin=scale[0], vmax=scale[1], cmap=colours, interpolation="nearest")
            place.set(xticks=[], yticks=[])
            place.set_facecolor("none")
            if place in axes[0]:
                place.set_title(frames[column], fontsize=9, color=theme.ink)
        line[0].set_ylabel(name, fontsize=9, color=theme.ink, rotation=0, ha="right", va="center")
        figure.colorbar(image, ax=list(line), shrink=0.8, pad=0.01).ax.tick_params(labelsize=7, colors=theme.ink)
    return encoded(figure)


def rank_chart(counts: Sequence[int], theme: Theme) -> bytes:
    """How often the truth has which rank among the members, over what a flat histogram has."""
    figure, axes = empty_axes(1, 1, (4.2, 3.0))
    place: Any = axes[0][0]
    share = np.asarray(counts) / np.sum(counts) * len(counts)
    place.bar(np.arange(len(counts)), share, width=0.85, color=theme.model)
    place.axhline(1.0, color=theme.ink, linewidth=1.0, linestyle="--")
    place.set(xlabel="members below the truth", ylabel="share over a flat one's")
    place.set_facecolor("none")
    place.tick_params(colors=theme.ink, labelsize=9, length=0)
    for side, spine in place.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=theme.grid)
    for text in (place.xaxis.label, place.yaxis.label):
        text.set(color=theme.ink, fontsize=10)
    return encoded(figure)
