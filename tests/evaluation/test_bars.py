"""Bars on samplers whose answers are known: the truth, noise, the baselines themselves; and each bar by itself."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from kvdiff.evaluation import Bars, Check, RealClips, evaluate, half_and_half, protocol_for, result_of
from kvdiff.evaluation.quality import MAX_PSNR
from tests.evaluation.guesser import Guesser

FACTORS = np.linspace(0.5, 1.0, 3)


@pytest.fixture(scope="module")
def ramp() -> np.ndarray:
    """3 clips of 8 frames that brighten evenly, by 20 levels a frame times `FACTORS`: a linear blend is exact."""
    levels = np.arange(8)[:, None, None, None] * np.ones((1, 12, 12, 1))
    return np.stack([40 + 20 * factor * levels for factor in FACTORS]).astype(np.uint8)


def tasks_of(answer, clips: np.ndarray) -> dict:
    sampler = Guesser(answer, frames=clips.shape[1], size=clips.shape[2])
    return evaluate(sampler, protocol_for(clips), RealClips(clips)).tasks


def test_the_truth_is_as_good_as_can_be(ramp):
    tasks = tasks_of(lambda clip, samples: clip, ramp)
    assert tasks["prediction"]["numbers"]["psnr"] == tasks["interpolation"]["numbers"]["psnr"] == MAX_PSNR
    checks = Bars(interpolation_gain=0.0).checks(tasks)  # The blend is exact here too: nothing to gain.
    assert all(check.reached for check in checks) and [check.difference for check in checks[2:]] == ["+0.000", "+0.0%"]


def test_the_baselines_gain_nothing(ramp):
    tasks = tasks_of(lambda clip, samples: np.repeat(clip[:, 3:4], 8, axis=1), ramp)
    assert tasks["prediction"]["numbers"]["psnr_gain"] == 0.0
    # Frame i after the last known one errs by 20 i levels times the clip's factor.
    steps = 20 / 127.5 * np.arange(1, 5)
    expected = np.mean([10 * np.log10(4 / (steps * factor) ** 2) for factor in FACTORS], axis=0)
    np.testing.assert_allclose(tasks["prediction"]["curves"]["psnr"]["baseline"], expected)
    expected = np.mean([10 * np.log10(4 / np.mean((steps * factor) ** 2)) for factor in FACTORS])
    np.testing.assert_allclose(tasks["prediction"]["numbers"]["psnr_baseline"], expected)


def test_noise_misses_every_bar(ramp):
    noise = np.random.default_rng(0).uniform(-1, 1, ramp.shape)
    checks = Bars().checks(tasks_of(lambda clip, samples: noise[samples], ramp))
    assert not any(check.reached for check in checks) and {check.row[-1] for check in checks} == {"MISSED"}
    assert [check.what for check in checks] == [
        "Prediction, PSNR",
        "Interpolation, PSNR",
        "Generated pixels, mean",
        "Generated pixels, variance",
    ]


def test_half_of_the_frames_are_known_in_both_tasks():
    known = [task.known(8).tolist() for task in half_and_half(8)]
    assert known == [[True] * 4 + [False] * 4, [True] * 2 + [False] * 4 + [True] * 2, [False] * 8]
    with pytest.raises(ValueError, match="`frames`: expected an integer >= 4. Received: 3"):
        half_and_half(3)


def numbers(gain=9.5, between=6.5, mean=-0.81, variance=0.21) -> dict:
    """The tasks of a result whose baselines have 20 dB."""
    psnr = [{"psnr": 20.0 + value, "psnr_baseline": 20.0, "psnr_gain": value} for value in (gain, between)]
    pixels = {"mean": mean, "data_mean": -0.8, "variance": variance, "data_variance": 0.2}
    found = {"prediction": psnr[0], "interpolation": psnr[1], "generation": pixels}
    return {name: {"numbers": of_task} for name, of_task in found.items()}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"gain": 8.99}, "Prediction, PSNR|28.99 dB|20.00 dB (repeating the last frame)|+8.99 dB|at least +9.0 dB"),
        ({"between": 2.0}, "Interpolation, PSNR|22.00 dB|20.00 dB (the linear blend)|+2.00 dB|at least +6.0 dB"),
        ({"mean": -0.84}, "Generated pixels, mean|-0.840|-0.800 (data)|-0.040|within ±0.03"),
        ({"variance": 0.16}, "Generated pixels, variance|0.160|0.200 (data)|-20.0%|within ±15%"),
        (
            {"gain": float("nan")},
            "Prediction, PSNR|nan dB|20.00 dB (repeating the last frame)|+nan dB|at least +9.0 dB",
        ),
    ],
)
def test_each_bar_is_missed_by_itself(change, line):
    assert all(check.reached for check in Bars().checks(numbers()))
    (only,) = (check for check in Bars().checks(numbers(**change)) if not check.reached)
    assert "|".join(only.row[:-1]) == line


def test_digits_that_do_not_stay_themselves_miss_a_bar():
    tasks = numbers()
    tasks["prediction"]["numbers"] |= {"identity_last": 0.8, "data_identity_last": 0.9}
    (only,) = (check for check in Bars().checks(tasks) if not check.reached)
    words = "Prediction, last frame shows its digit|80%|90% (true frames)|-10%|at least 90% of the true frames'"
    assert "|".join(only.row[:-1]) == words
    tasks["prediction"]["numbers"]["identity_last"] = 0.82
    assert all(check.reached for check in Bars().checks(tasks))


def test_a_result_says_what_it_was_held_to(ramp):
    rule, clips = protocol_for(ramp), RealClips(ramp)
    evaluation = evaluate(Guesser(lambda clip, samples: clip, frames=8), rule, clips)
    result = result_of(evaluation, rule, clips, model={}, sampling={}, bars=Bars(mean_gap=0.5))
    again = json.loads(json.dumps(result))
    assert again["bars"] == dataclasses.asdict(Bars(mean_gap=0.5))
    assert [Check(**check) for check in again["checks"]] == Bars(mean_gap=0.5).checks(evaluation.tasks)
