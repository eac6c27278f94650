"""History guidance against the closed form: for Gaussian data a guided denoiser is affine, like those it is made of."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion import (
    Cascade,
    ClipSpec,
    DenoiserEngine,
    KnownFrames,
    Prediction,
    Sampler,
    masks,
    oracle,
    step_table,
)
from kvdiff.diffusion.sampling.constraints import Constraint, FrameTotals
from kvdiff.diffusion.sampling.oracle import OracleSampler
from kvdiff.diffusion.tasks.known_frames import Every, First, Mixture, Nothing
from tests.diffusion.helpers import SHAPE, SIZE, gaussian, moments, schedule, wrapped

DATA, CLIP = gaussian(), np.float32(gaussian(1).mean)
KNOWN = np.array([True, False, True])
TASKS = {"first": masks.first(3, 1), "ends": KNOWN, "last": masks.last(3, 2)}
SPEC = ClipSpec(*SHAPE)


def sampler(prediction: str = "v", of: str = "cosine", **spec: Any) -> Sampler:
    made = OracleSampler(DATA, SPEC, schedule(of), Prediction(prediction))
    return dataclasses.replace(made, spec=dataclasses.replace(made.spec, **spec))


def without_known(known: np.ndarray, prediction: Prediction) -> Any:
    """The raw output of a perfect network that sees the generated frames alone, as `oracle.exact_network` says it."""

    def network(c_in: Any, alpha: Any, sigma: Any) -> tuple[np.ndarray, np.ndarray]:
        alone = np.flatnonzero(np.repeat(~known, SIZE // len(known)))
        a, s = (np.repeat(np.broadcast_to(each, 3)[~known], SIZE // 3)[:, None] for each in (alpha, sigma))
        c = DATA.covariance[np.ix_(alone, alone)]
        gain = c * a.T @ np.linalg.inv(a * c * a.T + np.diag(s[:, 0] ** 2))  # Of D = mean + gain (x - alpha mean).
        mean = DATA.mean.ravel()[alone]
        p, q = (np.diag(each[:, 0]) for each in prediction.target_coefficients(a, s))
        eps = (np.eye(len(alone)) - np.diag(a[:, 0]) @ gain) / s  # As a map of x - alpha mean.
        matrix, offset = np.zeros((SIZE, SIZE)), np.zeros(SIZE)
        weights = p @ gain + q @ eps
        matrix[np.ix_(alone, alone)] = weights / np.broadcast_to(c_in, 3)[~known][0]
        offset[alone] = p @ mean - weights @ (a[:, 0] * mean)
        return matrix, offset

    return network


@pytest.mark.parametrize(
    ("of", "prediction"), [("cosine", "v"), ("cosine", "eps"), ("karras", "edm"), ("flow", "flow")]
)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m", "ddpm"])
def test_samples_have_the_moments_of_the_guided_denoiser(monkeypatch, of, prediction, task: str, solver: str) -> None:
    known, weight, words = TASKS[task], 1.7, dict(solver=solver, num_steps=6)
    guided = sampler(prediction, of, independent_noise=1.0)

    def run(count: int) -> np.ndarray:
        clips = np.repeat(CLIP[None], count, axis=0)
        return guided.infill(clips, known, history_guidance=weight, batch_size=count, **words)

    mean, covariance = moments(monkeypatch, run)
    networks = oracle.exact_network(DATA, Prediction(prediction)), without_known(known, Prediction(prediction))

    def network(*at: Any) -> tuple[np.ndarray, np.ndarray]:
        (main, main_offset), (guide, guide_offset) = (each(*at) for each in networks)
        return guide + weight * (main - guide), guide_offset + weight * (main_offset - guide_offset)

    table = step_table(schedule(of), Prediction(prediction), **words).with_known(known)
    expected = oracle.push_through(table, network, SHAPE, CLIP)[-1]
    # The noisiest level of a schedule is not noise alone.
    np.testing.assert_allclose(mean, expected.mean.ravel(), atol=2e-3)
    np.testing.assert_allclose(covariance, expected.covariance, atol=2e-3)
    plain = oracle.push_through(table, networks[0], SHAPE, CLIP)[-1]
    changes = expected.mean - plain.mean, expected.covariance - plain.covariance
    assert max(np.abs(change).max() for change in changes) > 5e-3


@pytest.mark.parametrize("known_noise", [0.0, 0.3])
def test_where_training_had_one_level_the_guide_has_too(monkeypatch, known_noise: float) -> None:
    """Its known frames are x_0 with noise of its own, at the others' level: here written frame by frame."""
    weight, words = 2.5, dict(solver="ddim", num_steps=5)
    guided = sampler()

    def run(count: int) -> np.ndarray:
        more = dict(history_guidance=weight, known_noise=known_noise, batch_size=count)
        return guided.infill(np.repeat(CLIP[None], count, axis=0), KNOWN, **more, **words)

    mean, covariance = moments(monkeypatch, run)
    # Numbers as rows of an affine map: a column for 1, then noise of the start, of known frames, and of the guide's.
    start, own, more = (np.eye(3 * SIZE + 1)[1 + k * SIZE : 1 + (k + 1) * SIZE] for k in range(3))
    one, at = np.eye(3 * SIZE + 1)[:1], np.repeat(KNOWN, 2)[:, None]
    angle = known_noise * np.pi / 2
    clean = np.where(at, CLIP.reshape(-1, 1) * one, 0.0)
    seen = np.cos(angle) * clean + np.sin(angle) * own
    x, table = np.where(at, clean, start), step_table(schedule("cosine"), Prediction("v"), **words)
    for i in range(5):
        a, s = float(table.alpha[i, 0]), float(table.sigma[i, 0])
        ratio, hidden = a / np.cos(angle), seen
        if np.arctan2(s, a) > angle:  # Else the known frames are noisier than the others, and stay.
            hidden = ratio * seen + np.sqrt(s**2 - (ratio * np.sin(angle)) ** 2) * more
            level = (a, s)
        else:
            level = (np.cos(angle), np.sin(angle))

        def clip_of(known_rows: np.ndarray, known_level: tuple[float, float], x=x, a=a, s=s) -> np.ndarray:
            alpha, sigma = (np.where(KNOWN, k, g) for k, g in zip(known_level, (a, s), strict=True))
            matrix, offset = DATA.affine(alpha, sigma)
            return matrix @ np.where(at, known_rows, x) + offset[:, None] * one

        main, guide = clip_of(seen, (np.cos(angle), np.sin(angle))), clip_of(hidden, level)
        d = guide + weight * (main - guide)
        x = np.where(at, x, float(table.a[i, 0]) * x + float(table.b[i, 0, 0]) * d)
    np.testing.assert_allclose(mean, x[:, 0], atol=1e-6)
    np.testing.assert_allclose(covariance, x[:, 1:] @ x[:, 1:].T, atol=1e-6)


