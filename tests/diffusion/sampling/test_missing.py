"""Missing numbers: told to the network, kept missing, or filled in, as the replacement method says."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, DenoiserEngine, Linear, ModelSpec, Prediction, Sampler, Unbounded, schedules
from kvdiff.diffusion.conditions import Observed, StaticFields
from kvdiff.diffusion.sampling.oracle import GaussianClips, OracleSampler
from kvdiff.diffusion.solvers.by_name import step_table
from kvdiff.diffusion.transforms import Padding

SCHEDULE, PREDICTION = schedules.cosine(200), Prediction("v")


def sampler_of(frame: tuple[int, int], values=None, frames: int = 4, seen: list | None = None, **spec) -> Sampler:
    """A network that answers with half of what it sees, and notes it."""

    def denoise(noisy_clip, noise_label, inputs):
        if seen is not None:
            seen.append((noisy_clip.copy(), noise_label.copy(), {name: a.copy() for name, a in inputs.items()}))
        return 0.5 * noisy_clip

    conditions = {"there": Observed()}
    clip = ClipSpec(frames, *frame, 1)
    return Sampler(
        ModelSpec(clip, SCHEDULE, PREDICTION, values or Linear(0.0, 10.0), conditions=conditions, **spec),
        DenoiserEngine(denoise),
    )


def holed(batch: int = 2, frames: int = 4, frame: tuple[int, int] = (3, 5), share: float = 0.2) -> np.ndarray:
    rng = np.random.default_rng(4)
    clip = rng.uniform(0, 10, (batch, frames, *frame, 1)).astype(np.float32)
    return np.where(rng.random(clip.shape) < share, np.float32(np.nan), clip)


def test_a_missing_number_is_seen_as_neutral_with_mask_0_and_comes_back_as_missing() -> None:
    seen: list = []
    clip, known = holed(share=0.5), np.array([True, False, True, False])
    video = sampler_of((3, 5), seen=seen).infill(clip, known, num_steps=3)
    assert video[:, known].tobytes() == clip[:, known].tobytes()
    gone = np.isnan(clip[:, known])
    noisy_clip, label, inputs = seen[0]
    assert (label[:, known] == 0).all() and (noisy_clip[:, known][gone] == 0.0).all()
    np.testing.assert_array_equal(inputs["there"][:, known], ~gone)
    np.testing.assert_allclose(noisy_clip[:, known][~gone], clip[:, known][~gone] / 5 - 1, rtol=1e-5, atol=1e-6)
    never = gone.all(axis=1)  # No known frame has it.
    assert never.any() and not never.all()
    for frame in (1, 3):
        np.testing.assert_array_equal(np.isnan(video[:, frame]), never)
        np.testing.assert_array_equal(inputs["there"][:, frame], ~never)


def test_whole_clips_and_generation_know_nothing_of_it() -> None:
    seen: list = []
    sampler = sampler_of((3, 5), seen=seen)
    assert np.isfinite(sampler.generate(2, num_steps=2)).all()
    assert all((inputs["there"] == 1).all() for _, _, inputs in seen)
    own = np.ones((4, 3, 5, 1))
    own[2:, 0, 0] = 0
    video = sampler.generate(2, num_steps=2, conditions={"there": own})
    np.testing.assert_array_equal(np.isnan(video), np.broadcast_to(own == 0, video.shape))


def test_a_frame_that_is_finished_shows_others_0_for_what_it_lacks() -> None:
    """In a rollout, a generated frame is a known one for the next window: as in training, missing is 0 there."""
    seen: list = []
    past = holed(frames=2)
    past[:, :, 0, 0] = np.nan
    sampler_of((3, 5), seen=seen).rollout(8, past, num_steps=2, at_a_time=1)
    noisy_clip, label, inputs = seen[-1]
    finished = label == 0
    assert finished.sum() == 2 * 3 and (noisy_clip[finished][inputs["there"][finished] == 0] == 0).all()
    assert (inputs["there"][:, :, 0, 0] == 0).all()


def test_clips_without_the_condition_must_be_whole() -> None:
    clip = ClipSpec(4, 3, 5, 1)
    plain = Sampler(ModelSpec(clip, SCHEDULE, PREDICTION, Linear(0.0, 10.0)), DenoiserEngine(lambda x, *_: x))
    with pytest.raises(ValueError, match=r"`clip`: expected values in \[0, 10\], no NaN"):
        plain.infill(holed(), np.array([True, False, True, False]), num_steps=2)
    whole = np.nan_to_num(holed())
    with pytest.raises(ValueError, match="`fill_missing`: expected a model with the condition Observed"):
        plain.infill(whole, np.array([True, False, True, False]), num_steps=2, fill_missing=True)
    with pytest.raises(ValueError, match="`fill_missing`: expected clips with frames or numbers to generate"):
        sampler_of((3, 5)).infill(whole, np.ones(4, bool), num_steps=2, fill_missing=True)
    with pytest.raises(TypeError, match="`fill_missing`: expected True, False, or how many times to take each step"):
        sampler_of((3, 5)).infill(whole, np.array([True, False, True, False]), num_steps=2, fill_missing="yes")
    with pytest.raises(ValueError, match="expected at most one Observed"):
        ModelSpec(clip, SCHEDULE, PREDICTION, conditions={"a": Observed(), "b": Observed()})
    with pytest.raises(ValueError, match="expected 1 for numbers that are there, else 0"):
        sampler_of((3, 5)).generate(1, num_steps=1, conditions={"there": np.full((4, 3, 5, 1), 0.5)})


def test_filled_clips_are_whole_and_what_was_there_is_as_it_was() -> None:
    clip, seen = holed(), []
    for known in (np.ones(4, bool), np.array([True, True, False, False])):
        seen.clear()
        video = sampler_of((3, 5), seen=seen).infill(clip, known, num_steps=4, fill_missing=True)
        there = ~np.isnan(clip) & known[:, None, None, None]
        assert np.isfinite(video).all() and (video[there] == clip[there]).all()
        assert all((inputs["there"] == 1).all() for _, _, inputs in seen)
    batched = sampler_of((3, 5)).infill(clip, known, num_steps=4, fill_missing=True, batch_size=1)
    np.testing.assert_array_equal(batched, video)
    long = sampler_of((3, 5)).rollout(9, holed(frames=3), num_steps=2, fill_missing=True)
    assert np.isfinite(long).all()


def test_sizes_that_the_network_does_not_divide_go_with_missing_numbers() -> None:
    seen: list = []
    sampler = sampler_of((3, 5), seen=seen, codec=Padding(3, 5, 4))
    clip, known = holed(), np.array([True, False, True, False])
    video = sampler.infill(clip, known, num_steps=3)
    assert video.shape == clip.shape and video[:, known].tobytes() == clip[:, known].tobytes()
    noisy_clip, _, inputs = seen[0]
    assert noisy_clip.shape == inputs["there"].shape == (2, 4, 4, 8, 1)
    np.testing.assert_array_equal(Padding(3, 5, 4).decode(inputs["there"])[:, known], ~np.isnan(clip[:, known]))
    assert inputs["there"].sum() == Padding(3, 5, 4).decode(inputs["there"]).sum()
    assert np.isfinite(sampler.infill(clip, known, num_steps=3, fill_missing=True)).all()


def test_static_fields_are_padded_with_the_clip() -> None:
    seen: list = []

    def denoise(noisy_clip, noise_label, inputs):
        seen.append(inputs)
        return noisy_clip

    spec = ModelSpec(
        ClipSpec(2, 3, 5, 1),
        SCHEDULE,
        PREDICTION,
        Unbounded(),
        Padding(3, 5, 4),
        {"land": StaticFields(((0.0, 1.0), (0.0, 4000.0)))},
    )
    land = np.random.default_rng(0).uniform(0, 1, (3, 5, 2))
    Sampler(spec, DenoiserEngine(denoise)).generate(3, num_steps=1, conditions={"land": land})
    assert seen[0]["land"].shape == (3, 4, 8, 2)
    np.testing.assert_allclose(seen[0]["land"][1, :3, :5], land, rtol=1e-6)


# Filling in, against theory.

CORRELATION = np.array([[1.0, 0.6, 0.3], [0.6, 1.2, 0.5], [0.3, 0.5, 0.8]])


def gaussian_sampler(covariance: np.ndarray) -> tuple[GaussianClips, Sampler]:
    """One frame of three pixels, of which the exact denoiser is known."""
    data = GaussianClips(np.array([0.2, -0.4, 0.1]).reshape(1, 1, 3, 1), covariance)
    exact = OracleSampler(data, ClipSpec(1, 1, 3, 1), SCHEDULE, PREDICTION)
    spec = ModelSpec(exact.spec.clip, SCHEDULE, PREDICTION, Unbounded(), None, {"there": Observed()})
    plain = DenoiserEngine(lambda clip, label, inputs: exact.engine.denoise(clip, label, {}))
    return data, Sampler(spec, plain, np.float64)


def replaced(data: GaussianClips, value: float, repeats: int = 1, **how) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the replacement method's samples, pixel 0 being known: exact, row by row."""
    table = step_table(SCHEDULE, PREDICTION, **how)
    hold, free = np.diag([1.0, 0.0, 0.0]), np.diag([0.0, 1.0, 1.0])
    mean, covariance = np.zeros(3), table.init_std**2 * np.eye(3)
    goal = np.array([value, 0.0, 0.0])
    for i in range(table.num_steps):
        (alpha, after), (sigma, cleaner) = table.alpha[i : i + 2, 0], table.sigma[i : i + 2, 0]
        matrix, offset = data.affine(alpha, sigma)
        a, b, std = table.a[i, 0], table.b[i, 0, 0], table.std[i, 0]
        step = a * np.eye(3) + b * matrix
        for again in range(repeats):
            if again:
                mean, covariance = alpha / after * mean, (alpha / after) ** 2 * covariance
                covariance = covariance + (sigma**2 - (alpha / after * cleaner) ** 2) * np.eye(3)
            mean, covariance = free @ mean + alpha * goal, free @ covariance @ free + sigma**2 * hold
            mean, covariance = step @ mean + b * offset, step @ covariance @ step.T + std**2 * np.eye(3)
    return free @ mean + goal, free @ covariance @ free


