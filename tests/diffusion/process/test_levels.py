from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import NoiseLevels
from kvdiff.diffusion.process import levels


@pytest.mark.parametrize(("path", "expected"), [("vp", (0.6, 0.8)), ("flow", (3 / 7, 4 / 7)), ("ve", (1.0, 4 / 3))])
def test_on_path_keeps_the_ratio(path: str, expected: tuple[float, float]) -> None:
    assert np.allclose(levels.on_path(path, 3.0, 4.0), expected)
    assert np.allclose(levels.from_logsnr(path, 2 * np.log(3 / 4)), expected)
    assert np.allclose(levels.from_label(path, levels.noise_label(3.0, 4.0)), expected)
    assert levels.path_of(*(np.array([v]) for v in expected)) == path


def test_extreme_logsnr_does_not_overflow() -> None:
    for logsnr in (-1e3, 1e3):
        alpha, sigma = levels.from_logsnr("vp", logsnr)
        assert np.isclose(alpha**2 + sigma**2, 1.0)
    assert np.allclose(levels.from_logsnr("flow", [800.0, -800.0]), [[1, 0], [0, 1]])


def test_pure_noise_is_on_every_path_but_ve() -> None:
    assert np.allclose(levels.on_path("vp", 0.0, 2.0), (0, 1))
    assert np.allclose(levels.on_path("flow", 0.0, 2.0), (0, 1))
    with pytest.raises(ValueError, match="no level of pure noise. Received: alpha = 0"):
        levels.on_path("ve", [1.0, 0.0], [1.0, 1.0])


def test_label_is_the_angle_in_quarter_turns() -> None:
    assert np.allclose(levels.noise_label(np.array([1.0, 0.5, 0.0]), np.array([0.0, 0.5, 2.0])), [0, 0.5, 1])


def test_half_logsnr_is_infinite_at_the_ends() -> None:
    noise = NoiseLevels([0.0, 0.5, 1.0], [1.0, 0.25, 0.0])
    assert np.allclose(noise.half_logsnr, [-np.inf, np.log(2.0), np.inf])
    assert noise.num_steps == 2


@pytest.mark.parametrize(
    ("alpha", "sigma", "message"),
    [
        ([1.0], [0.0], "num_steps >= 1"),
        ([0.5, 1.0], [0.5, 0.5, 0.0], "of one shape"),
        ([[0.5, 1.0]], [[0.5, 0.0]], "of one shape"),
        ([np.nan, 1.0], [1.0, 0.0], "finite levels"),
        ([np.inf, 1.0], [1.0, 0.0], "finite levels"),
        ([0.1, 0.5, 0.4, 1.0], [0.9, 0.5, 0.6, 0.0], "step 1 is not"),
        ([0.5, 1.0], [np.inf, 0.0], "finite levels"),
        ([-0.5, 1.0], [0.5, 0.0], "alpha >= 0"),
        ([0.5, 0.9], [0.5, 0.0], "clean"),
        ([0.5, 1.0], [0.5, 0.1], "clean"),
        ([0.5, 0.5, 1.0], [0.5, 0.5, 0.0], "less noisy.*step 1 is not|step 0 is not"),
        ([0.9, 0.5, 1.0], [0.1, 0.5, 0.0], "step 0 is not. Use fewer steps"),
    ],
)
def test_bad_levels_are_named(alpha, sigma, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        NoiseLevels(alpha, sigma)
    assert "Received" in str(error.value)