def test_it_makes_prediction_follow_its_past() -> None:
    """Above 1 the mean of what follows goes further from the data's than the best prediction does."""
    data = oracle.GaussianClips(np.zeros((2, 1, 1, 1)), 0.25 * np.array([[1.0, 0.6], [0.6, 1.0]]))
    made = OracleSampler(data, ClipSpec(2, 1, 1, 1), schedule("cosine"), Prediction("v"))
    past = np.full((2000, 1, 1, 1, 1), 0.8, np.float32)
    words = dict(num_steps=10, batch_size=2000)
    means = [made.predict_frames(past, history_guidance=weight, **words).mean() for weight in (0.0, 1.0, 2.0)]
    assert means[0] < means[1] - 0.05 and means[1] + 0.05 < means[2]


def test_weight_one_costs_nothing_and_others_a_second_call_inside_the_interval() -> None:
    calls: list[tuple[int, float]] = []

    def counted(inner: Any, noisy_clip: Any, noise_label: Any, inputs: Any) -> Any:
        calls.append((len(noisy_clip), float(noise_label.max())))
        return inner(noisy_clip, noise_label, inputs)

    made = wrapped(sampler(), counted)
    for words, expected in (({}, 6), ({"history_guidance": 2.0}, 12)):
        calls.clear()
        made.infill(CLIP[None], KNOWN, num_steps=6, **words)
        assert len(calls) == expected
    calls.clear()
    made.infill(CLIP[None], KNOWN, num_steps=6, history_guidance=2.0, guidance_interval=(0.3, 0.7))
    inside = [0.3 <= level <= 0.7 for _, level in calls]
    assert len(calls) == 6 + sum(inside) // 2 and 0 < sum(inside) < 8


def test_rescaling_keeps_each_clips_standard_deviation() -> None:
    """Of the network's output, which in one step is the clip; the guide's is four times as wide."""
    spec, wide = sampler("x0", independent_noise=1.0).spec, np.random.default_rng(0).normal(size=(1, *SHAPE))

    def denoise(noisy_clip: Any, noise_label: Any, inputs: Any) -> np.ndarray:
        return wide * (4.0 if noise_label[0, 0] > 0 else 1.0)

    made, words = Sampler(spec, DenoiserEngine(denoise), np.float64), dict(num_steps=1, solver="ddim")
    known = masks.first(3, 1)
    plain, pushed, taken = (
        made.infill(CLIP[None], known, history_guidance=weight, guidance_rescale=share, **words)[:, 1:]
        for weight, share in ((1.0, 0.0), (3.0, 0.0), (3.0, 1.0))
    )
    np.testing.assert_allclose(plain, wide[:, 1:], atol=1e-12)
    np.testing.assert_allclose(pushed, (4.0 + 3.0 * (1.0 - 4.0)) * plain, atol=1e-12)
    contrast = np.concatenate([wide[:, :1], pushed], axis=1).std() / wide.std()
    np.testing.assert_allclose(taken, pushed / contrast, atol=1e-12)


