"""Times of frames, whatever the container says."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff import media
from kvdiff.media.clocks import frame_times


def test_good_clocks_stay_as_they_are():
    for stamps in ([0.0, 0.04, 0.08], [-1.5, -1.4, 2.0, 2.1], [3.0, 3.0, 3.1], [0.0, 59.0, 59.1]):
        times, num_jumps = frame_times(stamps, 25.0)
        assert times.tolist() == stamps and not num_jumps


@pytest.mark.parametrize(
    ("stamps", "num_jumps"),
    [
        ([1.4, 1.5, 1.6, 1.4, 1.5, 1.6], 1),  # A file behind itself.
        ([0.0, 0.1, 0.2, 3600.3, 3600.4, 3600.5], 1),  # A part an hour later.
        ([0.0, 0.1, 1e6, 1e6 + 0.1, 0.0, 0.1], 2),
        ([0.0, 0.1, None, 0.3, 0.4, 0.5], 2),
        ([0.0, 0.1, 0.2, 0.3, 0.4, -1e12], 1),
    ],
)
def test_a_jump_counts_as_one_frame(stamps, num_jumps):
    times, found = frame_times(stamps, 25.0)
    np.testing.assert_allclose(times - times[0], np.arange(6) / 10)
    assert found == num_jumps


def test_slow_clocks_are_no_jumps():
    """One picture in ten minutes, but for one in an hour."""
    stamps = [0.0, 600.0, 1200.0, 4800.0, 5400.0]
    assert frame_times(stamps, None) == (pytest.approx(stamps), 0)


@pytest.mark.parametrize("stamps", [[None] * 4, [7.0] * 4])
def test_without_a_clock_the_rate_rules(stamps):
    assert frame_times(stamps, 50.0)[0].tolist() == [0.0, 0.02, 0.04, 0.06]
    assert frame_times(stamps, None)[0][1] == 0.04  # 25 frames a second, where nothing is said.


def test_times_of_the_stored_order_are_sorted():
    times, num_jumps = frame_times([0.0, 0.3, 0.1, 0.2, 0.4], 10.0, are_stored=True)
    assert times.tolist() == [0.0, 0.1, 0.2, 0.3, 0.4] and not num_jumps


def test_a_file_is_read_at_another_clock(tmp_path) -> None:
    """Frames that say their number by their brightness: at half the rate every second one is read."""
    levels = np.linspace(20, 240, 12).astype(np.uint8)
    clip = np.broadcast_to(levels[:, None, None, None], (12, 16, 16, 1)).copy()
    path = media.write_clip(tmp_path / "clip.mp4", clip, fps=24.0)
    whole = media.read_timed_clips(path, channels=1)
    assert whole.fps == whole.source_fps == pytest.approx(24.0) and whole.frames.shape[:2] == (1, 12)
    slow = media.read_timed_clips(path, channels=1, target_fps=8.0)
    assert slow.fps == 8.0 and slow.source_fps == pytest.approx(24.0)
    np.testing.assert_array_equal(slow.frames, whole.frames[:, ::3])
    fast = media.read_timed_clips(path, channels=1, target_fps=48.0)
    np.testing.assert_array_equal(fast.frames[:, :24], np.repeat(whole.frames, 2, axis=1)[:, :24])
    np.save(tmp_path / "clip.npy", clip)
    array = media.read_timed_clips(tmp_path / "clip.npy", channels=1, target_fps=8.0)
    assert array.fps is None and array.source_fps is None and array.frames.shape[:2] == (1, 12)
