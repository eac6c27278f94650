"""The study's law and measures, with exact forecasts in place of a trained network: they have the exact scores."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, OracleSampler, Prediction
from kvdiff.diffusion.process.schedules import cosine
from tests.benchmarks.advected_fields.law import AdvectedFields
from tests.benchmarks.advected_fields.measuring import deterministic_scores, ensemble_scores

SMALL = AdvectedFields(frames=4, size=4)


def check(scores: dict, law: AdvectedFields, crps: float, spectrum: float) -> None:
    assert scores["crps_ratio"] == pytest.approx(1.0, abs=crps)
    assert scores["spread_skill"] == pytest.approx(1.0, abs=0.05)
    assert scores["rank_p"] >= 0.01
    np.testing.assert_allclose(scores["spectrum_ratio"], 1.0, atol=spectrum)


def test_draws_of_the_exact_law_have_its_scores() -> None:
    law = AdvectedFields()
    clips = law.sample(1000, seed=2)
    past, truth = clips[:, : law.past], clips[:, law.past :]
    check(ensemble_scores(law, law.exact_ensemble(past, 20, seed=3), truth), law, crps=0.02, spectrum=0.03)
    mean = deterministic_scores(law, law.future_mean(past), truth)
    assert mean["crps_ratio"] > 1.3 and max(mean["spectrum_ratio"]) < 0.75  # Blurred, and sure of itself.


def test_samples_by_the_exact_denoiser_have_the_exact_scores() -> None:
    clips = SMALL.sample(500, seed=7)
    past, truth = clips[:, : SMALL.past], clips[:, SMALL.past :]
    sampler = OracleSampler(SMALL.clips, ClipSpec(4, 4, 4, 1), cosine(1000), Prediction("v"))
    how = dict(solver="dpmpp_2m", spacing="uniform_logsnr", num_steps=32, batch_size=5000)
    ensemble = sampler.predict_frames(past, num_members=10, **how)
    scores = ensemble_scores(SMALL, ensemble, truth)
    check(scores, SMALL, crps=0.04, spectrum=0.1)
    assert scores["rmse_of_mean"] < 0.8 * scores["rmse_of_member"]


def test_the_law_is_that_of_its_draws_and_moves() -> None:
    clips = SMALL.sample(40_000, seed=1).reshape(40_000, -1)
    np.testing.assert_allclose(clips.T @ clips / len(clips), SMALL.clips.covariance, atol=0.04)
    known = np.repeat(SMALL.known, 16)
    past, future = clips[:, known], clips[:, ~known]
    mean = SMALL.future_mean(past.reshape(-1, 2, 4, 4, 1)).reshape(len(clips), -1)
    np.testing.assert_allclose((future - mean).T @ past / len(clips), 0.0, atol=0.04)  # Nothing is left to learn.
    fast = AdvectedFields(velocity=(0.0, 1.0), memory=1.0 - 1e-9).clips.covariance.reshape(6, 8, 8, 6, 8, 8)
    np.testing.assert_allclose([fast[t, 3, 1, t + 1, 3, 2] for t in range(5)], 1.0, atol=1e-6)
