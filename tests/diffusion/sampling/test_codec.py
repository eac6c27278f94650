"""Sampling in the latent clips of a codec, with an exact denoiser for them: exact in pixels too."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kvdiff.diffusion import (
    Autoencoder,
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
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.transforms.codec import enlarged, reduced
from tests.diffusion.helpers import SHAPE, SIZE, final, gaussian, schedule

CODEC, PIXELS = AveragePool(2), ClipSpec(3, 4, 2, 1)
CLIP = np.float32(enlarged(gaussian(2).mean[None].repeat(3, axis=0), 2)) + np.float32([[0.1], [-0.1]])  # Not flat.
KNOWN = np.array([[True, False, False], [True, False, True], [False, True, False]])


def sampler(codec: AveragePool | Autoencoder | None) -> Sampler:
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


# A learned codec that is linear: whatever is exact in the latent is exact in pixels.

BASIS = np.linalg.qr(np.random.default_rng(5).standard_normal((4, 4)))[0].astype(np.float32)  # A cell's four pixels.
MEAN, DEVIATION = np.float32(0.3), np.float32(1.7)


class Linear:
    """Cells of 2 × 2 pixels as one number: their part along one direction, standardised."""

    def encode(self, clip, xp=np):
        return (cells(clip) @ BASIS[:, :1] - MEAN) / DEVIATION

    def decode(self, latent, xp=np):
        return pixels((latent * DEVIATION + MEAN) @ BASIS[:, :1].T)


def cells(clip: np.ndarray) -> np.ndarray:
    batch, frames, height, width, _ = clip.shape
    parts = clip.reshape(batch, frames, height // 2, 2, width // 2, 2)
    return parts.transpose(0, 1, 2, 4, 3, 5).reshape(batch, frames, height // 2, width // 2, 4)


def pixels(parts: np.ndarray) -> np.ndarray:
    batch, frames, height, width, _ = parts.shape
    clip = parts.reshape(batch, frames, height, width, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return clip.reshape(batch, frames, 2 * height, 2 * width, 1)


LEARNED = Autoencoder(2, PIXELS.frame_shape, 1, "0" * 16, network=Linear())
IN_PIXELS = pixels(np.float32(gaussian(3).mean[None].repeat(3, axis=0) * DEVIATION + MEAN) @ BASIS[:, :1].T)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_is_exact_in_the_pixels_of_a_linear_autoencoder(solver: str) -> None:
    how = dict(solver=solver, num_steps=6, seed=3)
    latent = sampler(None).generate(5, **how)
    clips = sampler(LEARNED).generate(5, **how)
    np.testing.assert_allclose(clips, LEARNED.decode(np.float32(latent)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("plan", ["autoregressive", "rolling", None])
@pytest.mark.parametrize("known", [[True, False, False], [True, False, True], [False, False, True]])
def test_every_task_and_plan_is_exact_in_the_pixels_of_a_linear_autoencoder(
    plan: str | None, known: list[bool]
) -> None:
    mask = np.array(known)
    if plan is not None and known != [True, False, False]:
        pytest.skip("a plan begins with known frames")
    how = dict(solver="ddpm", num_steps=6, seed=3, **({} if plan is None else {"plan": plan}))
    expected = LEARNED.decode(np.float32(sampler(None).infill(LEARNED.encode(IN_PIXELS), mask, **how)))
    found = sampler(LEARNED).infill(IN_PIXELS, mask, **how)
    np.testing.assert_allclose(found[:, ~mask], expected[:, ~mask], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found[:, mask], IN_PIXELS[:, mask])


def test_a_linear_autoencoders_clips_have_the_exact_mean_and_covariance() -> None:
    made = final(
        step_table(schedule("cosine", 100), Prediction("v"), solver="ddpm", num_steps=5), gaussian(), Prediction("v")
    )
    clips = sampler(LEARNED).generate(4000, num_steps=5, solver="ddpm", batch_size=4000)
    unit = np.eye(SIZE, dtype=np.float32).reshape(SIZE, *SHAPE)
    columns = (LEARNED.decode(unit) - LEARNED.decode(0 * unit)).reshape(SIZE, -1)
    mean = LEARNED.decode(np.float32(made.mean[None]))[0]
    assert np.abs(clips.mean(axis=0) - mean).max() < 0.1
    assert np.abs(np.cov(clips.reshape(4000, -1).T) - columns.T @ made.covariance @ columns).max() < 0.2
    assert np.abs(clips).max() > 1.5  # No latent is clamped, and neither are these values.
