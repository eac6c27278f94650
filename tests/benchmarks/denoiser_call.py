"""One call of the denoiser: our runtimes against the peer's best mode, and against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.benchmarks.networks import DEFAULT, PEERS
from tests.benchmarks.parity import check_parity
from tests.benchmarks.results import Row, compared
from tests.benchmarks.rounds import Times, measure_rounds
from tests.benchmarks.session import Session
from tests.benchmarks.sizes import SIZES, Size

__all__ = ["rows", "runtime_rows"]

_PEER = ("float32", "bfloat16")
_ALIKE = ("tensorflow float32", "tensorflow bfloat16", "onnxruntime float32")
_ALIKE_TOO = ("xla float32", "litert float32")
_OTHERS = ("tensorflow bfloat16", "onnxruntime float32", *_ALIKE_TOO)
_LOWERED = ("onnxruntime float16", "onnxruntime int8", "litert float16", "litert int8")
_BASE = "tensorflow float32"


def rows(session: Session) -> Iterator[Row]:
    """Our best like-for-like mode against the peer's best, at each size; and ONNX Runtime against TensorFlow."""
    full = session.options.full
    for name in session.options.sizes or (("S", "M", "L") if full else ("S",)):
        row = _against_the_peer(session, SIZES[name], _ALIKE_TOO if full else ())
        yield row
        yield _between("onnxruntime_vs_tensorflow", name, row.modes["ours"], "onnxruntime float32")
        session.forget()


def _against_the_peer(session: Session, size: Size, others: Sequence[str]) -> Row:
    """Like-for-like modes against the peer's; of `others` those that run."""
    weights = session.weights(size)
    ours = session.prepare("ours", "denoiser_call", _ALIKE, size, weights=weights)
    more, left_out = session.prepare_what_runs("ours", "denoiser_call", others, size, weights=weights)
    peer = session.prepare("peer", "denoiser_call", _PEER, size, weights=weights)
    parity = session.parity(size, ours | more)
    contestants = [*session.contestants("ours", ours | more), *session.contestants("peer", peer)]
    times = measure_rounds(contestants, session.options.rounds)
    return compared("denoiser_call", size.name, times, parity=parity, left_out=left_out)


def runtime_rows(session: Session) -> Iterator[Row]:
    """Each runtime and precision against the TensorFlow graph in float32: the peer's network, and the default one."""
    for name in session.options.sizes or ("S",):
        for network in (PEERS, DEFAULT):
            yield from _rows_between(session, SIZES[name], network)
            session.forget()


def _rows_between(session: Session, size: Size, network: str) -> Iterator[Row]:
    weights = session.weights(size) if network == PEERS else None
    options = {"network": network, "weights": weights}
    keys = session.prepare("ours", "denoiser_call", (_BASE,), size, **options)
    more, left_out = session.prepare_what_runs("ours", "denoiser_call", (*_OTHERS, *_LOWERED), size, **options)
    differences = _differences(session, size, keys | more)
    times = measure_rounds(session.contestants("ours", keys | more), session.options.rounds)["ours"]
    for mode in more:
        parity = {"ours": differences[mode]}
        yield _between(f"{network} {mode}", size.name, times, mode, parity=parity, left_out=left_out)


def _differences(session: Session, size: Size, keys: dict[str, str]) -> dict[str, dict[str, float]]:
    """How far each mode's answer lies from the base's; `ParityError` where a float32 one lies too far."""
    ask, found = session.worker("ours").ask, {}
    for mode, key in keys.items():
        found[mode] = ask("compare_keys", key=key, other=keys[_BASE], size=size.sent())
        if "int8" not in mode:  # Its rounding is reported, not judged.
            check_parity(mode, found[mode])
    return found


def _between(name: str, size: str, times: Times, mode: str, **fields: object) -> Row:
    """One of our modes against the TensorFlow graph in float32."""
    return compared(name, size, {"ours": {mode: times[mode]}, "peer": {_BASE: times[_BASE]}}, **fields)
