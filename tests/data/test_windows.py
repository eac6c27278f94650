"""Which frames make a clip: by count, and by the times at which they are shown."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.data.windows import ClipWindows

EVEN = np.arange(30) / 30.0  # One second at 30 frames a second.


def chosen(times, start=0, **options):
    return ClipWindows(**options).frames(np.asarray(times), start).tolist()


def test_without_a_rate_frames_are_counted():
    assert chosen(EVEN, 5, num_frames=3, frame_stride=4) == [5, 9, 13]
    assert ClipWindows(num_frames=3, frame_stride=4).num_windows(EVEN) == 30 - 9 + 1


def test_a_lower_rate_takes_every_other_frame():
    windows = ClipWindows(num_frames=5, target_fps=15)
    assert windows.num_windows(EVEN) == 15 - 5 + 1
    assert windows.frames(EVEN, 0).tolist() == [0, 2, 4, 6, 8]
    assert windows.frames(EVEN, 10).tolist() == [20, 22, 24, 26, 28]


def test_a_tick_that_falls_into_the_last_frame_counts():
    times = np.arange(3) / 10
    windows = ClipWindows(num_frames=2, target_fps=5)
    assert windows.num_windows(times) == 1
    assert windows.frames(times, 0).tolist() == [0, 2]


def test_a_higher_rate_repeats_frames():
    assert chosen(EVEN, num_frames=6, target_fps=60) == [0, 0, 1, 1, 2, 2]
    assert chosen(EVEN, num_frames=4, frame_stride=2, target_fps=60) == [0, 1, 2, 3]


def test_a_frame_shown_for_longer_is_taken_more_often():
    times = [0.0, 0.1, 0.2, 1.2, 1.3]  # The third is shown for a second.
    shown = chosen(times, num_frames=14, target_fps=10)
    assert shown == [0, 1] + [2] * 10 + [3, 4]
    assert ClipWindows(num_frames=14, target_fps=10).num_windows(np.array(times)) == 1


def test_rounded_clocks_neither_drop_nor_repeat_frames():
    for rate, clock in ((24, 1000), (30000 / 1001, 1000), (24, 100), (25, 100)):  # .mkv's, then .gif's.
        times = np.round(np.arange(200) / rate * clock) / clock
        assert chosen(times, num_frames=199, target_fps=rate) == list(range(199)), (rate, clock)


def test_the_first_time_does_not_matter():
    assert chosen(EVEN + 17.3, num_frames=5, target_fps=10) == chosen(EVEN, num_frames=5, target_fps=10)


def test_every_window_stays_inside_the_video():
    for fps in (None, 7.0, 24.0, 30.0, 100.0):
        windows = ClipWindows(num_frames=4, frame_stride=2, target_fps=fps)
        for times in (EVEN, np.sort(np.random.default_rng(0).uniform(0, 3, 40))):
            last = windows.start(times, 0, 1 - 1e-9)
            assert windows.frames(times, 0)[0] in (0, 1)  # 1: it begins less than a quarter of a tick later.
            assert windows.frames(times, last)[-1] < len(times)
            assert times[windows.frames(times, last)[-1]] > times[-1] - 1.5 / (fps or 30.0)


def test_random_clips_begin_everywhere_and_uniform_ones_in_the_middle():
    random = ClipWindows(num_frames=21)
    starts = [random.start(EVEN, 0, uniform) for uniform in np.linspace(1e-6, 1 - 1e-6, 100)]
    assert sorted(set(starts)) == list(range(10))
    middle = ClipWindows(num_frames=20, sampling="uniform")
    assert middle.start(EVEN, 0, 0.9) == 5
    spread = ClipWindows(num_frames=21, sampling="uniform", clips_per_video=5)
    assert [spread.start(EVEN, number, 0.1) for number in range(5)] == [1, 3, 5, 7, 9]


def test_all_clips_share_no_frame_unless_told():
    assert list(ClipWindows(num_frames=8, sampling="all").starts(EVEN)) == [0, 8, 16]
    assert list(ClipWindows(num_frames=28, sampling="all", window_step=1).starts(EVEN)) == [0, 1, 2]


def test_hostile_times_cost_nothing():
    times = np.array([0.0, 1e12])
    windows = ClipWindows(num_frames=4, target_fps=1000.0)
    assert windows.num_windows(times) == 3
    starts = [windows.start(times, 0, uniform) for uniform in (0.1, 0.5, 0.9)]
    assert [windows.frames(times, start).tolist() for start in starts] == [[0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1]]


@pytest.mark.parametrize("num_frames", [1, 2, 5])
@pytest.mark.parametrize("frame_stride", [1, 2])
@pytest.mark.parametrize("fps", [3.0, 8.0, 25.0, 60.0])
def test_no_clip_is_one_frame_shown_for_long(num_frames, frame_stride, fps):
    """Against a search through all ticks."""
    rng = np.random.default_rng(num_frames)
    options = dict(num_frames=num_frames, frame_stride=frame_stride, target_fps=fps)
    every = ClipWindows(**options, sampling="all", window_step=1)
    for _ in range(20):
        times = np.cumsum(rng.choice([0.013, 0.041, 0.1, 0.5, 3.0], rng.integers(1, 12)))
        wanted, before = [], -1
        for start in range(every.num_ticks(times) - every.span + 1):
            first, last = (int(every.frames(times, tick)[0]) for tick in (start, start + every.span - 1))
            if first != last or (every.span == 1 and first != before):
                wanted.append(start)
            before = first
        assert every.starts(times).tolist() == wanted
        if wanted:
            places = (np.arange(len(wanted)) + 0.5) / len(wanted)
            assert [ClipWindows(**options).start(times, 0, place) for place in places] == wanted
            assert [every.start(times, number, 0.5) for number in range(len(wanted))] == wanted


def test_a_video_has_no_more_clips_than_its_frames_allow():
    times = np.append(np.arange(9) / 25.0, 1e6)  # The last frame comes after a gap of 11 days.
    windows = ClipWindows(num_frames=4, target_fps=8.0, sampling="all", window_step=1)
    assert windows.num_windows(times) == len(windows.starts(times)) < 9 * 3
    assert all(len(set(windows.frames(times, start).tolist())) > 1 for start in windows.starts(times))


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ValueError, match="expected at least 61 frames. Received: 30"):
        ClipWindows(num_frames=31, frame_stride=2).num_windows(EVEN)
    with pytest.raises(ValueError, match="expected a clock, .*`default_fps` says"):
        ClipWindows(num_frames=2, target_fps=8).num_windows(np.full(30, np.nan))
    with pytest.raises(ValueError, match="`clip_sampling`: expected one of"):
        ClipWindows(num_frames=2, sampling="some")
    with pytest.raises(ValueError, match="`target_fps`"):
        ClipWindows(num_frames=2, target_fps=0.0)


def test_clips_by_length_are_as_many_as_all_and_each_begins_in_its_own_part():
    options = dict(num_frames=4, clips_per_video="by length")
    for step in (None, 1, 3):
        drawn, every = (ClipWindows(**{**options, **more}, window_step=step) for more in ({}, dict(sampling="all")))
        count = drawn.num_clips(EVEN)
        assert count == every.num_clips(EVEN) == len(every.starts(EVEN))
        places = [[drawn.start(EVEN, number, uniform) for number in range(count)] for uniform in (1e-9, 0.5, 1 - 1e-9)]
        assert all(starts == sorted(starts) for starts in places)
        assert (places[0][0], places[2][-1]) == (0, 26)
        assert all(last <= first for last, first in zip(places[2], places[0][1:], strict=False))
    uniform = ClipWindows(**options, sampling="uniform")
    assert [uniform.start(EVEN, number, 0.0) for number in range(uniform.num_clips(EVEN))] == [1, 5, 9, 13, 17, 21, 25]
    assert drawn.num_clips(EVEN[:3]) == 0 and ClipWindows(num_frames=4, clips_per_video=5).num_clips(EVEN[:3]) == 5
    with pytest.raises(ValueError, match="`clips_per_video`: expected"):
        ClipWindows(num_frames=4, clips_per_video="by size")
