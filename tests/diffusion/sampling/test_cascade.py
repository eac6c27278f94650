"""Cascades of exact samplers: a stage sees the stage before it, and what does not fit is refused at once."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, Sampler
from kvdiff.diffusion.conditions import LowResolution
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.diffusion.sampling.cascade import Cascade, Spatial, Temporal
from kvdiff.diffusion.transforms.codec import reduced
from tests.diffusion.helpers import network_sampler


def Base(clip: ClipSpec) -> Sampler:
    """Generates clips that are the mean of their noise: every clip is of one colour."""

    def mean(noisy_clip, noise_label, inputs=None):
        return np.broadcast_to(noisy_clip.mean(axis=(2, 3, 4), keepdims=True), noisy_clip.shape)

    return network_sampler(mean, clip, cosine(50), "x0")


class Repeat:
    """A network that repeats the small clip's pixels, and remembers what it was asked."""

    def __init__(self, scale: int) -> None:
        self.scale, self.asked = scale, []

    def __call__(self, noisy_clip, noise_label, inputs=None):
        self.asked.append(inputs)
        return inputs["small"].repeat(self.scale, axis=2).repeat(self.scale, axis=3)


def Enlarger(clip: ClipSpec, scale: int = 2) -> Sampler:
    return network_sampler(Repeat(scale), clip, cosine(50), "x0", {"small": LowResolution(scale)})


def Smoother(clip: ClipSpec) -> Sampler:
    """Answers with the straight line between known frames."""

    def line(noisy_clip, noise_label, inputs=None):
        index, out = np.arange(noisy_clip.shape[1]), np.empty_like(noisy_clip)
        known = noise_label[0] == 0
        for at in np.ndindex(noisy_clip.shape[0], *noisy_clip.shape[2:]):
            row = (at[0], slice(None), *at[1:])
            out[row] = np.interp(index, index[known], noisy_clip[row][known])
        return out

    return network_sampler(line, clip, cosine(50), "x0")


SMALL, LARGE = ClipSpec(3, 2, 2, 1), ClipSpec(3, 4, 4, 1)


def test_each_stage_enlarges_what_the_one_before_it_made() -> None:
    large = Enlarger(LARGE)
    cascade = Cascade(Base(SMALL), Spatial(large, augmentation=0.0), Temporal(Smoother(LARGE), factor=2))
    assert cascade.clip_spec == ClipSpec(5, 4, 4, 1)
    assert cascade.scales == [(3, 2, 2), (3, 4, 4), (5, 4, 4)]
    clips = cascade.generate(2, num_steps=3, seed=1)
    small = Base(SMALL).generate(2, num_steps=3, seed=1)
    assert clips.shape == (2, 5, 4, 4, 1)
    np.testing.assert_allclose(reduced(clips[:, ::2], 2), small, atol=1e-6)
    np.testing.assert_allclose(clips[:, 1], (clips[:, 0] + clips[:, 2]) / 2, atol=1e-6)


def test_small_clips_are_shown_with_the_noise_they_are_said_to_have() -> None:
    large = Enlarger(LARGE)
    stage, small = (
        Spatial(large, augmentation=0.2, sampling={"num_steps": 1}),
        np.full((500, 3, 2, 2, 1), 0.5, np.float32),
    )
    stage.run(small, {"num_steps": 7, "batch_size": 500})
    assert len(large.engine.denoise.asked) == 1  # A stage's own keywords take precedence.
    shown = large.engine.denoise.asked[0]
    np.testing.assert_allclose(shown["small_noise"], 0.2)
    residual = shown["small"] - np.cos(0.1 * np.pi) * 0.5
    assert abs(residual.std() - np.sin(0.1 * np.pi)) < 0.02 and abs(residual.mean()) < 0.02


def test_a_stage_rolls_along_clips_longer_than_its_training() -> None:
    large = Enlarger(LARGE)
    small = np.random.default_rng(0).uniform(-1, 1, size=(1, 8, 2, 2, 1)).astype(np.float32)
    made = Spatial(large, augmentation=0.0).run(small, {"num_steps": 2})
    np.testing.assert_allclose(made, small.repeat(2, axis=2).repeat(2, axis=3), atol=1e-6)
    assert {inputs["small"].shape[1] for inputs in large.engine.denoise.asked} == {3}


def test_prediction_shows_the_base_its_own_size() -> None:
    past = np.random.default_rng(0).uniform(-1, 1, size=(1, 2, 4, 4, 1)).astype(np.float32)
    cascade = Cascade(Base(SMALL), Spatial(Enlarger(LARGE), augmentation=0.0))
    made = cascade.predict_frames(past, num_steps=4, seed=2)
    small = Base(SMALL).predict_frames(reduced(past, 2), num_steps=4, seed=2)
    np.testing.assert_allclose(made, small.repeat(2, axis=2).repeat(2, axis=3), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Cascade(Base(LARGE), Spatial(Enlarger(LARGE))),
            "expected frames of .2, 2, 1. for a model that generates",
        ),
        (
            lambda: Cascade(Base(SMALL), Temporal(Smoother(LARGE))),
            "expected frames of .4, 4, 1. for a model that raises",
        ),
        (lambda: Spatial(Base(LARGE)), "`sampler`: expected one of a denoiser with one LowResolution condition"),
        (
            lambda: Spatial(Enlarger(LARGE), augmentation=0.4),
            "`augmentation`: expected a number in .*0.3.* Received: 0.4",
        ),
        (lambda: Temporal(Smoother(LARGE), factor=3), "`factor`: expected an integer from 2 to 2. Received: 3"),
        (
            lambda: Cascade(Base(ClipSpec(1, 4, 4, 1)), Temporal(Smoother(LARGE))),
            "`num_frames`: expected an integer >= 2",
        ),
        (
            lambda: reduced(np.zeros((1, 1, 5, 4, 1)), 2),
            "`clip`: expected a height divisible by 2, e.g. 4 or 6. Received: 5",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
