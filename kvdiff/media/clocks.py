"""When the frames of a video are shown, whatever its container made of that."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_USUAL_RATE = 25.0  # Frames a second, where a file says nothing at all of time.
_LONGEST = 60.0  # Seconds that one frame may be shown, or 100 of the usual intervals where that is more.


LATE = 0.25
"""Of a tick: containers round their clocks, .mkv to 1 ms and .gif to 10 ms."""


def frame_times(
    stamps: Sequence[float | None], rate: float | None, *, are_stored: bool = False
) -> tuple[np.ndarray, int]:
    """The times at which frames are shown, and how often the file's clock jumped.

    Frames leave the decoder in the order in which they are shown, and that order rules. Where a time stamp is missing,
    goes backwards (parts put together) or is absurdly late, one usual interval has passed instead.

    Args:
        stamps: the time stamp of each frame, in seconds, in the order in which they are shown.
        rate: frames a second as the file declares it, for one without any time stamps.
        are_stored: whether the stamps are those of the order in which frames are stored, as in an .avi.

    Returns:
        float64 [frames], ascending; and the number of jumps.
    """
    times = np.array([np.nan if stamp is None else stamp for stamp in stamps], np.float64)
    if are_stored:
        times = np.sort(times)  # NaN last.
    steps = np.diff(times)
    forward = steps[steps > 0.0]
    interval = 1.0 / (rate or _USUAL_RATE) if not len(forward) else float(np.median(forward))
    if np.isnan(times).all() or not len(forward):
        return np.arange(len(times)) * interval, 0
    is_jump = ~((steps >= 0.0) & (steps <= max(_LONGEST, 100.0 * interval)))
    if not is_jump.any():
        return times, 0
    steps[is_jump] = interval
    return np.concatenate([[0.0], np.cumsum(steps)]), int(is_jump.sum())


def jump_notes(number: int) -> tuple[str, ...]:
    """What a user should know of a clock that jumps so often."""
    return (f"its clock jumps ({number}×); a jump counts as one frame",) if number else ()


def rate_of(times: np.ndarray) -> float | None:
    """Frames a second of a video whose frames are shown at `times`; None where it has no clock, or one frame."""
    if len(times) < 2 or np.isnan(times).any():
        return None
    interval = float(np.median(np.diff(times)))
    return 1.0 / interval if interval > 0.0 else None


def num_ticks(times: np.ndarray, fps: float) -> int:
    """How many ticks of 1 / fps seconds a video lasts; `times`: float64 [frames], ascending, seconds."""
    last = float(np.median(np.diff(times))) if len(times) > 1 else 1.0 / fps
    return max(math.ceil((times[-1] - times[0] + last) * fps - LATE), 1)


def shown_at(times: np.ndarray, ticks: np.ndarray, fps: float) -> np.ndarray:
    """The frame shown at each of `ticks`, which are 1 / fps seconds apart: int64."""
    return np.searchsorted(times, times[0] + (ticks + LATE) / fps, side="right") - 1
