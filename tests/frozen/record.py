"""Running the calls, and comparing what they made."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tests.frozen import adapter
from tests.frozen.calls import BOUNDS, CALLS, PUSHED, TABLES, Call, Clip, Numbers

__all__ = ["INTENDED", "NAMES", "arithmetic", "compare", "is_float64", "is_slow", "load", "record", "run"]

INTENDED = adapter.HERE / "intended.json"
"""`{name: reason}`: calls that are meant to differ, and why."""
NAMES: tuple[str, ...] = (*CALLS, *BOUNDS, *PUSHED, *TABLES)
_ARITHMETIC = "arithmetic "  # Begins the names of a record's entries that are of no call.
_TRACES_MUCH = {
    "cascade predicts",
    "cascade rolled along",
    "cascade spatial",
    "keras batches rolled out",
    "keras bfloat16",
    "keras conditions far apart",
    "keras factorised",
    "keras guidance in batches",
    "keras hierarchy_2",
    "keras shifted",
    "keras zero terminal",
    "replacement",
}


def run(name: str) -> np.ndarray:
    """What a call makes."""
    if name in CALLS:
        return _sampled(CALLS[name])
    if name in BOUNDS:
        which, frames, options = BOUNDS[name]
        of = adapter.sampler(which)
        return adapter.bound(of, Clip(frames, uint8=True).made(adapter.frame_shape(of)), **options)
    if name in PUSHED:
        solver, spacing, num_steps, options = PUSHED[name]
        return adapter.pushed_through(solver, spacing, num_steps, **options)
    *columns, options = TABLES[name]
    return adapter.table(*columns, **options)


def _sampled(call: Call) -> np.ndarray:
    of = adapter.sampler(call.sampler)
    shape = adapter.frame_shape(of)
    return adapter.sample(of, call.verb, _made(call.given, shape), call.plan, _made(call.sampling, shape))


def _made(arguments: Mapping[str, Any], frame_shape: tuple[int, int, int]) -> dict[str, Any]:
    """Arguments with the clips and numbers that they describe."""
    return {name: _value(value, frame_shape) for name, value in arguments.items()}


def _value(value: Any, frame_shape: tuple[int, int, int]) -> Any:
    if isinstance(value, (Clip, Numbers)):
        return value.made(frame_shape)
    return _made(value, frame_shape) if isinstance(value, Mapping) else value


def is_float64(name: str) -> bool:
    """Whether a call computes in float64 throughout but for the noise."""
    if name in CALLS:
        return CALLS[name].sampler.startswith("oracle")
    return name not in BOUNDS or BOUNDS[name][0].startswith("oracle")


def is_slow(name: str) -> bool:
    """Whether a call takes seconds: to open a SavedModel, or to trace many shapes of clips."""
    return name in _TRACES_MUCH or (name in CALLS and CALLS[name].sampler.startswith("saved-model"))


def arithmetic() -> dict[str, np.ndarray]:
    """Results that tell one machine's arithmetic from another's: noise in float32, linear algebra in float64."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((10, 10))
    values, vectors = np.linalg.eigh(matrix @ matrix.T)
    return {
        f"{_ARITHMETIC}noise": adapter.noise(500),
        f"{_ARITHMETIC}linear algebra": np.concatenate([values, vectors.ravel(), (matrix @ vectors).ravel()]),
        f"{_ARITHMETIC}functions": np.stack([f(np.linspace(0.1, 9.0, 99)) for f in (np.log, np.exp, np.sin, np.sqrt)]),
    }


def record(path: pathlib.Path, names: Iterable[str] = NAMES, say: Callable[[str], None] = print) -> None:
    """Run calls and keep all they made in one file. A call that fails is said, and left out."""
    made: dict[str, np.ndarray] = arithmetic()
    for name in names:
        try:
            made[name] = run(name)
        except Exception as error:
            say(f"failed: {name}: {type(error).__name__}: {error}")
    np.savez_compressed(path, **made)
    say(f"{len(made) - len(arithmetic())} calls in {path}")


def load(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of a record by name."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def compare(before: pathlib.Path, after: pathlib.Path, intended: Mapping[str, str] | None = None) -> list[str]:
    """What differs between two records, a line each, largest difference first; empty where nothing does.

    Bit for bit, dtype and sign of zero included. Intended differences are marked, and those that no longer differ said.
    """
    intended = json.loads(INTENDED.read_text()) if intended is None else intended
    first, second = load(before), load(after)
    found: list[tuple[float, str, str]] = []
    for name in {**first, **second}:
        if name not in first or name not in second:
            found.append((np.inf, name, f"only in {before if name in first else after}"))
        elif (size := _difference(first[name], second[name])) is not None:
            found.append((size[0], name, size[1]))
    lines = [
        f"{'intended' if name in intended else 'DIFFERS'}: {name}: {what}"
        + (f" (meant: {intended[name]})" if name in intended else "")
        for _, name, what in sorted(found, key=lambda entry: -entry[0])
    ]
    same = sorted(set(intended) - {name for _, name, _ in found})
    return lines + [f"NO LONGER: {name}: meant to differ ({intended[name]}), and does not" for name in same]


def _difference(a: np.ndarray, b: np.ndarray) -> tuple[float, str] | None:
    """None for equal bits, else (how much, the same in words)."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return np.inf, f"{a.dtype} {list(a.shape)} became {b.dtype} {list(b.shape)}"
    if a.tobytes() == b.tobytes():
        return None
    gap = np.abs(a.astype(np.float64) - b.astype(np.float64))
    share = float((a != b).mean())
    if alone := int((np.isnan(a) != np.isnan(b)).sum()):
        return np.inf, f"{alone} values are NaN in one alone"
    return float(np.nanmax(gap)), f"at most {np.nanmax(gap):.3g}, {share:.1%} of {a.size} values"
