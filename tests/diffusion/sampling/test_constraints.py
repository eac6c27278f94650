"""Constraint guidance: on Gaussian clips the samples' law converges to the exact one given what is imposed."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion import (
    AveragePool,
    ClipSpec,
    DenoiserEngine,
    Linear,
    ModelSpec,
    OracleSampler,
    Prediction,
    Sampler,
    constraints,
    masks,
    oracle,
    step_table,
)
from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.diffusion.sampling.constraints import BlockMeans, ClipTotal, Constraint, FrameTotals, Imposed, PixelValues
from kvdiff.diffusion.sampling.engine import Draws

RNG = np.random.default_rng(0)
SHAPE = (3, 2, 2, 1)
FACTOR = 0.4 * RNG.normal(size=(12, 12))
DATA = oracle.GaussianClips(0.3 * RNG.normal(size=SHAPE), FACTOR @ FACTOR.T + 0.05 * np.eye(12))
CLIP = RNG.normal(size=SHAPE)
KNOWN = masks.first(3, 1)
OBSERVED = np.full((1, *SHAPE), np.nan)
OBSERVED[0, 2, 0, 1, 0] = 0.4


def rows(*pixels: range | list[int], value: float = 1.0) -> np.ndarray:
    matrix = np.zeros((len(pixels), 12))
    for row, own in zip(matrix, pixels, strict=True):
        row[list(own)] = value
    return matrix


CASES: dict[str, tuple[list[Constraint], np.ndarray, np.ndarray, np.ndarray]] = {
    "a total and a noisy observation": (
        [Constraint(FrameTotals(), [[np.nan, 1.5, -0.7]]), Constraint(PixelValues(), OBSERVED, noise=0.2)],
        rows(range(4, 8), range(8, 12), [9]),
        np.array([1.5, -0.7, 0.4]),
        np.array([0.0, 0.0, 0.04]),
    ),
    "a coarse field": (
        [Constraint(BlockMeans(2), np.array([np.nan, 0.5, -0.2]).reshape(1, 3, 1, 1, 1), noise=0.1)],
        rows(range(4, 8), range(8, 12), value=0.25),
        np.array([0.5, -0.2]),
        np.array([0.01, 0.01]),
    ),
    "the whole clip's total": ([Constraint(ClipTotal(), [2.0])], rows(range(12)), np.array([2.0]), np.zeros(1)),
}
"""By name: what is imposed, and the same as a matrix of the clip's pixels, its targets and their variances."""


def exact(case: str) -> tuple[np.ndarray, np.ndarray]:
    """(mean, covariance) given the known frame and what is imposed."""
    _, matrix, target, variance = CASES[case]
    given = DATA.conditional(KNOWN, CLIP)
    gain = given.covariance @ matrix.T @ np.linalg.inv(matrix @ given.covariance @ matrix.T + np.diag(variance))
    mean = given.mean.ravel() + gain @ (target - matrix @ given.mean.ravel())
    return mean, given.covariance - gain @ matrix @ given.covariance


def sampled(case: str, solver: str, num_steps: int, prediction: str = "v") -> tuple[np.ndarray, np.ndarray]:
    """(mean, covariance) of what a deterministic solver generates: an affine map of its noise, so seen from a basis."""
    sampler = OracleSampler(DATA, ClipSpec(*SHAPE), cosine(20_000), Prediction(prediction))
    spec = sampler.spec
    how = dict(solver=solver, num_steps=num_steps, spacing="uniform_logsnr")
    table = step_table(spec.schedule, spec.prediction, **how).with_known(KNOWN)
    noise = table.init_std * np.concatenate([np.zeros((1, 12)), np.eye(12)])
    x = np.where(np.repeat(KNOWN, 4), CLIP.ravel(), noise).reshape(13, *SHAPE)
    imposed = Imposed.of(spec, CASES[case][0], 5, x, 1)
    draws = Draws(0, np.arange(13), 0, SHAPE, Conditioning({}, {}), None, lambda rows: None, imposed)
    made, _ = sampler.engine.run_window(table, x, np.zeros((table.memory, *x.shape)), draws)
    made = made.reshape(13, 12)
    moves = made[1:] - made[0]
    return made[0], moves.T @ moves


