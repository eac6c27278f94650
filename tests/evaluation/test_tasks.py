"""The protocol with samplers whose answers are known: the truth, noise, and the baselines themselves."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, DenoiserEngine, ModelSpec, Prediction, Sampler
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.evaluation import Bars, GenerationScore, TaskReport, TaskScore, evaluate_tasks, sample_tasks
from kvdiff.evaluation.quality import MAX_PSNR


class Fake(Sampler):
    """Answers with `answer(clip)` wherever frames are not known, and remembers what it was asked."""

    def __init__(self, answer, shape):
        spec = ModelSpec(ClipSpec(*shape), cosine(10), Prediction("v"))
        super().__init__(spec, DenoiserEngine(lambda *asked: pytest.fail("the fake makes no network call")))
        vars(self).update(answer=answer, asked=[])

    def _fill(self, task, clip, known, *, progress=None, **sampling):
        self.asked.append((known.tolist(), sampling))
        if progress is not None:
            progress(1, 2)
        return np.where(known[None, :, None, None, None], clip, self.answer(clip)).astype(np.float32)


def ramp(batch: int = 3, frames: int = 8) -> np.ndarray:
    """Clips that brighten evenly, float32 [batch, frames, 2, 2, 1]: a linear blend is exact on them."""
    levels = np.linspace(-0.7, 0.7, frames, dtype=np.float32)[None, :, None, None, None]
    return np.broadcast_to(levels, (batch, frames, 2, 2, 1)) * np.linspace(0.5, 1, batch).reshape(-1, 1, 1, 1, 1)


def test_the_truth_is_as_good_as_can_be():
    truth = ramp().astype(np.float32)
    report = evaluate_tasks(Fake(lambda clip: truth, truth.shape[1:]), truth)
    assert report.prediction.model == report.interpolation.model == MAX_PSNR
    assert report.generation.mean_gap == report.generation.variance_gap == 0.0
    assert not report.misses(Bars(interpolation_gain=-1.0))  # The blend is exact here too: nothing to gain.


def test_the_baselines_gain_nothing():
    truth = ramp().astype(np.float32)

    def repeat(clip):
        return np.repeat(clip[:, 3:4], 8, axis=1)

    report = evaluate_tasks(Fake(repeat, truth.shape[1:]), truth)
    assert report.prediction.gain == 0.0
    # A pixel of clip 0 falls by 0.1 a frame: frame i after the last known one errs by 0.1 i times the clip's factor.
    steps = 0.2 * np.arange(1, 5)
    factors = np.linspace(0.5, 1, 3)
    expected = np.mean([10 * np.log10(4 / (steps * factor) ** 2) for factor in factors], axis=0)
    np.testing.assert_allclose(report.prediction.baseline_per_frame, expected, atol=1e-3)
    expected = np.mean([10 * np.log10(4 / np.mean((steps * factor) ** 2)) for factor in factors])
    np.testing.assert_allclose(report.prediction.baseline, expected, atol=1e-3)


def test_noise_misses_every_bar_in_words():
    truth = ramp().astype(np.float32)
    rng = np.random.default_rng(0)
    report = evaluate_tasks(Fake(lambda clip: rng.uniform(-1, 1, clip.shape), truth.shape[1:]), truth)
    misses = report.misses()
    assert not report.passes()
    assert [miss.split(",")[0] for miss in misses[:2]] == ["Prediction", "Interpolation"]
    assert misses[-1].startswith("Generated pixels, variance")


def test_half_of_the_frames_are_known_in_both_tasks():
    truth = ramp().astype(np.float32)
    fake = Fake(lambda clip: truth, truth.shape[1:])
    seen = []
    sample_tasks(fake, truth, num_steps=7, seed=5, solver="ddpm", progress=lambda *report: seen.append(report))
    masks = [known for known, _ in fake.asked]
    assert masks == [[True] * 4 + [False] * 4, [True] * 2 + [False] * 4 + [True] * 2, [False] * 8]
    assert all(sampling == {"num_steps": 7, "seed": 5, "solver": "ddpm"} for _, sampling in fake.asked)
    assert seen == [("prediction", 1, 2), ("interpolation", 1, 2), ("generation", 1, 2)]


def test_generation_may_be_sampled_in_its_own_way():
    truth = ramp().astype(np.float32)
    fake = Fake(lambda clip: truth, truth.shape[1:])
    sample_tasks(fake, truth, num_steps=7, generation={"spacing": "karras", "num_steps": 9})
    assert [sampling.get("spacing") for _, sampling in fake.asked] == [None, None, "karras"]
    assert [sampling["num_steps"] for _, sampling in fake.asked] == [7, 7, 9]


def test_pixels_and_floats_score_alike():
    pixels = np.random.default_rng(1).integers(0, 256, (2, 4, 2, 2, 1), dtype=np.uint8)
    reports = [
        evaluate_tasks(Fake(np.zeros_like, (4, 2, 2, 1)), clips) for clips in (pixels, pixels / np.float32(127.5) - 1)
    ]
    np.testing.assert_allclose(reports[0].prediction.model, reports[1].prediction.model)


def score(gain: float) -> TaskScore:
    return TaskScore(model=20.0 + gain, baseline=20.0, model_per_frame=(20.0 + gain,), baseline_per_frame=(20.0,))


def report_of(prediction=6.5, interpolation=3.5, mean=-0.81, variance=0.21) -> TaskReport:
    generation = GenerationScore(mean, variance, data_mean=-0.8, data_variance=0.2)
    return TaskReport(64, 20, 0, score(prediction), score(interpolation), generation)


@pytest.mark.parametrize(
    ("change", "miss"),
    [
        (
            {"prediction": 5.99},
            "Prediction, PSNR: 25.99 dB against 20.00 dB (repeating the last frame), +5.99 dB; the bar is at",
        ),
        (
            {"interpolation": 2.0},
            "Interpolation, PSNR: 22.00 dB against 20.00 dB (the linear blend), +2.00 dB; the bar is at least +3.0 dB",
        ),
        ({"mean": -0.84}, "Generated pixels, mean: -0.840 against -0.800 (data), -0.040; the bar is within ±0.03"),
        ({"variance": 0.16}, "Generated pixels, variance: 0.160 against 0.200 (data), -20.0%; the bar is within ±15%"),
        ({"prediction": float("nan")}, "Prediction, PSNR: nan dB"),
    ],
)
def test_each_bar_is_missed_by_itself(change, miss):
    assert report_of().passes()
    (only,) = report_of(**change).misses()
    assert only.startswith(miss)


def test_a_report_is_json():
    report = report_of()
    again = json.loads(json.dumps(report.config))
    assert again["prediction"]["gain"] == report.prediction.gain
    assert again["generation"] == dataclasses.asdict(report.generation)


def test_too_few_frames_are_refused():
    truth = ramp(frames=3).astype(np.float32)
    with pytest.raises(ValueError, match="at least 4 frames. Received: 3"):
        evaluate_tasks(Fake(np.zeros_like, truth.shape[1:]), truth)
