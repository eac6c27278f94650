"""Engines: what a window asks of them, and that no noise is drawn twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, DenoiserEngine, FrameTimes, Prediction, masks, plans, step_table
from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.process.noise import CONTEXT, SAMPLING, video_noise
from kvdiff.diffusion.sampling import engine
from kvdiff.diffusion.sampling.engine import Draws, check_finite
from kvdiff.diffusion.tasks.plan import Plan
from tests.diffusion.helpers import network_sampler, schedule

SHAPE = (3, 2, 2, 1)
SAMPLES = np.array([4, 9])
X = np.random.default_rng(0).normal(size=(2, *SHAPE))
TABLE = step_table(schedule("cosine", 20), Prediction("v"), solver="ddpm", num_steps=3)


def draws(report: Callable[[int], None] = lambda rows: None, **changes) -> Draws:
    return dataclasses.replace(Draws(3, SAMPLES, 5, SHAPE, Conditioning({}, {}), (-1.0, 1.0), report), **changes)


@pytest.mark.parametrize("stream", [SAMPLING, CONTEXT])
def test_draws_are_numbered_along_the_run(stream: int) -> None:
    for index in (0, 2):
        np.testing.assert_array_equal(draws()(index, stream), video_noise(3, 5 + index, SAMPLES, SHAPE, stream))


def test_a_row_draws_where_any_of_its_frames_does() -> None:
    start, stop = np.array([3, 2, 1]), np.array([3, 3, 2])  # Known; a last row, which adds nothing; a middle row.
    (row,) = TABLE.for_frames(start, stop).rows()
    assert row.std.ravel()[:2].tolist() == [0, 0] and row.std.ravel()[2] > 0
    np.testing.assert_array_equal(draws().fresh(1, row), video_noise(3, 7, SAMPLES, SHAPE))
    (still,) = TABLE.for_frames(start, np.array([3, 3, 1])).rows()
    assert draws().fresh(1, still).tolist() == [[[[[0.0]]]]]


def test_the_network_is_asked_about_every_clip_at_its_own_labels() -> None:
    asked = []
    known = np.array([[True, False, False], [False, False, True]])
    DenoiserEngine(lambda clip, label, inputs: asked.append(label) or 0 * clip).run_window(
        TABLE.with_known(known), X, np.zeros((1, *X.shape)), draws()
    )
    for row, label in enumerate(asked):
        np.testing.assert_allclose(label, np.where(known, 0.0, TABLE.c_noise[row, 0]))
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("bounds", "clamp", "expected"), [((-1.0, 1.0), None, 1.0), (None, None, 3.0), ((-1.0, 1.0), lambda x: x / 2, 1.5)]
)
def test_predictions_are_clamped_to_the_bounds_or_by_a_clamp_in_their_place(bounds, clamp, expected: float) -> None:
    table = step_table(schedule("cosine", 20), Prediction("x0"), solver="ddim", num_steps=1)
    of = DenoiserEngine(lambda clip, label, inputs: 0 * clip + 3.0, clamp=clamp)
    made, history = of.run_window(table, X, np.zeros((1, *X.shape)), draws(bounds=bounds))
    np.testing.assert_allclose(made, expected, atol=1e-9)
    np.testing.assert_allclose(history, expected)


def test_rows_are_applied_in_the_precision_of_the_clip() -> None:
    table = step_table(schedule("cosine", 20), Prediction("v"), solver="ddim", num_steps=3)
    of = DenoiserEngine(lambda clip, label, inputs: 0.3 * clip + label[..., None, None, None])
    made, _ = of.run_window(table, X, np.zeros((1, *X.shape)), draws(bounds=None))
    x = X
    for i in range(3):
        out = 0.3 * table.c_in[i, 0] * x + table.c_noise[i, 0]
        x = table.a[i, 0] * x + table.b[i, 0, 0] * (table.c_skip[i, 0] * x + table.c_out[i, 0] * out)
    np.testing.assert_allclose(made, x, rtol=1e-13, atol=1e-14)
    single = of.run_window(table, X.astype(np.float32), np.zeros((1, *X.shape), np.float32), draws(bounds=None))
    assert single[0].dtype == single[1].dtype == np.float32


def test_history_goes_in_and_comes_out_newest_first() -> None:
    table = step_table(schedule("cosine", 20), Prediction("x0"), solver="dpmpp_3m", num_steps=6)
    of = DenoiserEngine(lambda clip, label, inputs: np.tanh(clip + label[..., None, None, None]))
    whole, remembered = of.run_window(table, X, np.zeros((3, *X.shape)), draws())
    first, stop = table.for_frames(np.zeros(3, int), np.full(3, 4)), np.full(3, 6)
    halfway, kept = of.run_window(first, X, np.zeros((3, *X.shape)), draws())
    again, last = of.run_window(table.for_frames(np.full(3, 4), stop), halfway, kept, draws())
    np.testing.assert_allclose(again, whole, atol=1e-12)
    np.testing.assert_allclose(last, remembered, atol=1e-12)
    assert np.abs(kept[0] - kept[1]).min() > 0


def test_every_row_is_reported_when_it_is_done() -> None:
    rows: list[int] = []
    DenoiserEngine(lambda clip, label, inputs: 0 * clip).run_window(
        TABLE, X, np.zeros((1, *X.shape)), draws(report=rows.append)
    )
    assert rows == [1, 1, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_single_number_that_is_not_finite_is_named_with_its_call(bad: float) -> None:
    calls = []

    def denoise(clip, label, inputs):
        calls.append(1)
        out = 0 * clip
        out[1, 2, 0, 1, 0] = bad if len(calls) == 2 else 0.0
        return out

    of = DenoiserEngine(denoise, clamp=lambda x: x)
    with pytest.raises(FloatingPointError, match="NaN or infinity after network call 2 of 3"):
        of.run_window(TABLE, X, np.zeros((1, *X.shape)), draws())
    check_finite(X, "anywhere")


def test_a_window_of_an_engine_that_does_not_look_is_named_by_its_frames() -> None:
    class Careless:
        def run_window(self, table, x, history, draws):
            return np.where(draws.first, np.nan, x), history

    sampler = dataclasses.replace(
        network_sampler(lambda *of: 0, ClipSpec(*SHAPE), schedule("cosine", 20)), engine=Careless()
    )
    with pytest.raises(FloatingPointError, match="after frames 2 to 4"):
        sampler.rollout(5, plan=plans.autoregressive(5, 3, overlap=1), num_steps=2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_windows_come_in_the_samplers_precision(dtype: type) -> None:
    seen = []

    class Spy:
        def run_window(self, table, x, history, draws):
            seen.append((x.dtype, history.dtype))
            return x, history

    sampler = network_sampler(lambda *of: 0, ClipSpec(*SHAPE), schedule("cosine", 20))
    sampler = dataclasses.replace(sampler, engine=Spy(), dtype=dtype)
    made = sampler.predict_frames(np.zeros((1, 1, *SHAPE[1:]), np.float32), num_steps=2, known_noise=0.1)
    assert seen == [(dtype, dtype)] and made.dtype == dtype


FRAMES, KNOWN = 10, 2
PLANS = [make(FRAMES, 4, known=known) for make in plans.PLANS.values() for known in (0, KNOWN)]
PLANS += [plans.frame_rate(FRAMES, 4, factor=3), plans.whole(masks.first(FRAMES, KNOWN))]
PLANS += [plans.in_order(masks.ends(FRAMES, 2, 2), 4, at_a_time=1)]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.name}-{int(plan.known.sum())}")
@pytest.mark.parametrize(
    "solver",
    [{"solver": "ddpm", "num_steps": 6}, {"solver": "edm", "num_steps": 5, "churn": 1.0}],
    ids=lambda solver: solver["solver"],
)
def test_no_two_rows_windows_or_chunks_share_a_draw(monkeypatch, plan: Plan, solver: dict) -> None:
    """A draw's address is (step, stream) and a sample: each is asked for once in a run, by one window."""
    asked: list[tuple[int, int, int]] = []

    def recorded(seed, step, sample, clip_shape, stream=SAMPLING):
        asked.extend((int(step), int(stream), int(number)) for number in sample)
        return video_noise(seed, step, sample, clip_shape, stream)

    monkeypatch.setattr(engine, "video_noise", recorded)
    sampler = network_sampler(
        lambda clip, label, inputs: 0.5 * clip,
        ClipSpec(4, 1, 1, 1),
        schedule("cosine", 50),
        conditions={"when": FrameTimes()},
    )
    clip = np.zeros((3, plan.num_frames, 1, 1, 1), np.float32)
    sampler.infill(clip, plan.known, plan=plan, batch_size=2, first_sample=6, known_noise=0.2, **solver)
    assert len(set(asked)) == len(asked)
    assert {number for _, _, number in asked} == {6, 7, 8}
    steps = sorted({step for step, stream, _ in asked if stream == SAMPLING})
    contexts = [step for step, stream, number in asked if stream == CONTEXT and number == 6]
    assert len(contexts) == len(plan.windows) and steps[0] == 0
