"""Windows and plans by themselves: rows of a table, costs, and every promise that a plan checks."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import masks
from kvdiff.diffusion.tasks.plan import Plan, Window, network_calls

ROLLED = Window(np.array([3, 4, 6]), np.array([4, 2, 0]), np.array([4, 3, 1]), 4)


def test_a_window_divides_a_tables_rows_into_its_parts() -> None:
    start, stop = ROLLED.rows(12)
    assert start.tolist() == [12, 6, 0] and stop.tolist() == [12, 9, 3]
    assert ROLLED.moves.tolist() == [False, True, True] and network_calls([ROLLED], 12) == 3
    start, stop = Window(np.arange(3), np.array([0, 1, 2]), np.array([1, 2, 3]), 3).rows(3)
    assert start.tolist() == [0, 1, 2] and stop.tolist() == [1, 2, 3]


def test_a_window_of_some_clips_has_their_masks() -> None:
    known = np.array([[True, False], [False, True], [False, False]])
    window = Window.filling(known)
    assert window.frames.tolist() == [0, 1] and window.parts == 1
    assert (window.start == known).all() and (window.stop == 1).all() and (window.moves == ~known).all()
    own = window.of_clips(np.arange(1, 3))
    assert (own.start == known[1:]).all() and own.stop.shape == (2, 2) and own.frames is window.frames
    assert ROLLED.of_clips(np.arange(1, 3)) is ROLLED


def test_a_window_is_in_the_order_of_its_frames() -> None:
    window = Window.of([5, 1, 3], [3, 1])
    assert window.frames.tolist() == [1, 3, 5] and window.moves.tolist() == [True, True, False]


def test_what_a_plan_costs() -> None:
    plan = Plan(
        6, masks.first(6, 1), [Window.of([0, 1, 2, 4], [1, 2, 4]), Window.of([2, 3, 4], [3]), Window.of([4, 5], [5])]
    )
    assert plan.parts == 1 and plan.longest == 4 and plan.has_gaps
    assert plan.calls(10) == 30 and plan.frame_calls(10) == 10 * (4 + 3 + 2)
    assert plan.memory((2, 3, 1), num_clips=5, solver_memory=2) == 4 * 5 * 6 * (3 * 6 + 4 * 4)
    near = Plan(3, masks.none(3), [Window.of([0, 1], [0, 1]), Window.of([1, 2], [2])])
    assert not near.has_gaps and near.longest == 2


def test_rows_that_parts_do_not_divide_are_refused_with_the_nearest_that_they_do() -> None:
    assert network_calls([ROLLED], 8) == 2
    with pytest.raises(ValueError, match="multiple of this plan's 4 parts, e.g. 8 or 12 network calls. Received: 10"):
        network_calls([ROLLED], 10)
    with pytest.raises(ValueError, match="multiple of this plan's 4 parts, e.g. 4 network calls. Received: 3"):
        network_calls([ROLLED], 3)


def window(frames: list[int], start: list[int], stop: list[int], parts: int = 2) -> Window:
    return Window(np.array(frames), np.array(start), np.array(stop), parts)


HALF = window([0, 1], [0, 0], [1, 1])


@pytest.mark.parametrize(
    ("known", "windows", "message"),
    [
        ([0, 0], [HALF], "expected every frame to be .* none that finish frame 0"),
        ([0, 0], [HALF, window([0, 1], [1, 1], [2, 2], 3)], "window 1: expected 2 parts, and as many"),
        (
            [0, 0],
            [HALF, Window(np.arange(2), np.ones(1, int), np.full(2, 2), 2)],
            "window 1: expected 2 parts, and as many",
        ),
        ([0, 0], [window([], [], [])], "window 0: expected 2 parts, and as many starts and stops as frames"),
        ([0, 0], [window([1, 0], [0, 0], [2, 2])], "window 0: expected frames rising inside 0 … 1. Received: .1 0"),
        ([0, 0], [window([1, 1], [0, 0], [2, 2])], "window 0: expected frames rising inside 0 … 1. Received: .1 1"),
        ([0, 0], [window([-1, 0], [0, 0], [2, 2])], "window 0: expected frames rising inside 0 … 1. Received: .-1 "),
        ([0, 0], [window([0, 2], [0, 0], [2, 2])], "window 0: expected frames rising inside 0 … 1. Received: .0 2"),
        ([1, 0], [window([0, 1], [1, 0], [2, 1])], "window 0: .* still to be .* Received: frame 0"),
        ([0, 0], [HALF, window([0, 1], [2, 1], [2, 2])], "window 1: .* as known. Received: frame 0"),
        (
            [0, 0],
            [HALF, window([0, 1], [1, 0], [2, 1])],
            "window 1: expected frame 1 to go on from part 1. Received: 0",
        ),
        (
            [0, 0],
            [HALF, window([0, 1], [1, 1], [1, 1])],
            "window 1: expected frames that move to take equally many parts",
        ),
        (
            [0, 0],
            [HALF, window([0, 1], [1, 1], [2, 0])],
            "window 1: expected frames that move to take equally many parts",
        ),
        ([0, 0], [window([0, 1], [0, 0], [3, 3])], "window 0: expected frames that move to take equally many parts"),
        ([0, 0], [window([0, 1], [0, 0], [2, 1])], "window 0: expected frames that move to take equally many parts"),
        ([0, 0], [], "expected every frame to be .* none that finish frame 0"),
        ([1, 1], [HALF], "`known`: expected at least one frame"),
        ([0, 0, 0], [HALF], "`known`: expected shape .2. or .1, 2.. Received: .3."),
    ],
)
def test_every_promise_is_checked(known: list[int], windows: list[Window], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan(2, np.array(known, bool), windows)


def test_known_frames_are_booleans() -> None:
    with pytest.raises(TypeError, match="`known`: expected booleans, one per frame. Received: dtype int64"):
        Plan(2, np.array([1, 0]), [HALF])
    plan = Plan(2, np.array([False, False]), [HALF, window([0, 1], [1, 1], [2, 2])])
    assert plan.parts == 2 and plan.calls(6) == 6
