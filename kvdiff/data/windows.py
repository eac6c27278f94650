"""Which frames of a video make a clip, by the times at which they are shown."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_count, check_real

__all__ = ["CLIP_SAMPLINGS", "ClipWindows"]

CLIP_SAMPLINGS = ("random", "uniform", "all")

_LATE = 0.25  # Of a tick: containers round their clocks, .mkv to 1 ms and .gif to 10 ms.


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipWindows:
    """Cuts videos into clips of `num_frames` frames.

    A video is a row of ticks: its frames as they are or, with `target_fps`, the frame shown at every multiple of
    1 / target_fps seconds after the first, so that a frame shown for longer is taken more often. A clip takes
    every `frame_stride`-th tick.

    Attributes:
        num_frames: frames of a clip.
        frame_stride: ticks from one frame of a clip to the next.
        target_fps: ticks a second; None: every frame is one tick, whenever it is shown.
        sampling: "random": clips that begin anywhere, others in every epoch. "uniform": clips whose beginnings are
            spread evenly; one is taken from the middle. "all": every clip that begins a multiple of `window_step` ticks
            after the first frame.
        clips_per_video: how many ("random", "uniform").
        window_step: ticks from the beginning of a clip to that of the next ("all"); by default clips share no tick.
    """

    num_frames: int
    frame_stride: int = 1
    target_fps: float | None = None
    sampling: str = "random"
    clips_per_video: int = 1
    window_step: int | None = None

    def __post_init__(self) -> None:
        for name in ("num_frames", "frame_stride", "clips_per_video"):
            check_count(name, getattr(self, name))
        check_choice("clip_sampling", self.sampling, CLIP_SAMPLINGS)
        if self.target_fps is not None:
            check_real("target_fps", self.target_fps, above=0.0)
        if self.window_step is not None:
            check_count("window_step", self.window_step)

    @property
    def span(self) -> int:
        """Ticks from a clip's first frame to its last, both counted."""
        return (self.num_frames - 1) * self.frame_stride + 1

    def num_windows(self, times: np.ndarray) -> int:
        """How many ticks of a video a clip may begin at; `times`: float64 [frames], ascending, seconds.

        Raises:
            ValueError: the video is too short for one clip, or has no clock that `target_fps` could go by.
        """
        windows = self.num_ticks(times) - self.span + 1
        if windows < 1:
            raise ValueError(f"expected at least {self.span} frames. Received: {self.num_ticks(times)}")
        return windows

    def starts(self, times: np.ndarray) -> range:
        """Where the clips of "all" begin; nowhere in a video that is too short."""
        return range(0, max(self.num_ticks(times) - self.span + 1, 0), self.window_step or self.span)

    def start(self, times: np.ndarray, number: int, uniform: float) -> int:
        """Where a video's clip `number` begins; "random" goes by `uniform`, in (0, 1)."""
        windows = self.num_windows(times)
        if self.sampling == "all":
            return number * (self.window_step or self.span)
        share = uniform if self.sampling == "random" else (number + 0.5) / self.clips_per_video
        return min(int(share * windows), windows - 1)

    def frames(self, times: np.ndarray, start: int) -> np.ndarray:
        """The frames of the clip that begins at tick `start`: int64 [num_frames]."""
        ticks = start + self.frame_stride * np.arange(self.num_frames)
        if self.target_fps is None:
            return ticks
        shown_at = times[0] + (ticks + _LATE) / self.target_fps
        return np.searchsorted(times, shown_at, side="right") - 1

    def num_ticks(self, times: np.ndarray) -> int:
        """The length of a video.

        Raises:
            ValueError: it has no clock that `target_fps` could go by.
        """
        if self.target_fps is None:
            return len(times)
        if np.isnan(times).any():
            raise ValueError("expected times to go by; arrays and folders of frames need `default_fps`")
        last = float(np.median(np.diff(times))) if len(times) > 1 else 1.0 / self.target_fps
        return max(math.ceil((times[-1] - times[0] + last) * self.target_fps - _LATE), 1)
