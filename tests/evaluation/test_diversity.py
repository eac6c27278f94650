"""Diversity: samples for one past spread about as the data does, and models that copy a mode are found out."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, Prediction
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.diffusion.sampling.oracle import GaussianClips, MixtureClips, OracleSampler
from kvdiff.evaluation import calibration, ensemble

FRAMES, PAST, PASTS, SAMPLES = 4, 2, 300, 6
TURNS, WEIGHTS = (
    (-0.4, 0.3),
    (0.6, 0.4),
)  # After the past the clip turns dark or bright, and the past does not say which.


def component(turn: float, std: float = 0.1) -> GaussianClips:
    mean = np.where(np.arange(FRAMES) < PAST, 0.0, turn)[:, None, None, None] * np.ones((1, 2, 1, 1))
    frames = 0.8 ** np.abs(np.subtract.outer(np.arange(FRAMES), np.arange(FRAMES)))
    return GaussianClips(mean, np.kron(std**2 * frames, np.eye(2)))


def calibration_of(data) -> float:
    """Of samples by the exact denoiser of `data` on clips that are drawn from the true distribution."""
    draw = np.random.default_rng(0)
    turns = draw.choice(len(TURNS), PASTS, p=WEIGHTS)
    clips = [component(TURNS[turn]) for turn in turns]
    truth = np.array([draw.multivariate_normal(c.mean.ravel(), c.covariance).reshape(c.mean.shape) for c in clips])
    sampler = OracleSampler(data, ClipSpec(FRAMES, 2, 1, 1), cosine(100), Prediction("v"))
    past = np.repeat(truth[:, :PAST], SAMPLES, axis=0)
    made = sampler.predict_frames(past, num_steps=20, solver="dpmpp_2m", spacing="uniform_logsnr", batch_size=len(past))
    return calibration(*ensemble(made.reshape(PASTS, SAMPLES, *made.shape[1:]), truth[:, PAST:]))


def test_an_exact_model_spreads_as_the_data_does():
    data = MixtureClips(np.array(WEIGHTS), [component(turn) for turn in TURNS])
    assert calibration_of(data) == pytest.approx(1.0, abs=0.05)


def test_a_model_that_copies_the_mode_is_found_out():
    assert calibration_of(component(TURNS[0], std=1e-4)) < 0.01


def test_a_model_that_forgot_a_mode_is_found_out():
    assert calibration_of(component(TURNS[0])) < 0.5
