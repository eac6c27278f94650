"""The search for a way to sample: what it measures, and which way it chooses."""

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, ModelSpec, Prediction, Sampler, schedules
from kvdiff.evaluation.real import RealClips
from kvdiff.evaluation.tuning import Tuning, Way, tune


def way(task="predict", cost=10, psnr=20.0, error=0.1, sharpness=1.0, **sampling):
    return Way(task, sampling, cost, psnr, error, sharpness)


def test_the_cheapest_of_the_good_and_sharp_is_chosen():
    blur = way(cost=4, psnr=25.0, sharpness=0.4, num_steps=1)
    dear = way(cost=100, psnr=22.05, sharpness=0.97, num_steps=20)
    good = way(cost=20, psnr=22.0, sharpness=0.95, num_steps=2, at_a_time=1)
    poor = way(cost=8, psnr=21.0, sharpness=0.95, num_steps=4)
    found = Tuning((blur, dear, good, poor))
    assert found.chosen("predict") == good
    assert found.sampling == {"predict": {"num_steps": 2, "at_a_time": 1}, "rollout": {"num_steps": 2, "at_a_time": 1}}
    assert [row[-1] for row in found.rows()] == ["", "", "", "chosen", ""]
    assert found.lines()["predict"]["1 at a time"] == ([20], [22.0])


def test_where_nothing_is_sharp_the_sharpest_is_chosen():
    soft, softer = way(psnr=20.0, sharpness=0.6, num_steps=8), way(psnr=24.0, sharpness=0.5, num_steps=2)
    assert Tuning((soft, softer)).chosen("predict") == soft
    assert Tuning((soft, softer)).sampling == {"predict": {"num_steps": 8}}  # A rollout keeps its plan.


def test_noise_that_is_too_sharp_is_no_better_than_blur():
    noise, fine = way(psnr=20.2, sharpness=1.9, num_steps=1), way(psnr=20.0, sharpness=1.05, num_steps=4)
    assert Tuning((noise, fine)).chosen("predict") == fine


def test_it_measures_every_way_by_what_it_costs_and_gives():
    spec = ModelSpec(ClipSpec(8, 16, 16, 1), schedules.cosine(50), Prediction("x0"))
    asked = []

    def blank(noisy_clip, *_):
        """Predicts a black clip, and counts frames."""
        asked.append(noisy_clip.shape[:2])
        return np.full_like(noisy_clip, -1.0)

    from kvdiff.diffusion import DenoiserEngine

    sampler = Sampler(spec, DenoiserEngine(blank))
    truth = np.random.default_rng(0).integers(0, 256, (4, 8, 16, 16, 1), dtype=np.uint8)
    candidates = {"predict": ({"at_a_time": 1, "num_steps": 2}, {"num_steps": 3}), "interpolate": ({"num_steps": 1},)}
    said = []
    found = tune(sampler, RealClips(truth), candidates=candidates, progress=lambda *report: said.append(report))
    assert [way.frame_calls for way in found.ways] == [2 * (5 + 6 + 7 + 8), 24, 8]
    assert sum(frames for _, frames in asked) == 2 * (5 + 6 + 7 + 8) + 24 + 8
    assert said == [("predict", 1, 2), ("predict", 2, 2), ("interpolate", 1, 1)]
    assert all(way.sharpness_ratio == pytest.approx(0.0, abs=1e-6) for way in found.ways)
