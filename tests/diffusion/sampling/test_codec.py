"""Sampling in the latent clips of a codec, with an exact denoiser for them: exact in pixels too."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kvdiff.diffusion import (
    AveragePool,
    ClipSpec,
    DenoiserEngine,
    FrameVectors,
    Prediction,
    Sampler,
    bits_per_dim,
    oracle,
    step_table,
)
from kvdiff.diffusion.conditions import CONDITIONS
from kvdiff.diffusion.transforms.codec import enlarged, reduced
from tests.diffusion.helpers import SHAPE, SIZE, final, gaussian, schedule

CODEC, PIXELS = AveragePool(2), ClipSpec(3, 4, 2, 1)
CLIP = np.float32(enlarged(gaussian(2).mean[None].repeat(3, axis=0), 2)) + np.float32([[0.1], [-0.1]])  # Not flat.
KNOWN = np.array([[True, False, False], [True, False, True], [False, True, False]])


def sampler(codec: AveragePool | None) -> Sampler:
    clip = ClipSpec(*SHAPE) if codec is None else PIXELS
    return oracle.OracleSampler(gaussian(), clip, schedule("cosine", 100), Prediction("v"), codec)


def test_clips_have_the_latents_exact_mean_and_covariance_in_pixels() -> None:
    table = step_table(schedule("cosine", 100), Prediction("v"), solver="ddpm", num_steps=5)
    made = final(table, gaussian(), Prediction("v"))
    pixels = enlarged(np.eye(SIZE).reshape(SIZE, *SHAPE), 2).reshape(SIZE, -1)  # Of each latent, the pixels it fills.
    clips = sampler(CODEC).generate(4000, num_steps=5, solver="ddpm", batch_size=4000)
    assert clips.shape == (4000, 3, 4, 2, 1)
    assert np.abs(clips.mean(axis=0) - enlarged(made.mean[None], 2)[0]).max() < 0.05
    assert np.abs(np.cov(clips.reshape(4000, -1).T) - pixels.T @ made.covariance @ pixels).max() < 0.06


@pytest.mark.parametrize("task", ["generate", "infill", "rollout"])
def test_every_task_is_that_of_the_latent_clips(task: str) -> None:
    def run(with_codec: bool) -> np.ndarray:
        source, clip = sampler(CODEC if with_codec else None), CLIP if with_codec else reduced(CLIP, 2)
        sampling = dict(num_steps=6, solver="dpmpp_2m_sde", seed=4)
        if task == "generate":
            return source.generate(3, **sampling)
        if task == "infill":
            return source.infill(clip, KNOWN, **sampling)
        return source.rollout(3, clip[:, :1], plan="autoregressive", known_noise=0.1, **sampling)

    in_pixels, latent = run(True), run(False)
    known = {"generate": np.zeros((3, 3), bool), "infill": KNOWN, "rollout": np.arange(3)[None] < [[1]] * 3}[task]
    np.testing.assert_allclose(in_pixels[~known], enlarged(latent, 2)[~known], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(in_pixels[known], CLIP[known])  # Known frames are the user's, not the codec's.


class Sketch(FrameVectors):
    """A condition of as many numbers as a frame on which the network works."""

    name = "sketch"

    def shape(self, frames, frame_shape) -> tuple:
        return (frames, *frame_shape)


def test_conditions_go_by_the_frames_on_which_the_network_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONDITIONS, "sketch", Sketch)
    seen = []

    def denoise(noisy_clip, noise_label, inputs):
        seen.append((noisy_clip.shape, inputs["sketch"].shape))
        return 0 * noisy_clip

    spec = dataclasses.replace(sampler(CODEC).spec, conditions={"sketch": Sketch(1)})
    Sampler(spec, DenoiserEngine(denoise)).generate(2, num_steps=1, conditions={"sketch": np.ones(SHAPE)})
    assert seen == [((2, *SHAPE), (2, *SHAPE))]


def test_a_bound_in_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="bits_per_dim: expected a model without a codec"):
        bits_per_dim(sampler(CODEC), CLIP)
