from __future__ import annotations

import functools

import pytest

from tests.benchmarks.growth import slopes
from tests.benchmarks.rounds import Contestant, duel, fastest, measure_rounds, median_ratio, rotated


def test_every_contestant_is_first_in_turn() -> None:
    assert [rotated("abc", number) for number in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    ours, peer = [1.0, 10.0, 6.0], [2.0, 40.0, 6.0]
    assert median_ratio(ours, peer) == 0.5  # The ratio of the medians is 1.


def test_rounds_must_pair_up() -> None:
    with pytest.raises(ValueError, match="zip"):
        median_ratio([1.0], [1.0, 2.0])


def recorded(calls: list[str]) -> list[Contestant]:
    """Contestants that note their turn and take as many seconds as calls were made."""

    def measure(mode: str) -> dict[str, float]:
        calls.append(mode)
        return {"wall": float(len(calls)), "cpu": 0.5}

    return [Contestant(mode, mode, functools.partial(measure, mode)) for mode in "ab"]


def test_contestants_take_turns_and_warm_up_uncounted() -> None:
    calls: list[str] = []
    times = measure_rounds(recorded(calls), 3, warm_ups=2)
    assert "".join(calls) == "aabb" + "ab" + "ba" + "ab"
    assert times["a"]["a"] == {"wall": [5.0, 8.0, 9.0], "cpu": [0.5] * 3}


def test_each_clock_has_its_own_best_mode() -> None:
    ours = {"x": {"wall": [3.0, 3.0, 3.0], "cpu": [1.0, 1.0, 1.0]}, "y": {"wall": [2.0, 9.0, 2.0], "cpu": [4.0] * 3}}
    peer = {"z": {"wall": [4.0, 9.0, 8.0], "cpu": [2.0] * 3}}
    assert fastest(ours, "wall") == "y" and fastest(ours, "cpu") == "x"
    wall, cpu = duel(ours, peer, "wall"), duel(ours, peer, "cpu")
    assert (wall.ours_mode, wall.ours, wall.peer, wall.ratio) == ("y", 2.0, 8.0, 0.5)
    assert (cpu.ours_mode, cpu.ratio) == ("x", 0.5)


def test_exponents_of_exact_powers() -> None:
    times = {str(n): {"wall": [n**1.5, 7.0 * n**2], "cpu": [1.0, 1.0]} for n in (5, 10, 20)}
    assert slopes(times, "wall") == pytest.approx([1.5, 2.0])
    assert slopes(times, "cpu") == pytest.approx([0.0, 0.0])
