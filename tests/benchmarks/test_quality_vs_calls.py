"""What the comparison of samplers concludes from its figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.benchmarks.quality_vs_calls import (
    REFERENCE,
    REFERENCE_STEPS,
    fewest_equal,
    fewest_within_error,
    paired_difference,
    ways,
)


def row(name: str, calls: int, low: float, cost: float | None = None) -> dict[str, Any]:
    return {"name": name, "calls": calls, "cost": cost or float(calls), "space": {"difference": {"low": low}}}


def test_the_fewest_equal_calls_are_those_from_which_on_all_are_equal() -> None:
    rows = [
        row("reference", REFERENCE_STEPS, 0.0),
        *(row("good", calls, low) for calls, low in ((2, 9.0), (4, -1.0), (8, 0.0), (20, -3.0))),
        *(row("lucky", calls, low) for calls, low in ((4, -1.0), (8, 2.0), (20, -1.0))),
        *(row("never", calls, 5.0) for calls in (4, 8)),
        row("cached", 8, -1.0, cost=5.0),
    ]
    assert fewest_equal(rows, "space") == {
        "good": {"calls": 4, "cost": 4.0, "times": 250.0},
        "lucky": {"calls": 20, "cost": 20.0, "times": 50.0},
        "cached": {"calls": 8, "cost": 5.0, "times": 200.0},
    }


def test_the_cheapest_within_the_references_own_interval() -> None:
    def at(name: str, calls: int, distance: float) -> dict[str, Any]:
        space = {"distance": distance, "high": distance + 5.0}
        return {"name": name, "calls": calls, "cost": float(calls), "space": space}

    rows = [at("reference", REFERENCE_STEPS, 50.0), at("a", 8, 60.0), at("a", 20, 54.0), at("b", 50, 49.0)]
    assert fewest_within_error(rows, "space") == {"name": "a", "calls": 20, "times": 50.0}
    assert fewest_within_error(rows[:2], "space") is None


def test_a_paired_difference_sees_what_two_intervals_hide() -> None:
    rng = np.random.default_rng(0)
    truth, made = rng.normal(size=(2, 100, 8))
    same = paired_difference(truth, made, made)
    assert same == {"here": 0.0, "low": 0.0, "high": 0.0}
    worse = paired_difference(truth, made + 0.15, made)
    assert 0.0 < worse["low"] < worse["here"] < worse["high"]
    better = paired_difference(truth, made, made + 0.15)
    assert better["high"] < 0.0


def test_no_way_is_made_twice() -> None:
    every = list(ways([2, 4, 8]))
    assert every[0] == REFERENCE and len({(way.name, way.num_steps) for way in every}) == len(every)
    assert [way.num_steps for way in every if way.student] == [2, 4, 8]


@pytest.mark.slow
def test_features_kept_for_one_call_are_no_cache() -> None:
    import kvdiff
    from kvdiff.demo.recipe import SHIPPED
    from tests.benchmarks.feature_cache import caching_sampler

    model = kvdiff.load_model(SHIPPED, compile=False)
    sampling = dict(num_steps=4, solver="dpmpp_2m", seed=1)
    expected = model.generate(2, **sampling)
    np.testing.assert_allclose(caching_sampler(model, 1).generate(2, **sampling), expected, atol=1e-5)
    kept = caching_sampler(model, 2).generate(2, **sampling)
    assert 1e-3 < np.abs(kept - expected).max() < 1.0
