"""What is measured on a GPU, and how it compares with the least time that the device allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.costs import floor_seconds
from tests.benchmarks.parity import check_parity
from tests.benchmarks.results import Row, compared
from tests.benchmarks.rounds import Contestant, measure_rounds
from tests.benchmarks.session import Session
from tests.benchmarks.sizes import Size
from tests.benchmarks.workers import WorkerError, last_line

__all__ = ["Device", "rows", "systems_of"]

_OURS = ("float32", "bfloat16")
_COMPILED = ("float32 compiled", "bfloat16 compiled")
_ONNX = ("float32", "tf32", "float16")
_NO_MEMORY = ("out of memory", "RESOURCE_EXHAUSTED", "Failed to allocate memory")
_ADAM_BYTES = 7 * 4  # A parameter's: read weight, gradient and two moments, write weight and moments; float32.


@dataclasses.dataclass(frozen=True)
class Device:
    """Where and what to measure.

    Attributes:
        session: with the workers of the device.
        size: at which to measure.
        folder: of weights.safetensors and the ONNX files.
        peaks: {"flops", "bytes"} a second.
    """

    session: Session
    size: Size
    folder: Path
    peaks: Mapping[str, Any]

    @property
    def single(self) -> Size:
        """The size with a batch of 1, at which answers and gradients are compared."""
        return dataclasses.replace(self.size, batch=1)

    @property
    def weights(self) -> str:
        """The file of the weights that every system has."""
        return str(self.folder / "weights.safetensors")


def systems_of(*, onnxruntime: bool = True, compiled: bool = True) -> dict[str, tuple[str, ...]]:
    """The modes of each system."""
    peer = (*_OURS, *_COMPILED) if compiled else _OURS
    return {"ours": _OURS, **({"onnxruntime": _ONNX} if onnxruntime else {}), "peer": peer}


def rows(device: Device, systems: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """A training step and a call of the denoiser, each of our systems against the peer."""
    device.session.reference(device.single, weights=device.weights)
    training = {system: modes for system, modes in systems.items() if system != "onnxruntime"}
    yield from _rows(device, "train_step", training, _gradients(device))
    yield from _rows(device, "denoiser_call", systems, {})


def _gradients(device: Device) -> dict[str, Any]:
    """The relative differences of loss and gradient norm from the peer's."""
    folder, _ = device.session.reference(device.single)
    ask = device.session.worker("ours").ask
    found = ask("compare_gradients", mode="float32", size=device.single.sent(), folder=folder)
    check_parity("float32 gradients", found)
    return {"gradients": found}


def _rows(device: Device, what: str, systems: Mapping[str, Sequence[str]], parity: dict[str, Any]) -> Iterator[Row]:
    contestants: list[Contestant] = []
    left_out: dict[str, str] = {}
    for system, modes in systems.items():
        for mode in modes:
            _enter(device, what, system, mode, contestants, left_out, parity)
    times = measure_rounds(contestants, device.session.options.rounds)
    floor = _floor(device, what)
    for system in systems:
        if system != "peer" and system in times:
            pair = {"ours": times[system], "peer": times["peer"]}
            name = what if system == "ours" else f"{what} {system}"
            yield compared(name, device.size.name, pair, parity=parity, floor=floor, left_out=left_out)
    device.session.forget()


def _enter(
    device: Device,
    what: str,
    system: str,
    mode: str,
    contestants: list[Contestant],
    left_out: dict[str, str],
    parity: dict[str, Any],
) -> None:
    """Prepare a mode, compare its answers and run it once; where it cannot run here, say why in `left_out`."""
    session = device.session
    given = {"folder": str(device.folder)} if system == "onnxruntime" else {"weights": device.weights}
    try:
        keys = session.prepare(system, what, (mode,), device.size, **given)
        (contestant,) = session.contestants(system, keys)
        if system != "peer":
            found = session.parity(device.single, keys, system)
            parity.setdefault(system, {}).update(found[system])
            parity["peer"] = found["peer"]
        contestant.measure()
    except WorkerError as error:
        # Not every PyTorch can compile, and not every GPU holds every mode.
        if "compiled" not in mode.split() and not any(words in str(error) for words in _NO_MEMORY):
            raise
        left_out[f"{system} {mode}"] = last_line(error)
        return
    contestants.append(contestant)


def _floor(device: Device, what: str) -> dict[str, float]:
    """The least seconds in bfloat16, from the FLOPs and bytes of each convolution and matrix product."""
    ask = device.session.worker("peer").ask
    operations = ask("cost", what=what, size=device.size.sent())
    extra = _ADAM_BYTES * ask("parameters", size=device.size.sent()) if what == "train_step" else 0
    return {
        "seconds": floor_seconds(operations, device.peaks, extra_bytes=extra),
        "flops": sum(flops for flops, _ in operations),
        "bytes": 2 * sum(elements for _, elements in operations) + extra,
    }
