"""Plans: their windows, their promises, and that each makes the exact conditional distribution.

For a Markov chain of Gaussian frames a window that sees the nearest frames on each side sees all that counts, so every
plan must give the exact mean and covariance of the whole video. A sampler is affine in its noise: fed unit vectors in
place of noise, the real sampler tells its own covariance exactly.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, Prediction, Sampler, masks, plans
from kvdiff.diffusion.process.schedules import logsnr
from kvdiff.diffusion.sampling.oracle import GaussianClips, OracleSampler
from kvdiff.diffusion.tasks.plan import Plan, Window
from tests.diffusion.helpers import moments, wrapped

FRAMES, KNOWN = 12, 2
SHAPE = (FRAMES, 1, 1, 1)
MARKOV = GaussianClips(
    np.linspace(-0.3, 0.3, FRAMES).reshape(SHAPE),
    0.25 * 0.8 ** np.abs(np.arange(FRAMES)[:, None] - np.arange(FRAMES)),
)
PAST = np.array([0.5, 0.2], np.float32).reshape(1, KNOWN, 1, 1, 1)


def markov_sampler() -> Sampler:
    return OracleSampler(MARKOV, ClipSpec(6, 1, 1, 1), logsnr(1000), Prediction("v"))


def rollout(plan: Plan, **sampling):
    past = PAST[:, : int(plan.known.sum())]

    def run(num_clips: int) -> np.ndarray:
        known = np.repeat(past, num_clips, axis=0) if past.size else None
        arguments = dict(num_steps=60, solver="dpmpp_2m", spacing="uniform_logsnr", batch_size=num_clips) | sampling
        return markov_sampler().rollout(plan.num_frames, known, num_clips=num_clips, plan=plan, **arguments)

    return run


def exact(known: int) -> GaussianClips:
    clip = np.zeros(SHAPE)
    clip[:known] = PAST[0, :known]
    return MARKOV.conditional(masks.first(FRAMES, known), clip) if known else MARKOV


@pytest.mark.parametrize("known", [0, KNOWN])
@pytest.mark.parametrize(
    "make", [plans.autoregressive, plans.hierarchical, plans.hierarchy_2, plans.rolling], ids=lambda make: make.__name__
)
def test_every_plan_gives_the_exact_conditional_distribution(monkeypatch, make, known: int) -> None:
    plan = make(FRAMES, 6, known=known)
    mean, covariance = moments(monkeypatch, rollout(plan))
    truth = exact(known)
    # What is left is the solver's own error at this many steps, which shrinks with them: see below.
    assert np.abs(mean - truth.mean.ravel()).max() < 0.003
    assert np.abs(covariance - truth.covariance).max() < 0.003


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("ddpm", 1), ("dpmpp_2m", 2)])
def test_more_steps_come_nearer_by_the_solvers_order(monkeypatch, solver: str, order: int) -> None:
    """In rolling windows, which stop half-way and carry on what a solver remembers."""
    errors = []
    for num_steps in (40, 160):
        plan = plans.rolling(FRAMES, 6, known=KNOWN)
        _, covariance = moments(monkeypatch, rollout(plan, solver=solver, num_steps=num_steps))
        errors.append(np.abs(covariance - exact(KNOWN).covariance).max())
        monkeypatch.undo()
    assert abs(np.log(errors[0] / errors[1]) / np.log(4) - order) < 0.4


def test_a_window_that_forgets_its_past_is_noticed(monkeypatch) -> None:
    """The oracle is no rubber stamp: windows that do not overlap miss the covariance across their border."""
    blind = Plan(FRAMES, masks.none(FRAMES), [Window.of(range(6), range(6)), Window.of(range(6, 12), range(6, 12))])
    _, covariance = moments(monkeypatch, rollout(blind))
    assert np.abs(covariance - MARKOV.covariance).max() > 0.15


def test_frame_rate_is_the_exact_conditional(monkeypatch) -> None:
    clip = np.linspace(-0.5, 0.5, 4).reshape(1, 4, 1, 1, 1).astype(np.float32)

    def run(num_clips: int) -> np.ndarray:
        small = np.repeat(clip, num_clips, axis=0)
        return markov_sampler().increase_frame_rate(
            small, 3, num_steps=60, solver="dpmpp_2m", spacing="uniform_logsnr", batch_size=num_clips
        )

    mean, covariance = moments(monkeypatch, run)
    of_ten = MARKOV.of_frames(np.arange(10))
    whole = np.zeros((10, 1, 1, 1))
    whole[::3] = clip[0]
    truth = of_ten.conditional(masks.every(10, 3), whole)
    assert np.abs(mean - truth.mean.ravel()).max() < 0.003 and np.abs(covariance - truth.covariance).max() < 0.003


def test_one_window_is_the_clip_itself() -> None:
    oracle = markov_sampler()
    past = np.repeat(PAST, 3, axis=0)
    sampling = dict(num_steps=6, solver="ddpm", seed=5)
    whole = oracle.rollout(6, past, **sampling)
    assert (whole[:, KNOWN:] == oracle.predict_frames(past, 4, **sampling)).all()
    assert (whole[:, :KNOWN] == past).all()
    plan = plans.whole(masks.first(6, KNOWN))
    assert (oracle.rollout(6, past, plan=plan, **sampling) == whole).all()


@pytest.mark.parametrize("name", sorted(plans.PLANS))
def test_a_rollout_does_not_depend_on_the_batch_around_it(name: str) -> None:
    oracle, past = markov_sampler(), np.repeat(PAST, 3, axis=0)
    sampling = dict(num_steps=10, solver="ddpm", seed=3, plan=name)
    together = oracle.rollout(FRAMES, past, **sampling)
    alone = [oracle.rollout(FRAMES, past[:1], first_sample=i, **sampling) for i in range(3)]
    assert np.allclose(together, np.concatenate(alone), atol=1e-12)
    assert (together[:, :KNOWN] == past).all() and (together[0] != together[1]).any()
    assert np.allclose(oracle.rollout(FRAMES, past, batch_size=2, **sampling), together, atol=1e-12)


def test_cost() -> None:
    plan = plans.rolling(20, 6, context=2, known=2)
    assert plan.parts == 4 and plan.longest == 6 and not plan.has_gaps
    seen = []
    markov_plan = plans.rolling(FRAMES, 6, context=2, known=2)
    markov_sampler().rollout(
        FRAMES, PAST, plan=markov_plan, num_steps=8, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(i + 1, markov_plan.calls(8)) for i in range(markov_plan.calls(8))]
    assert plans.hierarchical(20, 6).has_gaps and plans.autoregressive(20, 6).calls(10) == 60
    assert plan.memory((4, 4, 3), num_clips=2, solver_memory=2) == 2 * 4 * 48 * (3 * 20 + 4 * 6)


def test_a_finished_frame_is_shown_with_noise_when_asked(monkeypatch) -> None:
    """Context noise: the network is shown known frames at that level and told so; they come back clean."""
    shown = []

    def recorded(inner, noisy_clip, noise_label, inputs):
        shown.append((np.array(noisy_clip), np.array(noise_label)))
        return inner(noisy_clip, noise_label, inputs)

    oracle = wrapped(markov_sampler(), recorded)
    past = np.repeat(PAST, 2000, axis=0)
    made = oracle.rollout(8, past, num_steps=2, known_noise=0.2, batch_size=2000)
    assert (made[:, :KNOWN] == past).all() and len(shown) == 4
    noisy, label = shown[0]
    assert np.allclose(label[:, :KNOWN], 0.2) and (label[:, KNOWN:] > 0.5).all()
    residual = noisy[:, :KNOWN] - np.cos(0.1 * np.pi) * past
    assert abs(residual.std() - np.sin(0.1 * np.pi)) < 0.01
    again = shown[2][0][:, 0] - np.cos(0.1 * np.pi) * made[:, 2]  # The second window's noise is its own.
    assert np.abs(np.corrcoef(residual[:, 0].ravel(), again.ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plans.autoregressive(8, 4, overlap=4), "`overlap`: expected an integer from 1 to 3. Received: 4"),
        (lambda: plans.autoregressive(8, 4, known=8), "`known`: expected an integer from 0 to 7. Received: 8"),
        (
            lambda: plans.hierarchical(8, 4, anchor_step=4),
            "`anchor_step`: expected an integer from 2 to 3. Received: 4",
        ),
        (lambda: plans.hierarchy_2(8, 3), "`window`: expected an integer >= 4. Received: 3"),
        (lambda: plans.rolling(8, 4, context=4), "`context`: expected an integer from 0 to 3. Received: 4"),
        (lambda: plans.frame_rate(8, 4, factor=3), "`num_frames`: expected one more than a multiple of 3, e.g. 7."),
        (
            lambda: plans.rolling(8, 4, context=1).calls(10),
            "`num_steps`: expected a multiple of .* 3 parts, e.g. 9 or 12",
        ),
    ],
)
def test_a_wrong_plan_refuses_to_exist(make, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_a_wrong_rollout_is_named() -> None:
    oracle = markov_sampler()
    with pytest.raises(ValueError, match="`num_frames`: expected more than the 2 frames of `past`. Received: 2"):
        oracle.rollout(2, PAST)
    with pytest.raises(
        ValueError, match="`plan`: expected one of 12 frames that knows frames .0, 1.. Received: one of 12"
    ):
        oracle.rollout(12, PAST, plan=plans.autoregressive(12, 6, known=3))
    with pytest.raises(ValueError, match="`plan`: expected one of 12 .* Received: one of 11 frames that knows .0, 1"):
        oracle.rollout(12, PAST, plan=plans.autoregressive(11, 6, known=2))
    with pytest.raises(ValueError, match="`plan`: expected one of .*'rolling'.* Received: 'spiral'"):
        oracle.rollout(12, PAST, plan="spiral")
    with pytest.raises(ValueError, match="`num_steps`: expected a multiple of this plan's 5 parts, e.g. 10 or 15"):
        oracle.rollout(12, PAST, plan="rolling", num_steps=12)
    oracle = dataclasses.replace(oracle, spec=dataclasses.replace(oracle.spec, conditions={}))
    with pytest.raises(ValueError, match="`plan`: expected windows of neighbouring frames.* Received: hierarchical"):
        oracle.rollout(12, PAST, plan="hierarchical")


@pytest.mark.parametrize("at_a_time", [1, 2])
def test_every_verb_takes_a_plan(monkeypatch, at_a_time: int) -> None:
    """A Markov chain is exact whatever is generated together: prediction, interpolation and generation."""
    sampling = dict(num_steps=60, solver="dpmpp_2m", spacing="uniform_logsnr", at_a_time=at_a_time)

    def predicted(count: int) -> np.ndarray:
        past = np.repeat(PAST, count, axis=0)
        return markov_sampler().predict_frames(past, 4, batch_size=count, **sampling)

    def between(count: int) -> np.ndarray:
        ends = np.repeat(PAST, count, axis=0)
        return markov_sampler().interpolate(ends, ends[:, ::-1], 2, batch_size=count, **sampling)

    def generated(count: int) -> np.ndarray:
        return markov_sampler().generate(count, num_frames=6, batch_size=count, **sampling)

    six = MARKOV.of_frames(np.arange(6))
    past = np.concatenate([PAST[0], np.zeros((4, 1, 1, 1))])
    ends = np.concatenate([PAST[0], np.zeros((2, 1, 1, 1)), PAST[0, ::-1]])
    for run, exact, frames in (
        (predicted, six.conditional(masks.first(6, 2), past), slice(2, 6)),
        (between, six.conditional(masks.ends(6, 2, 2), ends), slice(2, 4)),
        (generated, six, slice(0, 6)),
    ):
        mean, covariance = moments(monkeypatch, run)
        np.testing.assert_allclose(mean, exact.mean.ravel()[frames], atol=0.01)
        np.testing.assert_allclose(covariance, exact.covariance[frames, frames], atol=0.01)


def test_plans_that_do_not_fit_are_refused() -> None:
    sampler, ends = markov_sampler(), np.repeat(PAST, 2, axis=0)
    with pytest.raises(ValueError, match="`at_a_time`: expected no `plan` beside it"):
        sampler.generate(plan="autoregressive", at_a_time=1)
    with pytest.raises(ValueError, match="`plan`: expected the first frames to be known, for a plan by name"):
        sampler.interpolate(PAST, PAST, plan="autoregressive")
    with pytest.raises(TypeError, match="`plan`: expected a Plan or one of .* Received: 5"):
        sampler.generate(plan=5)
    with pytest.raises(ValueError, match="`plan`, `at_a_time`: expected the same known frames in every clip"):
        sampler.infill(np.zeros((2, 6, 1, 1, 1), np.float32), np.eye(2, 6, dtype=bool), at_a_time=1)
    bare = dataclasses.replace(sampler, spec=dataclasses.replace(sampler.spec, conditions={}))
    with pytest.raises(ValueError, match="windows of neighbouring frames"):
        bare.interpolate(ends, ends, at_a_time=1)


def test_a_models_own_defaults_are_taken_where_nothing_is_named() -> None:
    sampler = markov_sampler()
    own = {"predict": {"at_a_time": 1, "num_steps": 2, "solver": "ddim", "spacing": "leading", "eta": 1.0}}
    tuned = dataclasses.replace(sampler, spec=dataclasses.replace(sampler.spec, sampling=own))
    plain = dict(at_a_time=1, num_steps=2, solver="ddim", spacing="leading", eta=1.0)
    assert (tuned.predict_frames(PAST) == sampler.predict_frames(PAST, **plain)).all()
    assert (tuned.generate() == sampler.generate()).all()
    other = sampler.predict_frames(PAST, solver="dpmpp_2m", num_steps=2, at_a_time=2)
    assert (tuned.predict_frames(PAST, solver="dpmpp_2m", at_a_time=2) == other).all()
