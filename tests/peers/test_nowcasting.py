"""The baselines by pysteps: extrapolation follows a motion as persistence does not, STEPS is an ensemble around it."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.evaluation.ensembles import spread_skill
from kvdiff.evaluation.nowcasting import extrapolation, installed_baselines, persistence, steps

pytestmark = pytest.mark.peers
pytest.importorskip("pysteps")
pytest.importorskip("cv2")


def carried(frames: int, size: int = 64) -> np.ndarray:
    """Smooth blobs that move by (1, 2) pixels a frame: float32 [1, frames, size, size, 1]."""
    y, x = np.indices((size, size)).astype(float)
    rng = np.random.default_rng(3)
    centres, widths = rng.uniform(5, size - 5, (14, 2)), rng.uniform(3, 7, 14)
    fields = [
        sum(
            10.0 * np.exp(-((y - cy - t) ** 2 + (x - cx - 2 * t) ** 2) / (2 * width**2))
            for (cy, cx), width in zip(centres, widths, strict=True)
        )
        for t in range(frames)
    ]
    return np.stack(fields)[None, ..., None].astype(np.float32)


def test_extrapolation_follows_the_motion() -> None:
    clips = carried(9)
    past, truth = clips[:, :6], clips[:, 6:]
    inside = (slice(None), slice(None), slice(None), slice(8, -8), slice(8, -8))  # What flows in is not known.
    errors = [
        np.abs(made[inside] - truth[inside[1:]]).mean() for made in (extrapolation(past, 3), persistence(past, 3))
    ]
    assert errors[0] < 0.35 * errors[1]


def test_steps_is_an_ensemble_that_can_be_made_again() -> None:
    clips = carried(9)
    past, truth = clips[:, :6], clips[:, 6:]
    made = steps(past, 3, 4, seed=5)
    assert made.shape == (4, 1, 3, 64, 64, 1) and np.isfinite(made).all()
    np.testing.assert_array_equal(made, steps(past, 3, 4, seed=5))
    inside = (slice(None), slice(None), slice(8, -8), slice(8, -8))
    spread, error = spread_skill(made[(slice(None), *inside)], truth[inside])
    assert spread > 0.01  # Members differ, though so smooth a field is told almost without doubt.
    assert error < 0.5 * np.sqrt(np.square(persistence(past, 3)[0] - truth)[inside].mean())


def test_what_is_installed_is_said() -> None:
    assert installed_baselines((64, 64, 1)) == ["persistence", "extrapolation", "steps"]
    assert installed_baselines((16, 64, 1)) == ["persistence", "extrapolation"]
