"""Drawings of plans and tables, as SVG that a notebook shows; each is a text, and needs no library."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

_COLOURS = {"#": "#2f6fde", "o": "#8a93a3", "~": "#b9cdf5", "·": "#eef0f3"}
_WORDS = {"#": "generated", "o": "known", "~": "noisy, only seen"}
_MOST = 100  # Rows that are drawn.
_STYLE = 'font-family="sans-serif" font-size="12"'


def drawn_cells(title: str, rows: Sequence[str]) -> str:
    """Rows of signs as coloured squares, with what each colour means below; beyond 100 rows a line says how many."""
    shown, length = rows[:_MOST], max(map(len, rows), default=0)
    side = max(min(14, 900 // max(length, 1)), 3)
    cells = "".join(
        f'<rect x="{column * side}" y="{24 + row * side}" {_square(side - 1, sign)}/>'
        for row, line in enumerate(shown)
        for column, sign in enumerate(line)
    )
    below = 40 + side * len(shown)
    present = [sign for sign in _WORDS if any(sign in line for line in shown)]
    legend = "".join(
        f'<rect x="{150 * place}" y="{below - 9}" {_square(10, sign)}/>'
        f'<text x="{150 * place + 15}" y="{below}">{_WORDS[sign]}</text>'
        for place, sign in enumerate(present)
    )
    more = f" ({len(shown)} of {len(rows)} windows are drawn)" if len(rows) > len(shown) else ""
    return _svg(max(length * side, 560), below + 8, f'<text y="14">{html.escape(title + more)}</text>{cells}{legend}')


def drawn_levels(title: str, noise: np.ndarray) -> str:
    """Noise levels between 0 and 1, [rows + 1, lines], as lines from the first row to the last."""
    width, height = 480, 160
    across = np.linspace(0, width, len(noise))
    lines = "".join(
        f'<polyline fill="none" stroke="{_COLOURS["#"]}" points="{" ".join(_points(across, levels, height))}"/>'
        for levels in noise.T
    )
    dots = "".join(
        f'<circle r="2.5" fill="{_COLOURS["#"]}" cx="{x}" cy="{y}"/>'
        for x, y in (point.split(",") for point in _points(across, noise[:, 0], height))
    )
    frame = f'<rect y="24" width="{width}" height="{height}" fill="none" stroke="{_COLOURS["·"]}"/>'
    axis = f'<text y="{height + 42}">share of noise: 1 above, 0 below; from the first network call to the last</text>'
    return _svg(width + 4, height + 50, f'<text y="14">{html.escape(title)}</text>{frame}{lines}{dots}{axis}')


def _square(side: int, sign: str) -> str:
    return f'width="{side}" height="{side}" fill="{_COLOURS[sign]}"'


def _points(across: np.ndarray, levels: np.ndarray, height: int) -> list[str]:
    return [f"{x:.1f},{24 + height * (1.0 - level):.1f}" for x, level in zip(across, levels, strict=True)]


def _svg(width: int, height: int, content: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" {_STYLE}>{content}</svg>'