@pytest.mark.parametrize(
    ("repeats", "how"),
    [
        (1, dict(solver="ddim", num_steps=12)),
        (1, dict(solver="ddpm", num_steps=25)),
        (3, dict(solver="ddpm", num_steps=8)),
    ],
)
def test_filled_numbers_have_the_law_of_the_replacement_method(repeats: int, how) -> None:
    data, sampler = gaussian_sampler(CORRELATION)
    clips = np.full((20000, 1, 1, 3, 1), np.nan)
    clips[:, :, :, 0] = 1.5
    made = sampler.infill(clips, np.ones(1, bool), fill_missing=repeats, batch_size=20000, **how).reshape(-1, 3)
    mean, covariance = replaced(data, 1.5, repeats, **how)
    assert (made[:, 0] == 1.5).all()
    np.testing.assert_allclose(made.mean(axis=0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(made.T), covariance, atol=0.03)


def test_the_law_is_exact_for_independent_numbers_and_comes_near_for_others_with_repeats() -> None:
    how = dict(solver="ddim", num_steps=100)
    independent, _ = gaussian_sampler(np.diag([1.0, 1.2, 0.8]))
    mean, covariance = replaced(independent, 1.5, **how)
    np.testing.assert_allclose(mean, [1.5, -0.4, 0.1], atol=0.01)
    np.testing.assert_allclose(covariance, np.diag([0.0, 1.2, 0.8]), rtol=0.03)
    data, _ = gaussian_sampler(CORRELATION)
    gain = CORRELATION[:, 0] / CORRELATION[0, 0]
    exact, spread = data.mean.ravel() + gain * (1.5 - 0.2), CORRELATION - np.outer(gain, CORRELATION[0])
    errors = []
    for repeats, steps in ((1, 20), (5, 50), (10, 100), (40, 200)):
        mean, covariance = replaced(data, 1.5, repeats, solver="ddim", num_steps=steps)
        errors.append((np.abs(mean - exact).max(), np.abs(covariance - spread).max()))
    assert (np.diff(errors, axis=0)[:, 0] < 0).all() and errors[0][0] > 0.5
    assert errors[-1][0] < 0.05 and errors[-1][1] < 0.05
