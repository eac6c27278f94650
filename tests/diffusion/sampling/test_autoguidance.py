"""Guidance against the closed form: for Gaussian data a guided denoiser is affine, like those it is made of."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, Prediction, Sampler
from kvdiff.diffusion.conditions.guidance import guided, rescaled
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.diffusion.sampling.autoguidance import GuidedSampler
from kvdiff.diffusion.sampling.oracle import GaussianClips, OracleSampler
from tests.diffusion.helpers import wrapped

SPEC = ClipSpec(1, 1, 1, 1)
SCHEDULE = cosine(100)


def gaussian(mean: float, std: float) -> GaussianClips:
    return GaussianClips(np.full((1, 1, 1, 1), mean), np.full((1, 1), std**2))


def sampler(mean: float, std: float, prediction: str = "v") -> Sampler:
    return OracleSampler(gaussian(mean, std), SPEC, SCHEDULE, Prediction(prediction))


MAIN, GUIDE = sampler(0.5, 0.2), sampler(-0.2, 0.4)


def test_weights_one_and_zero_are_the_two_samplers() -> None:
    sampling = dict(num_steps=10, seed=3)
    for weight, alone in [(1.0, MAIN), (0.0, GUIDE)]:
        made = GuidedSampler(MAIN, GUIDE, guidance=weight).generate(5, **sampling)
        np.testing.assert_allclose(made, alone.generate(5, **sampling), atol=1e-12)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_guiding_the_raw_output_guides_the_predicted_clip(prediction: str) -> None:
    main, guide = sampler(0.5, 0.2, prediction), sampler(-0.2, 0.4, prediction)
    x, alpha, sigma = np.linspace(-2, 2, 7).reshape(7, 1, 1, 1, 1), SCHEDULE.alpha[60], SCHEDULE.sigma[60]
    label = np.full((7, 1), np.arctan2(sigma, alpha) * 2 / np.pi)
    row = main.spec.prediction.preconditioning(alpha, sigma)
    raw = GuidedSampler(main, guide, guidance=2.5).engine.denoise(row.c_in * x, label)
    clips = [data.denoise(x, alpha, sigma) for data in (gaussian(0.5, 0.2), gaussian(-0.2, 0.4))]
    np.testing.assert_allclose(row.c_skip * x + row.c_out * raw, clips[1] + 2.5 * (clips[0] - clips[1]), atol=1e-9)


def test_guidance_moves_samples_away_from_the_guide() -> None:
    made = GuidedSampler(MAIN, GUIDE, guidance=3.0).generate(2000, num_steps=50, batch_size=2000)
    assert made.mean() > 0.5 + 3 * 0.2 / 2000**0.5


@pytest.mark.parametrize(("interval", "calls"), [((0.0, 1.0), 10), ((0.2, 0.6), 4), ((0.0, 0.05), 0)])
def test_outside_the_interval_the_guide_is_not_called(interval: tuple[float, float], calls: int) -> None:
    seen: list[float] = []

    def counted(inner, noisy_clip, noise_label, inputs):
        seen.append(float(noise_label.max()))
        return inner(noisy_clip, noise_label, inputs)

    GuidedSampler(MAIN, wrapped(GUIDE, counted), guidance=2.0, interval=interval).generate(1, num_steps=10)
    assert len(seen) == calls
    assert all(interval[0] <= level <= interval[1] for level in seen)


def test_rescaling_restores_each_clips_standard_deviation() -> None:
    rng = np.random.default_rng(0)
    main, guide = rng.normal(size=(2, 3, 4, 4, 4, 1))
    pushed = guided(main, guide, 5.0)
    axes = (1, 2, 3, 4)
    np.testing.assert_allclose(rescaled(np, pushed, main, 1.0).std(axis=axes), main.std(axis=axes), rtol=1e-12)
    np.testing.assert_array_equal(rescaled(np, pushed, main, 0.0), pushed)
    half = 0.5 * (pushed.std(axis=axes) + main.std(axis=axes))
    np.testing.assert_allclose(rescaled(np, pushed, main, 0.5).std(axis=axes), half, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(guidance=-1.0), "`guidance`: expected a number in .* Received: -1.0"),
        (dict(guidance=2.0, rescale=1.5), "`rescale`: expected a number in .* Received: 1.5"),
        (dict(guidance=2.0, interval=(0.5, 0.2)), "`interval`: expected a number in .* Received: 0.2"),
    ],
)
def test_clear_errors(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GuidedSampler(MAIN, GUIDE, **arguments)


def test_the_guide_is_of_the_same_kind() -> None:
    with pytest.raises(ValueError, match="`guide`: expected the clip, schedule and prediction of `main`"):
        GuidedSampler(MAIN, sampler(0.0, 1.0, "eps"), guidance=2.0)
