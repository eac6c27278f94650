from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kvdiff.diffusion import NoiseLevels, Prediction, StepTable, step, step_table
from kvdiff.diffusion.solvers import ddpm
from kvdiff.diffusion.solvers.rows import KnownLevel, Row
from kvdiff.diffusion.solvers.step_table import LearnedVarianceTable
from kvdiff.diffusion.transforms.clamps import clamp_to
from tests.diffusion.helpers import schedule

TABLE = step_table(schedule("cosine", 10), Prediction("v"), solver="ddim", num_steps=3, eta=1.0)

UNIT = clamp_to((-1.0, 1.0))


def row(**values) -> Row:
    zero = dict.fromkeys(("c_in", "c_noise", "c_skip", "c_out", "a", "b", "std"), 0.0)
    return Row(**{**zero, **values})


def test_step_is_equation_7() -> None:
    of = row(c_skip=2.0, c_out=3.0, a=5.0, b=[7.0, 11.0, 13.0], std=17.0)
    moved, history = step(of, np.array([1.0]), np.array([10.0]), (100.0, 200.0, 300.0), 1000.0, lambda d: d + 0.5)
    predicted = 2.0 * 1.0 + 3.0 * 10.0 + 0.5
    assert history == (predicted, 100.0, 200.0)
    assert moved == 5.0 + 7.0 * predicted + 11.0 * 100.0 + 13.0 * 200.0 + 17.0 * 1000.0


def test_clamp_acts_on_the_prediction_alone() -> None:
    moved, history = step(row(c_out=1.0, a=1.0, b=[1.0]), np.array([3.0]), np.array([9.0]), (0.0,), 0.0, UNIT)
    assert history == (1.0,) and moved == 4.0


def test_rows_are_cast_once_and_shaped_for_clips() -> None:
    rows = list(TABLE.rows())
    assert len(rows) == TABLE.num_steps == 3
    for i, of in enumerate(rows):
        for name in StepTable.COLUMNS:
            value = getattr(of, name)
            assert value.dtype == np.float32 and value.shape[-5:] == (1, 1, 1, 1, 1)
            assert np.allclose(value.ravel(), getattr(TABLE, name)[i].ravel())
    assert rows[0].b.shape == (1, 1, 1, 1, 1, 1)
    assert next(TABLE.rows(np.float64)).a.dtype == np.float64


def test_known_frames_are_clean_identity_rows() -> None:
    known = np.array([[True, False, False], [False, False, True]])
    for mask in (known[0], known):
        table = TABLE.with_known(mask)
        assert table.a.shape == (3, *mask.shape) and table.b.shape == (3, 1, *mask.shape)
        for name, clean in dict(a=1, b=0, std=0, c_in=1, c_noise=0, c_skip=1, c_out=0, alpha=1, sigma=0).items():
            column = getattr(table, name)
            assert (column[..., mask] == clean).all()
            original = getattr(TABLE, name)[..., 0]
            assert (column[..., ~mask] == original[..., None]).all()
    first = next(TABLE.with_known(known).rows())
    assert first.a.shape == (2, 3, 1, 1, 1) and first.b.shape == (1, 2, 3, 1, 1, 1)
    assert next(TABLE.with_known(known[0]).rows()).a.shape == (1, 3, 1, 1, 1)


