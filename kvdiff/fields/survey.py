"""What a field's numbers are like, read once, block by block: ranges, gaps, what is missing, how much happens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from kvdiff.diffusion.checks import check_count, optional
from kvdiff.diffusion.transforms.fitting import Summary
from kvdiff.diffusion.transforms.values import Values
from kvdiff.fields.field import Field

_BLOCK = 64 * 2**20  # Bytes of numbers that are read at a time.

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """What `survey` found.

    Attributes:
        summaries: of each channel.
        frames_read: of how many frames.
        missing: the share of missing numbers in each frame that was read, float64 [frames_read].
    """

    summaries: tuple[Summary, ...]
    frames_read: int
    missing: np.ndarray


def survey(fields: Sequence[Field], *, at_most: int | None = None, progress: Progress | None = None) -> Survey:
    """Read fields and say what their numbers are like.

    Args:
        fields: of the same channels.
        at_most: frames to read, evenly from all; by default every one.
        progress: called with (frames read, frames to read).
    """
    optional(check_count, "at_most", at_most)
    summaries = tuple(Summary() for _ in fields[0].names)
    missing: list[np.ndarray] = []
    total = sum(field.shape[0] for field in fields)
    share = 1.0 if at_most is None else min(1.0, at_most / total)
    for field in fields:
        count = max(1, round(share * field.shape[0]))
        chosen = np.unique(np.linspace(0, field.shape[0] - 1, count).round().astype(int))
        for block in _blocks(field, chosen):
            whole = field.dtype.kind in "iu" and not np.isnan(block).any()
            for channel, summary in enumerate(summaries):
                numbers = block[..., channel]
                summary.add(numbers.astype(field.dtype) if whole else numbers)
            missing.append(np.isnan(block).mean(axis=(1, 2, 3)))
            if progress is not None:
                progress(sum(map(len, missing)), max(1, round(share * total)))
    return Survey(summaries, sum(map(len, missing)), np.concatenate(missing))


def frame_activity(field: Field, values: Values, progress: Progress | None = None) -> np.ndarray:
    """How much happens in each frame, float64 [frames]: the mean height of its numbers above the lowest, as x_0 is.

    Of values without bounds, the mean distance from the mean, in standard deviations. Missing numbers do not count.
    """
    activity: list[np.ndarray] = []
    for block in _blocks(field, np.arange(field.shape[0])):
        x_0 = values.encode(block)
        heights = np.abs(x_0) if values.bounds is None else (x_0 - values.bounds[0]) / 2.0
        there = ~np.isnan(block)
        sums = np.where(there, heights, 0.0).sum(axis=(1, 2, 3), dtype=np.float64)
        activity.append(sums / np.maximum(there.sum(axis=(1, 2, 3)), 1))
        if progress is not None:
            progress(sum(map(len, activity)), field.shape[0])
    return np.concatenate(activity)


def _blocks(field: Field, frames: np.ndarray) -> Iterator[np.ndarray]:
    size = max(1, _BLOCK // (4 * int(np.prod(field.shape[1:]))))
    for first in range(0, len(frames), size):
        yield field.read(frames[first : first + size])
