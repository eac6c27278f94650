"""The table that a terminal shows."""

from __future__ import annotations

from collections.abc import Sequence

from tests.benchmarks.results import Row

__all__ = ["left_out_lines", "table"]

_HEADER = ("what", "size", "ours", "peer", "ratio", "CPU ratio", "goal", "rounds", "load", "modes")


def table(rows: Sequence[Row]) -> str:
    """Rows as aligned text; a ratio is ours / peer."""
    cells = [_HEADER, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def left_out_lines(rows: Sequence[Row]) -> list[str]:
    """A line for each mode that did not run, with the reason."""
    return list(dict.fromkeys(f"left out: {mode}: {why}" for row in rows for mode, why in row.left_out.items()))


def _cells(row: Row) -> tuple[str, ...]:
    cpu = f"{row.cpu['ratio']:.3f}" if row.cpu else ""
    figures = (_figure(row.ours, row.unit), _figure(row.peer, row.unit), f"{row.ratio:.3f}", cpu, _goal(row))
    return row.name, row.size, *figures, str(row.rounds), f"{row.load:.1f}", f"{row.ours_mode} / {row.peer_mode}"


def _figure(value: float, unit: str) -> str:
    if unit == "seconds":
        return f"{value * 1e3:.1f} ms" if value < 10 else f"{value:.1f} s"
    return f"{value:.4g} {unit}"


def _goal(row: Row) -> str:
    """The goal, and whether it is met by the clock."""
    if row.goal is None:
        return ""
    met = getattr(row, row.goal.of) <= row.goal.at_most
    return f"{'' if row.goal.of == 'ratio' else 'ours '}<= {row.goal.at_most:g} {'met' if met else 'MISSED'}"
