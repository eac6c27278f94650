"""A plan: the windows of a long video, which frames each generates and which it only sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from kvdiff.diffusion.checks import check_array, check_count, check_kind, check_known
from kvdiff.diffusion.drawing import drawn_cells


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """Frames that go through the network together.

    Attributes:
        frames: int [frames], rising: their numbers in the video.
        start, stop: int [frames] or [batch, frames]: how many of `parts` parts of the way from noise to clean each
            frame is before and after; equal for a frame that is only seen.
        parts: into how many parts the steps are divided.
    """

    frames: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    parts: int = 1

    @classmethod
    def of(cls, frames: Iterable[int], new: Iterable[int]) -> Window:
        """The window that generates the frames `new` from noise, the others of `frames` being known."""
        frames, new = (np.sort(_numbers(name, each)) for name, each in (("frames", frames), ("new", new)))
        return cls(frames, np.where(np.isin(frames, new), 0, 1), np.ones(len(frames), int))

    @classmethod
    def filling(cls, known: np.ndarray) -> Window:
        """The window that takes whole clips from noise, but for their `known` frames: bool [batch, frames]."""
        return cls(np.arange(known.shape[1]), known.astype(int), np.ones(known.shape, int))

    def of_clips(self, clips: np.ndarray) -> Window:
        """The window of some clips of the batch, int [clips], where its clips differ."""
        if self.start.ndim == 1:
            return self
        return dataclasses.replace(self, start=self.start[clips], stop=self.stop[clips])

    @property
    def moves(self) -> np.ndarray:
        """Bool: the frames that this window brings nearer to clean."""
        return self.stop > self.start

    @property
    def end(self) -> int:
        """The number of the frame after its last."""
        return int(self.frames[-1]) + 1

    def rows(self, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """`start` and `stop` as rows of a table of `num_steps` rows."""
        return self.start * num_steps // self.parts, self.stop * num_steps // self.parts


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """The windows of a long video, checked on construction: every frame is generated once, and before it is used.

    Attributes:
        num_frames: of the whole video.
        known: bool [num_frames], the known frames.
        windows: in the order in which they are run; all with the same `parts`.
        name: of the plan's kind.
    """

    num_frames: int
    known: np.ndarray
    windows: Sequence[Window]
    name: str = "plan"

    def __post_init__(self) -> None:
        check_count("num_frames", self.num_frames)
        object.__setattr__(self, "known", check_known("known", self.known, 1, self.num_frames)[0])
        check_kind("windows", self.windows, Sequence, "a list of windows")
        for window in self.windows:
            check_kind("windows", window, Window, "windows")
        progress = np.where(self.known, self.parts, 0)
        for number, window in enumerate(self.windows):
            self._check_window(number, window, progress)
            progress[window.frames] = window.stop
        if len(never := np.flatnonzero(progress < self.parts)):
            raise ValueError(
                f"`windows`: expected every frame to be generated. Received: none that finish frame {never[0]}"
            )

    def _check_window(self, number: int, window: Window, progress: np.ndarray) -> None:
        frames, start, stop = window.frames, window.start, window.stop
        what = f"`windows`: window {number}"
        if window.parts != self.parts or not frames.shape == start.shape == stop.shape or not len(frames):
            raise ValueError(f"{what}: expected {self.parts} parts, and as many starts and stops as frames")
        if (np.diff(frames) <= 0).any() or frames[0] < 0 or frames[-1] >= self.num_frames:
            raise ValueError(f"{what}: expected frames rising inside 0 … {self.num_frames - 1}. Received: {frames}")
        for frame, begin, before in zip(frames, start, progress[frames], strict=True):
            if before == self.parts != begin:
                raise ValueError(
                    f"{what}: expected frames that are still to be generated. Received: frame {frame}, generated before"
                )
            if begin == self.parts != before:
                raise ValueError(
                    f"{what}: expected frames generated before as known. Received: frame {frame}, not generated yet"
                )
            if begin != before:
                raise ValueError(f"{what}: expected frame {frame} to go on from part {before}. Received: {begin}")
        taken = (stop - start)[window.moves]
        if not len(taken) or (stop < start).any() or (stop > self.parts).any() or (taken != taken[0]).any():
            raise ValueError(f"{what}: expected frames that move to take equally many parts. Received: {stop - start}")

    @property
    def parts(self) -> int:
        """Into how many parts the way from noise to clean is divided."""
        return self.windows[0].parts if len(self.windows) else 1

    @property
    def longest(self) -> int:
        """The most frames that a window has: what the network must take."""
        return max(len(window.frames) for window in self.windows)

    @property
    def has_gaps(self) -> bool:
        """Whether some window has frames that are not neighbours, which a denoiser can tell by `FrameTimes` alone."""
        return any((np.diff(window.frames) > 1).any() for window in self.windows)

    @property
    def first_seen(self) -> np.ndarray:
        """int [windows + 1]: the first frame that any window from each on has, `num_frames` after the last."""
        own = [window.frames[0] for window in self.windows]
        return np.minimum.accumulate([self.num_frames, *own[::-1]])[::-1]

    def calls(self, num_rows: int) -> int:
        """How often the network is called with a table of `num_rows` rows: equal to steps but for two-call solvers."""
        return network_calls(self.windows, num_rows)

    def frame_calls(self, num_rows: int) -> int:
        """How many frames go through the network in all: what a run costs, whatever the windows' lengths."""
        return sum(len(window.frames) * network_calls([window], num_rows) for window in self.windows)

    def memory(self, frame_shape: tuple[int, int, int], *, num_clips: int = 1, solver_memory: int = 1) -> int:
        """Bytes of the arrays that the rollout holds: the video and its predictions, and a window's clip and noise.

        What the network needs for a window of `longest` frames comes on top.
        """
        frame = 4 * num_clips * int(np.prod(frame_shape))
        return frame * ((1 + solver_memory) * self.num_frames + (2 + solver_memory) * self.longest)

    @property
    def title(self) -> str:
        """One line that says how many frames it generates in how many windows."""
        parts = f", {self.parts} parts" if self.parts > 1 else ""
        new = self.num_frames - int(self.known.sum())
        return (
            f"{self.name}: {new} of {self.num_frames} frames generated in {len(self.windows)} windows of up to "
            f"{self.longest} frames{parts}"
        )

    def __str__(self) -> str:
        """A title, and a line a window: `#` generated, `o` known, `~` noisy and only seen, `·` not seen."""
        return "\n".join([self.title, *(self._line(window) for window in self.windows)])

    def _repr_html_(self) -> str:
        """In a notebook: the same as a drawing."""
        return drawn_cells(self.title, [self._line(window).strip() for window in self.windows])

    def _line(self, window: Window) -> str:
        line = np.full(self.num_frames, "·")
        line[window.frames] = np.where(window.moves, "#", np.where(window.start == self.parts, "o", "~"))
        return "  " + "".join(line)


def _numbers(name: str, frames: Iterable[int]) -> np.ndarray:
    """Numbers of frames, int [frames]."""
    numbers = check_array(name, list(frames) if isinstance(frames, Iterable) else frames, "numbers of frames")
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and numbers.size):
        raise TypeError(f"`{name}`: expected numbers of frames, integers. Received: {numbers!r}")
    return numbers.astype(int)


def network_calls(windows: Sequence[Window], num_rows: int) -> int:
    """How often the network is called to run `windows` with a table of `num_rows` rows.

    Raises:
        ValueError: `num_rows` cannot be divided into the windows' parts; the error names the nearest that can.
    """
    parts = windows[0].parts
    if num_rows % parts:
        below, above = num_rows // parts * parts, -(-num_rows // parts) * parts
        nearest = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"`num_steps`: expected a multiple of this plan's {parts} parts, e.g. {nearest} network calls. "
            f"Received: {num_rows}"
        )
    return sum(int((window.stop - window.start).max()) * num_rows // parts for window in windows)