def test_a_table_with_known_frames_takes_no_more() -> None:
    with pytest.raises(ValueError, match="one noise level a row.*Received"):
        TABLE.with_known(np.array([True, False])).with_known(np.array([True, False]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(a=TABLE.a + 1e-6), "must equal alpha_s"),
        (dict(b=TABLE.b * 1.001), "must equal alpha_s"),
        (dict(std=np.where(TABLE.std > 0, TABLE.std * 1.001, 0)), "must equal sigma_s"),
        (dict(std=TABLE.std + np.array([[0], [0], [1e-3]]), keeps_variance=False), "0 where a row ends clean"),
        (dict(std=-TABLE.std), "must be >= 0"),
        (dict(c_out=TABLE.c_out * np.nan), "finite `c_out`"),
        (dict(c_noise=np.where(TABLE.std > 0.5, np.inf, TABLE.c_noise)), "finite `c_noise`"),
        (dict(c_in=TABLE.c_in[:-1]), "`c_in` of shape"),
        (dict(alpha=TABLE.alpha[:-1]), "`alpha` of shape"),
        (dict(b=TABLE.b[:, 0]), "`b` of shape"),
        (dict(init_std=0.0), "`init_std` > 0"),
        (dict(init_std=np.inf), "`init_std` > 0"),
    ],
)
def test_a_wrong_table_refuses_to_exist(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TABLE, **changes)


def test_a_recurrence_without_the_axis_of_its_memory_is_refused() -> None:
    levels = NoiseLevels(TABLE.alpha[:, 0], TABLE.sigma[:, 0])
    with pytest.raises(ValueError, match=r"expected `b` of shape \[num_steps, K\]. Received: \(3,\)"):
        StepTable.from_recurrence(levels, Prediction("v"), a=np.ones(3), b=np.ones(3), std=np.zeros(3))


def test_an_empty_table_refuses_to_exist() -> None:
    empty = {name: np.zeros((0, 1)) for name in StepTable.COLUMNS} | {"b": np.zeros((0, 1, 1))}
    with pytest.raises(ValueError, match="StepTable"):
        StepTable(alpha=np.ones((1, 1)), sigma=np.zeros((1, 1)), **empty)


def test_the_start_has_the_standard_deviation_of_the_path() -> None:
    for name, expected in (("cosine", 1.0), ("flow", 1.0), ("karras", 80.0)):
        assert np.isclose(step_table(schedule(name), Prediction("v")).init_std, expected)
    assert step_table(schedule("flow"), Prediction("v"), num_steps=4, spacing="leading").init_std == 0.751
    assert step_table(schedule("cosine"), Prediction("v"), num_steps=2, spacing="leading").init_std == 1.0


def test_differences_sum_to_nothing_for_a_constant_prediction() -> None:
    levels = NoiseLevels([0.2, 0.7, 0.9, 1.0], [0.9, 0.7, 0.3, 0.0])
    differences = np.array([[0.0, 0.0], [0.3, 0.0], [0.2, -0.1]])
    std = np.array([0.1, 0.2, 0.0])
    table = StepTable.from_differences(levels, Prediction("x0"), differences, std=std)
    plain = StepTable.from_differences(levels, Prediction("x0"), std=std)
    assert (table.a == plain.a).all() and (table.std == plain.std).all()
    assert np.allclose(table.b[:, 0], plain.b[:, 0] + differences.sum(axis=1)[:, None])
    assert (table.b[:, 1:, 0] == -differences).all()


def test_learned_variance_interpolates_the_logarithm() -> None:
    levels = schedule("cosine", 10).levels(np.array([9, 6, 3, 0]))
    table = ddpm(levels, Prediction("v"), variance="learned")
    assert isinstance(table, LearnedVarianceTable) and table.std.ravel().tolist() == [1, 1, 1, 0]
    ends = {v: ddpm(levels, Prediction("v"), variance=v).std.ravel() for v in ("small", "large")}
    x, raw, noise = np.random.default_rng(0).normal(size=(3, 2, 1, 2, 2, 3))
    for i, of in enumerate(table.rows(np.float64)):
        for share, expected in ((-1.0, ends["small"][i]), (1.0, ends["large"][i])):
            out = np.concatenate([raw, np.full_like(raw, share)], axis=-1)
            moved, _ = step(of, x, out, (np.zeros_like(x),), noise, UNIT)
            still, _ = step(of, x, out, (np.zeros_like(x),), 0.0, UNIT)
            assert np.allclose(moved - still, expected * noise)
        middle = of.read(np.concatenate([raw, np.zeros_like(raw)], axis=-1), 3, np.exp)
        assert (middle[0] == raw).all()
        if i < 3:
            assert np.allclose(middle[1], np.sqrt(ends["small"][i] * ends["large"][i]))


