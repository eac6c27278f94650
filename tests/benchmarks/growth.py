"""How time grows with pixels, frames and batch: the slope of log time over log size, ours and the peer's."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tests.benchmarks.results import Row, load
from tests.benchmarks.rounds import CLOCKS, Contestant, Duel, Times, measure_rounds, median_ratio
from tests.benchmarks.session import Session
from tests.benchmarks.sizes import SIZES

__all__ = ["rows", "slopes"]

_BASE = dataclasses.replace(SIZES["S"], name="growth", batch=1)
_AXES = {
    "pixel": [dataclasses.replace(_BASE, pixels=pixels) for pixels in (16, 32, 64)],
    "frame": [dataclasses.replace(_BASE, frames=frames) for frames in (5, 10, 20, 40)],
    "batch": [dataclasses.replace(_BASE, batch=batch) for batch in (1, 2, 4)],
}
_MEASURE = {"pixel": lambda size: size.pixels**2, "frame": lambda size: size.frames, "batch": lambda size: size.batch}
_MODES = {
    "denoiser_call": {"ours": "tensorflow float32", "peer": "float32"},
    "train_step": {"ours": "float32", "peer": "float32"},
}


def rows(session: Session) -> Iterator[Row]:
    """A row an axis and kind of call, in float32."""
    full = session.options.full
    for what in _MODES if full else ("denoiser_call",):
        for axis in _AXES if full else ("pixel", "frame"):
            yield _row(session, what, axis)
            session.forget()


def _row(session: Session, what: str, axis: str) -> Row:
    contestants: list[Contestant] = []
    for system, mode in _MODES[what].items():
        for size in _AXES[axis]:
            keys = session.prepare(system, what, (mode,), size, weights=session.weights(_BASE))
            (contestant,) = session.contestants(system, keys)
            contestants.append(dataclasses.replace(contestant, mode=str(_MEASURE[axis](size))))
    times = measure_rounds(contestants, session.options.rounds)
    duels = {clock: _duel(times, clock, _MODES[what]) for clock in CLOCKS}
    figures = {**dataclasses.asdict(duels["wall"]), "cpu": dataclasses.asdict(duels["cpu"])}
    rounds = session.options.rounds
    return Row(f"{axis}_exponent", what, "exponent", rounds=rounds, modes=times, load=load()[0], **figures)


def _duel(times: Mapping[str, Times], clock: str, modes: Mapping[str, str]) -> Duel:
    ours, peer = (slopes(times[system], clock) for system in ("ours", "peer"))
    medians = statistics.median(ours), statistics.median(peer)
    return Duel(modes["ours"], modes["peer"], *medians, median_ratio(ours, peer))


def slopes(times: Times, clock: str) -> list[float]:
    """The exponent of each round: the least-squares slope of log time over log size; modes are the sizes."""
    measures = np.log([float(measure) for measure in times])
    rounds: Sequence[tuple[float, ...]] = list(zip(*(times[measure][clock] for measure in times), strict=True))
    return [float(np.polyfit(measures, np.log(figures), 1)[0]) for figures in rounds]
