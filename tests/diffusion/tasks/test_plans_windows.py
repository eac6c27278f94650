"""Which frames every plan generates together, and from which others, frame by frame."""

from __future__ import annotations

from kvdiff.diffusion import masks, plans


def test_the_pictures() -> None:
    assert str(plans.autoregressive(12, 6, overlap=2, known=2)).splitlines()[1:] == [
        "  oo####······",
        "  ····oo####··",
        "  ······oooo##",
    ]
    assert str(plans.hierarchical(9, 5)).splitlines()[1:] == ["  #···#···#", "  o###o····", "  ····o###o"]
    assert str(plans.hierarchy_2(9, 4, anchor_step=4)).splitlines()[1:] == [
        "  #···#···#",
        "  o##·o····",
        "  ·oo#o····",
        "  ····o##·o",
        "  ·····oo#o",
    ]
    assert str(plans.rolling(5, 3, context=1)).splitlines()[1:] == [
        "  #~~··",
        "  ##~··",
        "  o##··",
        "  ·o##·",
        "  ··o##",
        "  ··oo#",
    ]
    assert str(plans.frame_rate(7, 5, factor=2)).splitlines()[1:] == ["  o#o#o··", "  ··ooo#o"]
    assert str(plans.frame_rate(7, 5, factor=2)).startswith(
        "frame_rate: 3 of 7 frames generated in 2 windows of up to 5"
    )


def test_a_few_frames_at_a_time_go_by_all_that_fit() -> None:
    plan = plans.autoregressive(8, 8, at_a_time=1, known=4)
    assert [window.frames.tolist() for window in plan.windows] == [list(range(n)) for n in (5, 6, 7, 8)]
    plan = plans.autoregressive(10, 5, at_a_time=2, known=2)
    assert [(w.frames[0], w.frames[w.moves].tolist()) for w in plan.windows] == [
        (0, [2, 3]),
        (1, [4, 5]),
        (3, [6, 7]),
        (5, [8, 9]),
    ]
    short = plans.autoregressive(8, 8, at_a_time=1, overlap=3, known=4)
    assert [window.frames.tolist() for window in short.windows] == [list(range(n - 3, n + 1)) for n in (4, 5, 6, 7)]
    assert [len(w.frames) for w in plans.autoregressive(4, 8, at_a_time=1).windows] == [1, 2, 3, 4]


def test_in_order_goes_by_the_nearest_frames_on_both_sides() -> None:
    plan = plans.in_order(masks.ends(8, 2, 2), 5, at_a_time=1)
    assert [(w.frames.tolist(), w.frames[w.moves].tolist()) for w in plan.windows] == [
        ([0, 1, 2, 6, 7], [2]),
        ([0, 1, 2, 3, 6], [3]),
        ([1, 2, 3, 4, 6], [4]),
        ([3, 4, 5, 6, 7], [5]),
    ]


def test_in_order_the_nearest_are_those_to_either_end_of_what_is_generated() -> None:
    (window,) = plans.in_order(masks.ends(8, 3, 3), 4, at_a_time=2).windows
    assert window.frames.tolist() == [2, 3, 4, 5]
    (window,) = plans.in_order(masks.ends(8, 3, 3), 6, at_a_time=2).windows
    assert window.frames.tolist() == [1, 2, 3, 4, 5, 6]
    (window,) = plans.in_order(masks.ends(7, 3, 3), 4, at_a_time=2).windows  # A single frame goes by three.
    assert window.frames.tolist() == [1, 2, 3, 4] and window.moves.tolist() == [False, False, True, False]


def test_hierarchy_2_goes_by_a_quarter_ahead_and_the_rest_behind() -> None:
    assert str(plans.hierarchy_2(13, 6)).splitlines()[1:] == [
        "  #·····#·····#",
        "  o###··o······",
        "  ·ooo##o······",
        "  ·····oo###··o",
        "  ·······ooo##o",
    ]


def test_a_rolling_window_is_no_longer_than_the_video() -> None:
    assert str(plans.rolling(3, 6)).splitlines()[1:] == ["  #~~", "  ##~", "  ###", "  o##", "  oo#"]