@pytest.mark.parametrize("independent", [0.0, 1.0])
def test_frames_of_earlier_windows_are_known_too_and_a_batch_changes_nothing(independent: float) -> None:
    covariance = 0.25 * 0.8 ** np.abs(np.arange(8)[:, None] - np.arange(8))
    data = oracle.GaussianClips(np.zeros((8, 1, 1, 1)), covariance)
    made = OracleSampler(data, ClipSpec(4, 1, 1, 1), schedule("cosine"), Prediction("v"))
    made = dataclasses.replace(made, spec=dataclasses.replace(made.spec, independent_noise=independent))
    past = np.float32([0.3, -0.2, 0.5]).reshape(3, 1, 1, 1, 1)
    for words in (dict(at_a_time=1), dict(plan="rolling"), {}):
        words |= dict(num_steps=3)
        together = made.rollout(8, past, history_guidance=2.0, **words)
        alone = [made.rollout(8, past[i : i + 1], history_guidance=2.0, first_sample=i, **words) for i in range(3)]
        np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-12)
        assert (together[:, :1] == past).all()
        assert np.abs(together - made.rollout(8, past, **words)).max() > 0.01
    made.rollout(8, num_steps=3, history_guidance=2.0)  # The first window knows nothing.


def test_each_clip_of_a_batch_has_its_own_known_frames() -> None:
    made, words = sampler(), dict(num_steps=4, history_guidance=2.0, solver="ddpm")
    clips, known = np.repeat(CLIP[None], 3, axis=0), np.array([[False] * 3, [True, False, False], [False, True, True]])
    together = made.infill(clips, known, **words)
    for i in range(1, 3):
        alone = made.infill(clips[i : i + 1], known[i], first_sample=i, **words)
        np.testing.assert_allclose(together[i], alone[0], atol=1e-12)


@pytest.mark.parametrize(
    ("mask", "includes"),
    [
        (KnownFrames(), True),
        (KnownFrames(none=0.0), False),
        (Nothing(), True),
        (First(), False),
        (Mixture({First(): 1, Mixture({Every(): 1, Nothing(): 1}): 1}), True),
        (Mixture({First(): 1, Mixture({Every(): 1, Nothing(): 1}): 0}), False),
    ],
)
def test_a_model_must_have_been_trained_without_known_frames_too(mask: Any, includes: bool) -> None:
    made = sampler(known_frames=mask)
    assert mask.includes_none is includes
    if includes:
        made.infill(CLIP[None], KNOWN, num_steps=2, history_guidance=2.0)
    else:
        with pytest.raises(ValueError, match=r"`history_guidance`: expected 1 for .* Nothing\(\) .* Received: 2.0 and"):
            made.infill(CLIP[None], KNOWN, num_steps=2, history_guidance=2.0)
        made.infill(CLIP[None], KNOWN, num_steps=2, history_guidance=1.0)


def test_what_it_does_not_go_with_is_named() -> None:
    made = sampler()
    with pytest.raises(ValueError, match="`history_guidance`: expected 1 where no frame is known. Received: 2.0"):
        made.generate(1, history_guidance=2.0)
    with pytest.raises(ValueError, match="`history_guidance`: expected a number in .* Received: -1"):
        made.infill(CLIP[None], KNOWN, history_guidance=-1.0)
    target = np.full((1, 3), np.nan)
    target[0, 1] = 0.1
    with pytest.raises(ValueError, match="`constraints`: expected no `history_guidance` beside them"):
        made.infill(CLIP[None], KNOWN, history_guidance=2.0, constraints=[Constraint(FrameTotals(), target)])

    class Whole:
        def run_window(self, *_: Any) -> None:
            raise AssertionError

    with pytest.raises(TypeError, match="`history_guidance`: expected an engine of single network calls"):
        Sampler(made.spec, Whole()).infill(CLIP[None], KNOWN, history_guidance=2.0)


def test_in_a_cascade_it_is_the_bases() -> None:
    seen: list[str] = []

    class Same:
        def enlarged(self, spec: ClipSpec) -> ClipSpec:
            return spec

        def run(self, clips: np.ndarray, sampling: dict[str, Any]) -> np.ndarray:
            seen.extend(sampling)
            return clips

    base = Sampler(sampler().spec, DenoiserEngine(sampler().engine.denoise), np.float64)
    made = Cascade(base, Same()).predict_frames(CLIP[None, :1], num_steps=3, history_guidance=2.0)
    assert seen == ["num_steps"] and made.shape == (1, 2, *SHAPE[1:])
