"""Round-robin timing: in every round each contestant is measured once, and ratios are taken within a round.

Whatever slows the machine for a while slows all of a round, so the median of the rounds' ratios is steadier than a
ratio of medians, let alone of times taken one after the other.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

__all__ = ["CLOCKS", "Contestant", "Duel", "Times", "duel", "fastest", "measure_rounds", "median_ratio", "rotated"]

CLOCKS = ("wall", "cpu")

Item = TypeVar("Item")
Times = dict[str, dict[str, list[float]]]
"""Of each mode, for each clock (or whatever is measured), a figure a round."""


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One mode of one system; `measure` runs it once and gives a figure for each of `CLOCKS`, or more."""

    system: str
    mode: str
    measure: Callable[[], Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Duel:
    """The best mode of each of two systems, and the median of their ratio."""

    ours_mode: str
    peer_mode: str
    ours: float
    peer: float
    ratio: float


def rotated(items: Sequence[Item], number: int) -> list[Item]:
    """`items` in the order of round `number`: everyone is first in turn."""
    start = number % len(items) if items else 0
    return [*items[start:], *items[:start]]


def measure_rounds(contestants: Sequence[Contestant], rounds: int, *, warm_ups: int = 1) -> dict[str, Times]:
    """The times of each system: `rounds` figures a mode and clock, after `warm_ups` that do not count."""
    for contestant in contestants:
        for _ in range(warm_ups):
            contestant.measure()
    times: dict[str, Times] = {}
    for contestant in contestants:
        times.setdefault(contestant.system, {})[contestant.mode] = {}
    for number in range(rounds):
        for contestant in rotated(contestants, number):
            for clock, figure in contestant.measure().items():
                times[contestant.system][contestant.mode].setdefault(clock, []).append(figure)
    return times


def median_ratio(ours: Sequence[float], peer: Sequence[float]) -> float:
    """The median over rounds of `ours` / `peer`."""
    return statistics.median(a / b for a, b in zip(ours, peer, strict=True))


def fastest(times: Times, clock: str) -> str:
    """The mode of the smallest median."""
    return min(times, key=lambda mode: statistics.median(times[mode][clock]))


def duel(ours: Times, peer: Times, clock: str) -> Duel:
    """Compare the best mode of each on one clock."""
    a, b = fastest(ours, clock), fastest(peer, clock)
    a_times, b_times = ours[a][clock], peer[b][clock]
    medians = statistics.median(a_times), statistics.median(b_times)
    return Duel(a, b, *medians, median_ratio(a_times, b_times))
