"""Which frames of a video make a clip, by the times at which they are shown."""

from __future__ import annotations

import dataclasses

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_count, check_real, optional
from kvdiff.media.clocks import LATE, num_ticks, shown_at

CLIP_SAMPLINGS = ("random", "uniform", "all")
BY_LENGTH = "by length"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipWindows:
    """Cuts videos into clips of `num_frames` frames.

    A video is a row of ticks: its frames as they are or, with `target_fps`, the frame shown at every multiple of
    1 / target_fps seconds after the first, so that a frame shown for longer is taken more often. A clip takes
    every `frame_stride`-th tick. Ticks through which one and the same frame is shown are no clip, however long that is:
    a video has no more clips than its frames allow.

    Attributes:
        num_frames: frames of a clip.
        frame_stride: ticks from one frame of a clip to the next.
        target_fps: ticks a second; None: every frame is one tick, whenever it is shown.
        sampling: "random": clips that begin anywhere, others in every epoch. "uniform": clips whose beginnings are
            spread evenly; one is taken from the middle. "all": every clip that begins a multiple of `window_step` ticks
            after the first frame.
        clips_per_video: how many ("random", "uniform"): a number, or "by length", as many as "all" would cut. Random
            clips by length are spread over the video: each begins anywhere in its own part.
        window_step: ticks from the beginning of a clip to that of the next ("all", "by length"); by default clips share
            no tick.
    """

    num_frames: int
    frame_stride: int = 1
    target_fps: float | None = None
    sampling: str = "random"
    clips_per_video: int | str = 1
    window_step: int | None = None

    def __post_init__(self) -> None:
        for name in ("num_frames", "frame_stride"):
            check_count(name, getattr(self, name))
        if isinstance(self.clips_per_video, str):
            check_choice("clips_per_video", self.clips_per_video, (BY_LENGTH,))
        else:
            check_count("clips_per_video", self.clips_per_video)
        check_choice("clip_sampling", self.sampling, CLIP_SAMPLINGS)
        optional(check_real, "target_fps", self.target_fps, above=0.0)
        optional(check_count, "window_step", self.window_step)

    @property
    def span(self) -> int:
        """Ticks from a clip's first frame to its last, both counted."""
        return (self.num_frames - 1) * self.frame_stride + 1

    @property
    def _step(self) -> int:
        return self.window_step or self.span

    def num_windows(self, times: np.ndarray) -> int:
        """How many ticks of a video a clip may begin at; `times`: float64 [frames], ascending, seconds.

        Raises:
            ValueError: the video is too short for one clip, or has no clock that `target_fps` could go by.
        """
        return self._checked(times).count

    def starts(self, times: np.ndarray) -> np.ndarray:
        """Where the clips of "all" begin, int64; nowhere in a video that is too short."""
        return self._step * self._runs(times).multiples(self._step).ticks()

    @property
    def by_length(self) -> bool:
        """Whether the number of a video's clips depends on its length."""
        return self.sampling == "all" or self.clips_per_video == BY_LENGTH

    def num_clips(self, times: np.ndarray) -> int:
        """How many clips of a video there are in an epoch; by length none of one that is too short."""
        if self.sampling == "all":
            return len(self.starts(times))
        if isinstance(self.clips_per_video, str):
            return -(-self._runs(times).count // self._step)
        return self.clips_per_video

    def start(self, times: np.ndarray, number: int, uniform: float, count: int | None = None) -> int:
        """Where clip `number` of a video's `count` begins; "random" goes by `uniform`, in (0, 1)."""
        runs, count = self._checked(times), self.num_clips(times) if count is None else count
        if self.sampling == "all":
            return self._step * runs.multiples(self._step).tick(number)
        if self.sampling == "uniform":
            share = (number + 0.5) / count
        else:
            share = (number + uniform) / count if self.by_length else uniform
        return runs.tick(min(int(share * runs.count), runs.count - 1))

    def at_speed(self, speed: float) -> ClipWindows:
        """The same for clips in which time goes `speed` times as fast; whole numbers where there is no `target_fps`."""
        if self.target_fps is None:
            return dataclasses.replace(self, frame_stride=self.frame_stride * int(speed))
        return dataclasses.replace(self, target_fps=self.target_fps / speed)

    def fits(self, times: np.ndarray) -> bool:
        """Whether a video is long enough for a clip."""
        return self._runs(times).count > 0

    def start_near(self, times: np.ndarray, tick: float) -> int:
        """The last tick up to `tick` at which a clip may begin, or the first of all."""
        ticks = self._checked(times).ticks()
        return int(ticks[max(int(np.searchsorted(ticks, tick, side="right")) - 1, 0)])

    def frames(self, times: np.ndarray, start: int) -> np.ndarray:
        """The frames of the clip that begins at tick `start`: int64 [num_frames]."""
        ticks = start + self.frame_stride * np.arange(self.num_frames)
        return ticks if self.target_fps is None else self._shown(times, ticks)

    def num_ticks(self, times: np.ndarray) -> int:
        """The length of a video.

        Raises:
            ValueError: it has no clock that `target_fps` could go by.
        """
        if self.target_fps is None:
            return len(times)
        if np.isnan(times).any():
            raise ValueError(
                "expected a clock, for `target_fps` to go by. Received: an array or folder of frames, which has none; "
                "`default_fps` says how many frames a second it has"
            )
        return num_ticks(times, self.target_fps)

    def _shown(self, times: np.ndarray, ticks: np.ndarray) -> np.ndarray:
        """The frame shown at each of `ticks`."""
        assert self.target_fps is not None
        return shown_at(times, ticks, self.target_fps)

    def _checked(self, times: np.ndarray) -> _Runs:
        runs = self._runs(times)
        if not runs.count:
            raise ValueError(f"expected at least {self.span} frames. Received: {self.num_ticks(times)}")
        return runs

    def _runs(self, times: np.ndarray) -> _Runs:
        """The ticks at which a clip may begin."""
        last = self.num_ticks(times) - self.span
        if last < 0:
            return _Runs(np.zeros((0, 2), np.int64))
        if self.target_fps is None:
            return _Runs(np.array([[0, last]]))
        changes = np.ceil((times[1:] - times[0]) * self.target_fps - LATE - 1e-9).astype(np.int64)
        changes += self._shown(times, changes) < np.arange(1, len(times))  # Rounding.
        changes = np.unique(changes[changes > 0])  # The first tick of every frame but the first.
        if self.span == 1:
            changes = np.append(0, changes[changes <= last])
            return _Runs(np.stack([changes, changes], axis=1))
        # A clip holds two frames where one of these follows its first tick and is at most its last.
        firsts, lasts = np.maximum(changes - self.span + 1, 0), np.minimum(changes - 1, last)
        firsts[1:] = np.maximum(firsts[1:], lasts[:-1] + 1)
        return _Runs(np.stack([firsts, lasts], axis=1)[firsts <= lasts])


class _Runs:
    """Ticks in runs: int64 [runs, 2], first and last of each, ascending."""

    def __init__(self, bounds: np.ndarray) -> None:
        self._bounds = bounds
        self._ends = np.cumsum(bounds[:, 1] - bounds[:, 0] + 1)
        self.count = int(self._ends[-1]) if len(bounds) else 0

    def multiples(self, step: int) -> _Runs:
        """The multiples of `step` among the ticks, divided by it."""
        bounds = np.stack([-(-self._bounds[:, 0] // step), self._bounds[:, 1] // step], axis=1)
        return _Runs(bounds[bounds[:, 0] <= bounds[:, 1]])

    def ticks(self) -> np.ndarray:
        """All of them."""
        lengths = self._bounds[:, 1] - self._bounds[:, 0] + 1
        return np.arange(self.count) + np.repeat(self._bounds[:, 1] + 1 - self._ends, lengths)

    def tick(self, number: int) -> int:
        """The tick of a number from 0 to `count` - 1."""
        run = int(np.searchsorted(self._ends, number, side="right"))
        return int(self._bounds[run, 1] + 1 - self._ends[run]) + number
