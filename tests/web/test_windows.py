"""The windows that a page is told: those of `Sampler`, in every order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kvdiff.diffusion import FrameTimes, ModelSpec, masks
from kvdiff.diffusion.tasks.plans import autoregressive, in_order
from kvdiff.web.windows import LENGTHS, TASKS, cases
from tests.web.models import SPEC


def test_every_case_generates_each_unknown_frame_once_and_after_what_it_goes_by() -> None:
    for task in TASKS:
        for case in cases(SPEC, task):
            for windows in case["orders"].values():
                done = list(case["known"])
                for frames, new in windows:
                    assert set(frames) - set(new) <= set(done)
                    done += new
                assert sorted(done) == list(range(case["frames"]))


def test_a_task_has_the_known_frames_of_its_verb() -> None:
    assert [case["known"] for case in cases(SPEC, "generate")] == [[]]
    assert [len(case["known"]) for case in cases(SPEC, "predict")] == [1, 2, 3]
    assert [case["known"] for case in cases(SPEC, "interpolate")] == [[0, 3]]
    assert [case["frames"] for case in cases(SPEC, "rollout")] == [n * 4 for n in LENGTHS for _ in range(2)]


def test_the_models_own_order_comes_first_and_is_not_listed_twice() -> None:
    own = dataclasses.replace(SPEC, sampling={"predict": {"at_a_time": 1}, "rollout": {"at_a_time": 2}})
    for case in cases(own, "predict"):
        known = masks.first(4, len(case["known"]))
        plan = autoregressive(4, 4, at_a_time=1, known=int(known.sum()))
        assert next(iter(case["orders"])) == "own" and "single" not in case["orders"]
        assert case["orders"]["own"] == [[w.frames.tolist(), w.frames[w.moves].tolist()] for w in plan.windows]
    rolled = cases(own, "rollout")[0]["orders"]
    assert [len(new) for _, new in rolled["own"]] == [2] * 4 and [len(new) for _, new in rolled["single"]] == [1] * 8


@pytest.mark.parametrize("times", [False, True])
def test_windows_with_gaps_are_for_models_that_know_times(times: bool) -> None:
    spec: ModelSpec = dataclasses.replace(SPEC, conditions={"at": FrameTimes()} if times else {})
    (case,) = cases(spec, "interpolate")
    assert ("single" in case["orders"]) == times
    if times:
        plan = in_order(np.array([True, False, False, True]), 4, at_a_time=1)
        assert [frames for frames, _ in case["orders"]["single"]] == [w.frames.tolist() for w in plan.windows]


def test_noise_that_rolls_along_is_left_to_python() -> None:
    rolling = dataclasses.replace(SPEC, sampling={"rollout": {"plan": "rolling"}})
    assert all("own" not in case["orders"] and case["orders"]["whole"] for case in cases(rolling, "rollout"))
