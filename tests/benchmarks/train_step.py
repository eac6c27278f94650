"""A training step: forward, backward and Adam, on new clips."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.parity import check_parity
from tests.benchmarks.results import Row, compared
from tests.benchmarks.rounds import measure_rounds
from tests.benchmarks.session import Session
from tests.benchmarks.sizes import SIZES, Size

__all__ = ["rows"]

_MODES = ("float32", "bfloat16")


def rows(session: Session) -> Iterator[Row]:
    """A row a size; answers, loss and gradients are compared with the peer's first."""
    for name in session.options.sizes or (("S", "M", "L") if session.options.full else ("S",)):
        yield _row(session, SIZES[name])
        session.forget()


def _row(session: Session, size: Size) -> Row:
    weights = session.weights(size)
    keys = {system: session.prepare(system, "train_step", _MODES, size, weights=weights) for system in ("ours", "peer")}
    parity = session.parity(size, keys["ours"])
    parity["gradients"] = _gradients(session, size)
    contestants = [one for system in keys for one in session.contestants(system, keys[system])]
    return compared("train_step", size.name, measure_rounds(contestants, session.options.rounds), parity=parity)


def _gradients(session: Session, size: Size) -> dict[str, float]:
    """The relative differences of loss and gradient norm in float32: the backward pass is the peer's too."""
    folder, _ = session.reference(size)
    found = session.worker("ours").ask("compare_gradients", mode="float32", size=size.sent(), folder=folder)
    check_parity("float32 gradients", found)
    return found
