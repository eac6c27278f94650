"""The row of a known frame: clean, or at the level whose noise label is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import Prediction
from kvdiff.diffusion.process.predictions import PREDICTIONS
from kvdiff.diffusion.solvers.rows import KnownLevel
from tests.diffusion.helpers import schedule

LABEL = 0.2
COS, SIN = np.cos(LABEL * np.pi / 2), np.sin(LABEL * np.pi / 2)
LEVELS = {"cosine": (COS, SIN), "karras": (1.0, SIN / COS), "flow": (COS / (COS + SIN), SIN / (COS + SIN))}


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("path", LEVELS)
def test_a_known_frame_is_at_the_angle_of_its_label_on_the_schedules_path(path: str, prediction: str) -> None:
    of, (alpha, sigma) = Prediction(prediction), LEVELS[path]
    level = KnownLevel.of(schedule(path, 50), of, LABEL)
    assert (level.alpha, level.sigma, level.c_noise) == pytest.approx((alpha, sigma, LABEL), rel=1e-12)
    row = of.preconditioning(alpha, sigma)
    expected = [float(getattr(row, name)) for name in ("c_in", "c_skip", "c_out")]
    assert [level.c_in, level.c_skip, level.c_out] == pytest.approx(expected, rel=1e-12)


def test_label_zero_is_clean_and_goes_in_as_it_is() -> None:
    for prediction in PREDICTIONS:
        assert KnownLevel.of(schedule("karras", 50), Prediction(prediction), 0.0) == KnownLevel(1, 0, 1, 0, 1, 0)
    assert KnownLevel.of(schedule("cosine", 50), Prediction("v"), 1e-3).sigma > 0


@pytest.mark.parametrize("label", [-0.01, 0.991, 1.0])
def test_pure_noise_is_no_known_frame(label: float) -> None:
    with pytest.raises(ValueError, match=f"`noise_label`: expected a number in .*0.99.* Received: {label}"):
        KnownLevel.of(schedule("cosine", 50), Prediction("v"), label)
