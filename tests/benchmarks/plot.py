"""The same as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.results import Row

__all__ = ["plot"]


def plot(rows: Sequence[Row], path: Path) -> None:
    """A bar a row: ours / peer by the clock, with its spread over rounds and its goal; PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 1 + 0.35 * len(rows)), layout="constrained")
    places = range(len(rows))
    axes.barh(places, [row.ratio for row in rows], color="tab:blue", height=0.6, label="ours / peer")
    for place, row in zip(places, rows, strict=True):
        if row.goal and row.goal.of == "ratio":
            axes.plot([row.goal.at_most] * 2, [place - 0.4, place + 0.4], color="tab:red", linewidth=2)
        axes.text(row.ratio, place, f" {row.ratio:.2f}", va="center")
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(places, [f"{row.name} {row.size}" for row in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("ours / peer (median of the rounds' ratios; red: goal)")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
