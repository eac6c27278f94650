"""The comparison that every export must pass."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import Linear, Pixels, Unbounded
from kvdiff.export.parity import Case, ParityError, cases, check_parity, measure, sample_differences
from kvdiff.runtime.ort import ONNX


def test_cases_vary_every_dynamic_axis() -> None:
    shapes = cases((8, 16, 24, 3), [True] * 4)
    assert shapes[0] == (1, 8, 16, 24)
    assert all(len(set(axis)) > 1 for axis in zip(*shapes, strict=True))


def test_fixed_axes_keep_their_trained_size() -> None:
    assert cases((8, 16, 24, 3), [True, False, False, False]) == [(1, 8, 16, 24), (2, 8, 16, 24), (5, 8, 16, 24)]


def test_measure_finds_the_largest_difference() -> None:
    def network(noisy_clip: np.ndarray, noise_label: np.ndarray) -> np.ndarray:
        assert noise_label.shape == noisy_clip.shape[:2]
        assert noise_label.min() == 0.0 and 0.5 < noise_label.max() <= 1.0
        return np.full_like(noisy_clip, -4.0)

    def off_at_one_value(noisy_clip: np.ndarray, noise_label: np.ndarray) -> np.ndarray:
        out = network(noisy_clip, noise_label)
        out[-1, 0, 1, 1, 2] += 0.5
        return out

    assert measure(network, off_at_one_value, [(2, 3, 4, 5)], 3) == [Case(2, 3, 4, 5, 0.5, 4.0)]


@pytest.mark.parametrize(
    ("difference", "scale", "passes"),
    [(2.9e-5, 1.0, True), (3.1e-5, 1.0, False), (2.9e-4, 10.0, True), (3.1e-4, 10.0, False), (3.1e-5, 0.1, False)],
)
def test_the_bound_is_relative_to_outputs_above_one(difference: float, scale: float, passes: bool) -> None:
    measured = [Case(1, 4, 8, 8, 0.0, 1.0), Case(2, 4, 8, 8, difference, scale)]
    if passes:
        assert check_parity(measured, ONNX.tolerance)["max_relative_difference"] == pytest.approx(difference / scale)
    else:
        with pytest.raises(ParityError, match="Received: batch 2, frames 4, height 8, width 8"):
            check_parity(measured, ONNX.tolerance)


def test_nan_fails() -> None:
    with pytest.raises(ParityError, match="nan"):
        check_parity([Case(1, 4, 8, 8, np.nan, np.nan)], np.inf)


def test_samples_are_compared_as_x_0() -> None:
    found, expected = np.float32([0.0, 30.0, 10.0]), np.float32([0.0, 20.0, 12.0])
    np.testing.assert_allclose(sample_differences(Linear(0.0, 40.0), found, expected), [0.0, 0.5, -0.1], atol=1e-6)
    np.testing.assert_allclose(sample_differences(Unbounded(), found, expected), [0.0, 0.5, -0.1])  # Of at most 20.
    small = sample_differences(Unbounded(), np.float32([0.3]), np.float32([0.1]))
    np.testing.assert_allclose(small, sample_differences(Pixels(), np.float32([0.3]), np.float32([0.1])))
    np.testing.assert_allclose(small, 0.2, atol=1e-6)
    assert np.isnan(sample_differences(Unbounded(), np.float32([np.nan]), np.float32([1.0]))).all()
