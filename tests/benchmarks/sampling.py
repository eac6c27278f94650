"""Clips from noise, end to end, at equal steps: ancestral sampling, ours and the peer's own loop."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.results import Row, compared
from tests.benchmarks.rounds import measure_rounds
from tests.benchmarks.session import Session
from tests.benchmarks.sizes import SIZES

__all__ = ["rows"]

_STEPS = 10
_MODES = {
    "ours": ("tensorflow float32", "tensorflow bfloat16", "onnxruntime float32"),
    "peer": ("float32", "bfloat16"),
}


def rows(session: Session) -> Iterator[Row]:
    """A row a size. The networks are those whose answers `denoiser_call` compares."""
    for name in session.options.sizes or (("S", "M", "L") if session.options.full else ("S",)):
        size = SIZES[name]
        weights = session.weights(size)
        contestants = []
        for system, modes in _MODES.items():
            keys = session.prepare(system, "sampling", modes, size, num_steps=_STEPS, weights=weights)
            contestants += session.contestants(system, keys)
        times = measure_rounds(contestants, session.options.processes)
        yield compared(f"sampling_{_STEPS}_steps", name, times)
        session.forget()