@functools.cache
def errors(case: str, solver: str) -> list[tuple[float, float]]:
    """Of mean and covariance, at 40 and 80 steps."""
    wanted = exact(case)
    found = [sampled(case, solver, steps) for steps in (40, 80)]
    return [tuple(float(np.abs(a - b).max()) for a, b in zip(each, wanted, strict=True)) for each in found]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpmpp_2m", 2)])
def test_the_law_converges_to_the_exact_one_at_the_solvers_order(case: str, solver: str, order: int) -> None:
    means, covariances = np.array(errors(case, solver)).T
    assert (means < 2e-5).all()
    assert covariances[0] / covariances[1] > 0.85 * 2**order
    assert covariances[1] < (0.2 if order == 1 else 0.01)


@pytest.mark.parametrize("prediction", ["eps", "x0"])
def test_it_does_not_matter_what_the_network_predicts(prediction: str) -> None:
    case = "a total and a noisy observation"
    for found, wanted in zip(sampled(case, "dpmpp_2m", 20, prediction), sampled(case, "dpmpp_2m", 20), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_without_a_target_nothing_changes_and_an_exact_one_is_met() -> None:
    sampler = OracleSampler(DATA, ClipSpec(*SHAPE), cosine(1000), Prediction("v"))
    past, how = np.stack([CLIP, -CLIP])[:, :1], dict(num_steps=6, solver="dpmpp_2m_sde", seed=3, batch_size=1)
    free = sampler.predict_frames(past, **how)
    asked = [Constraint(FrameTotals(), np.full((1, 3), np.nan))]
    np.testing.assert_allclose(sampler.predict_frames(past, constraints=asked, **how), free, atol=1e-12)
    target = np.array([[np.nan, 1.0, 2.0], [np.nan, -3.0, np.nan]])
    asked = [Constraint(FrameTotals(), target)]
    made = sampler.predict_frames(past, constraints=asked, num_members=3, **how)
    totals = made.sum(axis=(3, 4, 5))
    np.testing.assert_allclose(totals[:, ~np.isnan(target[:, 1:])], np.tile([1.0, 2.0, -3.0], (3, 1)), atol=1e-6)
    assert np.ptp(made, axis=0).min() > 1e-3  # Members still differ.


def test_every_window_of_a_long_video_has_its_own_targets() -> None:
    sampler = OracleSampler(DATA, ClipSpec(*SHAPE), cosine(1000), Prediction("v"))
    target = np.linspace(-1, 1, 7)[None]
    target[0, 0] = np.nan
    asked = [Constraint(FrameTotals(), target)]
    sampler = Sampler(  # Of neighbouring frames alone, for the data has no more than three.
        ModelSpec(sampler.spec.clip, sampler.spec.schedule, sampler.spec.prediction, sampler.spec.values),
        sampler.engine,
        np.float64,
    )
    video = sampler.rollout(7, CLIP[None, :1], num_steps=4, constraints=asked)
    np.testing.assert_allclose(video.sum(axis=(2, 3, 4))[0, 1:], target[0, 1:], atol=1e-6)
    with pytest.raises(ValueError, match="`constraints`: ClipTotal expected one window for the whole clip. Received: "):
        sampler.rollout(7, CLIP[None, :1], num_steps=4, constraints=[Constraint(ClipTotal(), [1.0])])


def test_targets_are_in_the_numbers_of_the_values() -> None:
    """Of a linear scale, the same as on x_0 with targets scaled likewise."""
    exact_sampler = OracleSampler(DATA, ClipSpec(*SHAPE), cosine(1000), Prediction("v"))
    plain = exact_sampler.spec
    linear = Linear(-10.0, 30.0)
    spec = ModelSpec(plain.clip, plain.schedule, plain.prediction, linear)
    past = np.clip(0.3 * CLIP[None, :1], -1, 1)
    how: dict[str, Any] = dict(num_steps=5, solver="ddim", seed=1)
    total = Constraint(FrameTotals(), [[np.nan, 0.5, 0.4]], noise=0.1)
    wide = Constraint(FrameTotals(), [[np.nan, 4 * 10 + 20 * 0.5, 4 * 10 + 20 * 0.4]], noise=2.0)
    engine = exact_sampler.engine
    clamped = DenoiserEngine(engine.denoise, clamp=lambda x: np.clip(x, -1, 1), pullback=engine.pullback)
    inside = Sampler(plain, clamped, np.float64).predict_frames(past, constraints=[total], **how)
    scaled = Sampler(spec, clamped, np.float64).predict_frames(linear.decode(past), constraints=[wide], **how)
    np.testing.assert_allclose(linear.encode(scaled), inside, atol=2e-5)


def test_a_wrong_gradient_of_a_noisy_clip_makes_no_large_change() -> None:
    """Where there is much noise, a network's small error is all of its covariance, which then is none."""
    spec = OracleSampler(DATA, ClipSpec(*SHAPE), cosine(50), Prediction("v")).spec
    asked = [Constraint(BlockMeans(1), RNG.normal(size=(200, *SHAPE)))]
    imposed = Imposed.of(spec, asked, 5, np.zeros((200, *SHAPE)), 1)
    scale, error = 1e4, 0.1
    wrong = error * RNG.normal(size=(200, 12, 12)) / 12**0.5  # Neither symmetric nor positive.

    def covariance(u: np.ndarray) -> np.ndarray:
        return scale * np.einsum("bij,bj->bi", wrong, u.reshape(200, 12)).reshape(u.shape)

    predicted, wanted = np.zeros((200, *SHAPE)), np.abs(asked[0].target).max()
    # Conjugate gradients alone would go 10⁷ away.
    assert np.abs(imposed.correction(np, predicted, covariance)).max() < 10 * wanted


@pytest.mark.parametrize("quantity", [PixelValues(), BlockMeans(2), FrameTotals(), ClipTotal()])
def test_spread_is_the_transpose_of_measure(quantity: constraints.Quantity) -> None:
    clip = RNG.normal(size=(2, 3, 4, 6, 2))
    value = RNG.normal(size=(2, *quantity.shape(3, (4, 6, 2))))
    spread = quantity.spread(np, value, clip)
    assert spread.shape == clip.shape
    assert (quantity.measure(np, clip) * value).sum() == pytest.approx((clip * spread).sum())


def no_gradient() -> Sampler:
    of = OracleSampler(DATA, ClipSpec(*SHAPE), cosine(50), Prediction("v"))
    return Sampler(of.spec, DenoiserEngine(of.engine.denoise))


def of_codec() -> Sampler:
    of = OracleSampler(DATA, ClipSpec(*SHAPE), cosine(50), Prediction("v"))
    spec = ModelSpec(ClipSpec(3, 4, 4, 1), of.spec.schedule, of.spec.prediction, codec=AveragePool(2))
    return Sampler(spec, of.engine)


TOTALS = [Constraint(FrameTotals(), [[1.0, 1.0, 1.0]])]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: no_gradient().generate(1, constraints=TOTALS), TypeError, "`constraints`: expected an engine .*Den"),
        (lambda s: of_codec().generate(1, constraints=TOTALS), ValueError, "`constraints`: expected a model without a"),
        (lambda s: s.generate(1, constraints=TOTALS[0]), TypeError, "`constraints`: expected a list of constraints"),
        (lambda s: s.generate(1, constraints=[]), TypeError, "`constraints`: expected a list of constraints"),
        (lambda s: s.generate(1, constraints=[1.0]), TypeError, "`constraints`: expected constraints. Received: 1.0"),
        (
            lambda s: s.generate(3, constraints=[Constraint(FrameTotals(), np.zeros((2, 3)))]),
            ValueError,
            r"target of FrameTotals expected shape \['1 or 3', 3\]. Received: \[2, 3\]",
        ),
        (
            lambda s: s.generate(1, constraints=[Constraint(BlockMeans(3), np.zeros((1, 3, 1, 1, 1)))]),
            ValueError,
            "`scale`: expected a divisor of 2 and 2. Received: 3",
        ),
        (
            lambda s: s.generate(1, constraints=TOTALS, constraint_iterations=0),
            ValueError,
            "`constraint_iterations`: .*Received: 0",
        ),
        (lambda s: Constraint(FrameTotals(), [[np.inf]]), ValueError, "`target`: expected finite numbers, or NaN"),
        (lambda s: Constraint(FrameTotals(), [[0.0]], noise=-1.0), ValueError, "`noise`: .*Received: -1.0"),
        (lambda s: Constraint(1, [[0.0]]), TypeError, "`quantity`: expected a quantity, e.g. FrameTotals"),
    ],
)
def test_what_cannot_be_imposed_is_named(call, error, message: str) -> None:
    with pytest.raises(error, match=message):
        call(OracleSampler(DATA, ClipSpec(*SHAPE), cosine(50), Prediction("v")))