def test_a_network_that_learned_its_variance_serves_every_solver() -> None:
    x, raw, extra = np.random.default_rng(1).normal(size=(3, 2, 1, 2, 2, 3))
    of = next(TABLE.rows(np.float64))
    plain = step(of, x, raw, (0.0 * x,), 0.0, UNIT)
    both = step(of, x, np.concatenate([raw, extra], axis=-1), (0.0 * x,), 0.0, UNIT)
    assert (plain[0] == both[0]).all()


def test_known_frames_are_still_where_the_variance_is_learned() -> None:
    table = ddpm(schedule("cosine", 10).levels(np.array([9, 3])), Prediction("v"), variance="learned")
    of = next(table.with_known(np.array([True, False])).rows())
    x = np.ones((1, 2, 1, 1, 1), np.float32)
    moved, _ = step(of, x, np.ones((1, 2, 1, 1, 2), np.float32), (np.zeros_like(x),), 9.0 * x, UNIT)
    assert moved[0, 0] == 1.0 and moved[0, 1] != 1.0


LONG = step_table(schedule("cosine", 40), Prediction("v"), solver="dpmpp_3m_sde", num_steps=6)


@pytest.mark.parametrize("level", [None, KnownLevel(0.9, 0.4, 0.8, 0.3, 0.7, 0.6)])
def test_every_frame_goes_through_its_own_rows(level: KnownLevel | None) -> None:
    """Three rows of: finished, from the first, from the middle, to the end, waiting half-way, waiting to begin."""
    start, stop = np.array([6, 0, 2, 3, 4, 0]), np.array([6, 3, 5, 6, 4, 0])
    table, held = LONG.for_frames(start, stop, level), level or KnownLevel()
    assert table.num_steps == 3 and table.memory == 3 and table.init_std == LONG.init_std
    for frame, (first, moves) in enumerate(zip(start, stop > start, strict=True)):
        for i in range(3):
            row = first + i * moves
            for name in ("c_in", "c_noise", "c_skip", "c_out"):
                expected = getattr(held, name) if first == 6 else getattr(LONG, name)[row, 0]
                assert getattr(table, name)[i, frame] == expected
            assert table.a[i, frame] == (LONG.a[row, 0] if moves else 1.0)
            assert table.std[i, frame] == (LONG.std[row, 0] if moves else 0.0)
            assert table.b[i, :, frame].tolist() == (LONG.b[row, :, 0].tolist() if moves else [0.0] * 3)
        for i in range(4):
            row = first + i * moves
            for name in ("alpha", "sigma"):
                expected = getattr(held, name) if first == 6 else getattr(LONG, name)[row, 0]
                assert getattr(table, name)[i, frame] == expected


def test_every_clip_has_its_own_frames() -> None:
    start = np.array([[0, 3], [3, 3], [6, 0]])
    stop = np.where(start == 6, 6, start + 3)
    table = LONG.for_frames(start, stop)
    assert table.a.shape == (3, 3, 2) and table.b.shape == (3, 3, 3, 2)
    for clip in range(3):
        alone = LONG.for_frames(start[clip], stop[clip])
        for name in (*StepTable.COLUMNS, "alpha", "sigma"):
            np.testing.assert_array_equal(getattr(table, name)[..., clip, :], getattr(alone, name))


@pytest.mark.parametrize(
    ("start", "stop", "received"), [([0, 1], [2, 2], r"\[2 1\]"), ([1, 6], [1, 6], r"\[0 0\]"), ([3, 2], [2, 2], "-1")]
)
def test_frames_that_move_take_equally_many_rows(start, stop, received: str) -> None:
    with pytest.raises(ValueError, match=f"StepTable.for_frames: expected frames that move .* Received: .*{received}"):
        LONG.for_frames(np.array(start), np.array(stop))
