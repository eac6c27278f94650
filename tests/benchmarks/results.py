"""The rows of a result, and the JSON file that keeps them with the machine, the versions and the load."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.goals import Goal, goal_of
from tests.benchmarks.rounds import CLOCKS, Times, duel

__all__ = ["RESULTS", "Row", "check_document", "compared", "load", "write_document"]

RESULTS = Path(__file__).parent / "results"
_FIELDS = {"name": str, "size": str, "unit": str, "ours": float, "peer": float, "ratio": float, "rounds": int}


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: what was measured, e.g. "train_step".
        size: at which size.
        unit: of `ours` and `peer`; lower is better unless it is a rate ("… a second").
        ours, peer: medians of each system's best mode, by the clock where that is time.
        ratio: the median over rounds of ours / peer.
        rounds: how many.
        ours_mode, peer_mode: the best modes; "peer" is what we compare with, which may be a mode of ours.
        cpu: the same five figures for processor time.
        modes: every figure: by system, mode and clock, one a round.
        parity: how far the answers that were timed lie from the peer's.
        floor: the least seconds that the device allows, and what that follows from.
        left_out: modes that do not run, and why.
        load: of the machine, in the minute before the row was done.
    """

    name: str
    size: str
    unit: str
    ours: float
    peer: float
    ratio: float
    rounds: int
    ours_mode: str = ""
    peer_mode: str = ""
    cpu: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    modes: Mapping[str, Times] = dataclasses.field(default_factory=dict)
    parity: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    floor: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    load: float = 0.0

    @property
    def goal(self) -> Goal | None:
        """What this row should reach, if anything was promised."""
        return goal_of(self.name, self.size)

    def document(self) -> dict[str, Any]:
        """For JSON."""
        goal = self.goal
        return {**dataclasses.asdict(self), "goal": dataclasses.asdict(goal) if goal else None}


def compared(
    name: str,
    size: str,
    times: Mapping[str, Times],
    *,
    unit: str = "seconds",
    clocks: tuple[str, str] = CLOCKS,
    **fields: Any,
) -> Row:
    """The row of measured `times`, by system; `clocks` are the figures to take as wall and CPU time."""
    wall, cpu = (duel(times["ours"], times["peer"], clock) for clock in clocks)
    rounds = len(next(iter(times["ours"].values()))[clocks[0]])
    figures = dataclasses.asdict(wall)
    found = {"cpu": dataclasses.asdict(cpu), "modes": times, "load": load()[0], **fields}
    return Row(name, size, unit, rounds=rounds, **figures, **found)


def load() -> list[float]:
    """The machine's load over 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def write_document(path: Path, rows: Iterable[Row], about: Mapping[str, Any]) -> None:
    """Write `{**about, "rows": …}`, where `about` has machine, versions and load."""
    document = {**about, "rows": [row.document() for row in rows]}
    check_document(document)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_rounded(document), indent=1) + "\n")


def check_document(document: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless `document` is what a results file holds."""
    for key, kind in (("machine", dict), ("versions", dict), ("load", (list, dict)), ("rows", list)):
        if not isinstance(document.get(key), kind):
            raise ValueError(f"`{key}`: expected {kind}. Received: {document.get(key)!r}")
    for row in document["rows"]:
        for field, kind in _FIELDS.items():
            if not isinstance(row.get(field), (int, float) if kind is float else kind):
                raise ValueError(f"`rows`: expected {field} of {kind.__name__}. Received: {row.get(field)!r} in {row}")
        if row["rounds"] < 1:
            raise ValueError(f"`rows`: expected rounds >= 1. Received: {row}")


def _rounded(value: Any) -> Any:
    """Six digits are more than a clock is worth."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value
