"""Clips of fields: the numbers of the file at a place and time, drawn by what happens without changing the loss."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from kvdiff.data import FieldBatches
from kvdiff.data.augmentation import turned
from kvdiff.diffusion import (
    ClipSpec,
    DenoiserEngine,
    Linear,
    ModelSpec,
    Prediction,
    Sampler,
    Standardised,
    Unbounded,
    schedules,
)
from kvdiff.fields import frame_activity, open_fields, survey

RNG = np.random.default_rng(11)
NUMBERS = RNG.gamma(0.5, 2.0, (30, 6, 8)).astype(np.float32)


def batches_of(numbers: np.ndarray = NUMBERS, **options) -> FieldBatches:
    return FieldBatches(open_fields(numbers), 4, **{"batch_size": 3, **options})


def test_an_epoch_holds_every_clip_once_in_an_order_of_its_own() -> None:
    batches = batches_of()
    assert batches.num_samples == 27 and batches.steps_per_epoch == 9
    for epoch in (0, 1):
        firsts = [
            int(np.flatnonzero((NUMBERS == batches.sample(epoch, i)[0][0, ..., 0]).all((1, 2)))[0]) for i in range(27)
        ]
        assert sorted(firsts) == list(range(27))
        clip = batches.sample(epoch, 5)[0]
        np.testing.assert_array_equal(clip[..., 0], NUMBERS[firsts[5] : firsts[5] + 4])
    assert [batches.sample(0, i)[0].tobytes() for i in range(9)] != [
        batches.sample(1, i)[0].tobytes() for i in range(9)
    ]
    assert batches_of().config == batches.config != batches_of(seed=1).config
    assert batches_of(window_step=4).num_samples == 7


def test_patches_lie_anywhere_and_say_where() -> None:
    batches = batches_of(patch=(2, 4), position="where", statics={"land": np.dstack([NUMBERS[0], NUMBERS[1]])})
    seen = set()
    for i in range(27):
        clip, conditions, weight = batches.sample(0, i)
        down, across, tall, wide = conditions["where"]
        row, column = round((down + 1) * 3 - 1), round((across + 1) * 4 - 2)
        assert clip.shape == (4, 2, 4, 1) and (tall, wide) == pytest.approx((1 / 3, 1 / 2)) and weight == 1.0
        part = NUMBERS[:, row : row + 2, column : column + 4]
        assert any((part[t : t + 4] == clip[..., 0]).all() for t in range(27))
        np.testing.assert_array_equal(conditions["land"][..., 0], NUMBERS[0, row : row + 2, column : column + 4])
        seen.add((row, column))
    assert len(seen) > 10 and {row for row, _ in seen} == set(range(5))


def test_vectors_turn_with_the_picture() -> None:
    """A wind that points at the storm still points at it, whatever the turn."""
    u, v = np.zeros((5, 5)), np.zeros((5, 5))
    storm = np.zeros((5, 5))
    storm[1, 3] = 1.0
    u[2, 2], v[2, 2] = 1.0, -1.0  # From the centre one to the right and one up.
    clip = np.stack([storm, u, v], axis=-1)[None]
    seen = set()
    for numbers in np.random.default_rng(0).random((60, 3)):
        out = turned(clip, flips=("up_down", "left_right", "turns"), numbers=numbers, vectors=((1, 2),))[0]
        row, column = np.argwhere(out[..., 0] == 1.0)[0]
        assert (out[2, 2, 1], out[2, 2, 2]) == (column - 2, row - 2)
        seen.add((row, column))
    assert len(seen) == 4
    np.testing.assert_array_equal(turned(clip, flips=(), numbers=np.zeros(3), vectors=((1, 2),)), clip)


def test_a_large_zarr_is_drawn_from_without_fitting_in_memory(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    pytest.importorskip("xarray")
    group = zarr.open_group(str(tmp_path / "big.zarr"), mode="w")
    names = dict(dimension_names=("time", "y", "x"), fill_value=2.5)
    group.create_array("rate", shape=(50_000, 256, 256), chunks=(10, 64, 64), dtype="float32", **names)
    fields = open_fields(tmp_path / "big.zarr")
    batches = FieldBatches(fields, 12, batch_size=8, patch=(64, 64))
    read = []
    part = fields[0].parts[0]
    get = part.source.get
    object.__setattr__(part.source, "get", lambda index: read.append(get(index)) or read[-1])
    tracemalloc.start()
    for i in range(6):
        assert (batches.sample(0, i)[0] == 2.5).all()
        assert sum(array.nbytes for array in read) == 12 * 64 * 64 * 4  # Of 13 GB.
        read.clear()
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


def test_what_is_drawn_often_counts_less_so_that_the_mean_is_that_of_all_clips() -> None:
    activity = frame_activity(open_fields(NUMBERS)[0], Linear(0.0, 40.0))
    np.testing.assert_allclose(activity, NUMBERS.mean(axis=(1, 2)) / 40, rtol=1e-5)
    batches = batches_of(activity=[activity], floor=0.2)
    p = batches.probabilities
    assert p.sum() == pytest.approx(1.0) and p.min() >= 0.2 / 27 and p.max() > 1.2 * p.min()
    loss = RNG.random(27)  # Any, of each clip.
    weights = 1.0 / (27 * p)
    assert (p * weights * loss).sum() == pytest.approx(loss.mean())  # In expectation, exactly.
    found = [batches.sample(epoch, i) for epoch in range(12) for i in range(27)]
    mean = np.mean([weight * clip.mean() for clip, _, weight in found])
    every = np.mean([NUMBERS[t : t + 4].mean() for t in range(27)])
    assert mean == pytest.approx(every, rel=0.002)
    plain = np.mean([clip.mean() for clip, _, _ in found])
    assert plain > every * 1.003  # Without weights there would be more rain than there is.


STORM, DRY = 1.0, -1.0


def generated_share(batches: FieldBatches, *, weigh: bool) -> float:
    """The share of storms that the best network for the loss of these batches generates: it knows only what it saw."""
    drawn = [batches.sample(epoch, i) for epoch in range(5) for i in range(batches.num_samples)]
    heights = np.array([clip.mean() for clip, _, _ in drawn])
    weights = np.array([weight if weigh else 1.0 for _, _, weight in drawn], np.float64)
    share = weights[heights > 0].sum() / weights.sum()
    schedule, prediction = schedules.cosine(100), Prediction("x0")

    def denoise(noisy_clip, noise_label, inputs):
        """The minimiser of the weighted squared error: the mean of what may lie behind a noisy clip."""
        alpha, sigma = (
            np.asarray(a)[..., None, None, None] for a in schedule.level_of_label(noise_label.astype(float))
        )
        logits = 2.0 * alpha * noisy_clip / np.maximum(sigma, 1e-6) ** 2 + np.log(share / (1.0 - share))
        return np.tanh(np.clip(logits / 2.0, -30, 30))

    spec = ModelSpec(ClipSpec(1, 1, 1, 1), schedule, prediction, Unbounded())
    made = Sampler(spec, DenoiserEngine(denoise), np.float64).generate(4000, num_steps=40, batch_size=4000)
    return float((made > 0).mean())


def test_drawing_storms_as_often_as_dry_weather_invents_storms_and_weights_do_not() -> None:
    storms = np.arange(200) % 20 == 0  # One frame in twenty.
    field = np.where(storms, STORM, DRY).astype(np.float32).reshape(-1, 1, 1)
    activity = np.where(storms, 19.0, 1.0)  # A storm is drawn as often as dry weather.
    batches = FieldBatches(open_fields(field), 1, batch_size=1, activity=[activity], floor=0.01)
    assert batches.probabilities[storms].sum() == pytest.approx(0.5, abs=0.01)
    assert generated_share(batches, weigh=True) == pytest.approx(0.05, abs=0.015)
    assert generated_share(batches, weigh=False) == pytest.approx(0.5, abs=0.04)


def test_a_survey_counts_what_is_there_and_what_is_missing() -> None:
    holed = np.where(NUMBERS > 6, np.nan, NUMBERS)
    found = survey(open_fields(holed))
    assert found.frames_read == 30 and found.summaries[0].missing == np.isnan(holed).sum()
    np.testing.assert_allclose(found.missing, np.isnan(holed).mean(axis=(1, 2)))
    assert found.summaries[0].mean == pytest.approx(np.nanmean(holed), rel=1e-6)
    assert survey(open_fields(NUMBERS), at_most=7).frames_read == 7
    counts = survey(open_fields(np.arange(120, dtype=np.uint16).reshape(5, 4, 6)))
    assert counts.summaries[0].whole == (0, 65535)
    anomalies = frame_activity(open_fields(holed)[0], Standardised(1.0, 2.0))
    np.testing.assert_allclose(anomalies, np.nanmean(np.abs(holed - 1) / 2, axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 28}, "expected at least 28 clips of 4 frames without a gap, a batch. Received: 27, of 30"),
        ({"patch": (7, 4)}, "`patch`: expected at most 6 × 8, as array has. Received: 7 × 4"),
        ({"flips": ["turns"]}, "`flips`: expected square clips for 'turns'"),
        ({"flips": ["mirror"]}, "`flips`: expected one of .'left_right', 'turns', 'up_down'"),
        ({"activity": [np.ones(3)]}, "`activity`: expected .30. numbers of at least 0, one a frame.*Received: .3."),
        (
            {"statics": {"land": np.ones((6, 8))}},
            "`statics`: expected .height, width, n. of the fields, .6, 8., for 'land'",
        ),
        ({"activity": [np.ones(30)], "floor": 0.0}, "`floor`: expected a number in"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batches_of(**options)
