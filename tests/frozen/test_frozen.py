"""Sampling makes what it made before: every call of `calls` against `recorded.npz`.

The float64 calls are compared bit for bit on a machine of the same arithmetic. Elsewhere they cannot be: their noise is
float32 by definition, and its logarithms and cosines differ in the last bit from one instruction set to another
(2.4e-7, measured with AVX switched off, which moves clips by up to 1e-7 and bits by up to 7e-7); and LAPACK adds up in
another order (1.5e-13 measured). So the record holds examples of both, and what agrees with them must agree exactly.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from tests.frozen import adapter
from tests.frozen.calls import CALLS
from tests.frozen.record import NAMES, arithmetic, compare, is_float64, is_slow, load, run

RECORDED = load(adapter.HERE / "recorded.npz")
FLOAT64 = [name for name in NAMES if is_float64(name)]
FLOAT32 = [pytest.param(name, marks=[pytest.mark.slow] * is_slow(name)) for name in NAMES if not is_float64(name)]

# Absolute, of pixels in [-1, 1] and bits: twice or more what was measured (in brackets) to change with sums in another
# order, oneDNN off, or, for exported files, with known frames moved by 1e-6. Else at most 4e-6 was.
TOLERANCE = 1e-5
LOOSER = {
    "keras heun": 2e-5,  # Small noise from large: (4e-6).
    "keras edm": 2e-5,  # (8e-6; 1.5e-5 with other weights)
    "keras edm levels": 2e-5,  # (8e-6)
    "saved model too many calls": 5e-5,  # Heun's method: (1.1e-5).
    "keras factorised": 2e-4,  # eps at alpha near 0: (5e-5).
    "keras float16": 5e-3,  # (7e-4)
    "keras bfloat16": 5e-2,  # (1.4e-2)
    "onnx float16": 5e-3,  # (0, but other processors compute in float16 where this one did not)
    "onnx int8": 5e-2,  # (0; a last bit may become a level of 256 all the same)
    "litert int8": 5e-2,  # (1.4e-2)
}


@pytest.fixture(scope="module")
def float64_tolerance() -> float:
    same = {name.split()[1]: np.array_equal(value, RECORDED[name]) for name, value in arithmetic().items()}
    if not same["noise"]:
        return 2e-6
    return 0.0 if all(same.values()) else 1e-11


@pytest.mark.parametrize("name", FLOAT64)
def test_float64(name: str, float64_tolerance: float) -> None:
    made, expected = run(name), RECORDED[name]
    assert made.dtype == expected.dtype == np.float64
    if float64_tolerance:
        np.testing.assert_allclose(made, expected, rtol=float64_tolerance, atol=float64_tolerance)
    else:
        np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("name", FLOAT32)
def test_float32(name: str) -> None:
    made, expected = run(name), RECORDED[name]
    assert made.dtype == expected.dtype
    np.testing.assert_allclose(made, expected, rtol=0, atol=LOOSER.get(name, TOLERANCE))


def test_every_call_names_what_may_change() -> None:
    options, plain = adapter.solver_options(), {"whole", "frame_rate"}
    assert {call.solver for call in CALLS.values()} == set(options)
    for name, call in CALLS.items():
        missing = set(options[call.solver]) - set(call.more)
        assert not missing and call.num_steps and call.spacing is not None, name
        assert (call.plan in plain) == (call.verb != "rollout") and (call.plan in plain or "window=" in call.plan), name


def test_the_record_is_of_these_calls() -> None:
    assert set(RECORDED) == {*NAMES, *arithmetic()}


def test_comparing_tells_what_differs(tmp_path: pathlib.Path) -> None:
    one = {"same": np.zeros(3), "sign": np.zeros(3), "value": np.ones(4), "gone": np.ones(1), "type": np.ones(2)}
    two = {"same": np.zeros(3), "sign": -np.zeros(3), "value": np.array([1, 1, 1.5, 1]), "type": np.ones(2, np.float32)}
    for name, arrays in (("a", one), ("b", two)):
        np.savez(tmp_path / name, **arrays)
    a, b = tmp_path / "a.npz", tmp_path / "b.npz"
    assert compare(a, a, {}) == []
    lines = compare(a, b, {"value": "because", "same": "not any more"})
    assert any(line.startswith("DIFFERS: gone: only in") for line in lines)
    assert any(line.startswith("DIFFERS: sign: at most 0, ") for line in lines)
    assert any(line.startswith("DIFFERS: type: float64 [2] became float32 [2]") for line in lines)
    assert "intended: value: at most 0.5, 25.0% of 4 values (meant: because)" in lines
    assert lines[-1].startswith("NO LONGER: same: ") and len(lines) == 5
