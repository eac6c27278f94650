"""Long videos: which frames are generated together, and from which others, before anything is computed.

A clip is a video of one window. A longer video is generated window by window, and a `Plan` is the list of them:

    plan = plans.autoregressive(80, window=8, overlap=4, known=4)
    print(plan)                                   # every window as a picture
    video = model.rollout(80, past, plan=plan)

A window says of each of its frames how far it is before and after, in parts of the way from noise (0) to clean. A frame
that is clean before is known to the others; most windows bring their other frames from 0 all the way. A `rolling` plan
lets each frame lag behind the one before it. So one sampler runs every plan, on every engine.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_count, check_known, optional
from kvdiff.diffusion.tasks.plan import Plan, Window

__all__ = [
    "PLANS",
    "autoregressive",
    "frame_rate",
    "hierarchical",
    "hierarchy_2",
    "in_order",
    "plan_for",
    "rolling",
    "whole",
]


def whole(known: np.ndarray) -> Plan:
    """A clip in one window. Args: known: bool [frames]."""
    known = _mask(known)
    frames = np.arange(len(known))
    return Plan(len(known), known, [Window.of(frames, frames[~known])], "whole")


def autoregressive(
    num_frames: int, window: int, *, overlap: int | None = None, at_a_time: int | None = None, known: int = 0
) -> Plan:
    """Window after window, each going by the last frames before it.

    Args:
        num_frames: of the whole video.
        window: frames that go through the network together, as a rule the training length.
        overlap: frames that a window takes over from before; by default half of it. More keeps motion and looks
            better together, fewer costs less.
        at_a_time: frames to generate in a window, the first one too; then `overlap` is the most that it goes by, by
            default all that fit.
        known: how many frames are known, the first ones.
    """
    _check(num_frames, window, known)
    onward = Onward.of(window, overlap=overlap, at_a_time=at_a_time)
    windows: list[Window] = []
    while (done := windows[-1].end if windows else known) < num_frames:
        windows.append(onward.after(done, num_frames))
    return Plan(num_frames, _first(num_frames, known), windows, "autoregressive")


@dataclasses.dataclass(frozen=True)
class Onward:
    """The windows of `autoregressive` one by one, of a video whose end nobody need know.

    Attributes:
        window, overlap, at_a_time: as there.
    """

    window: int
    overlap: int
    at_a_time: int | None = None

    @classmethod
    def of(cls, window: int, *, overlap: int | None = None, at_a_time: int | None = None) -> Onward:
        """With what is usual where nothing is said."""
        check_count("window", window, at_least=2)
        optional(check_count, "at_a_time", at_a_time, at_most=window - 1)
        usual = window // 2 if at_a_time is None else window - at_a_time
        overlap = check_count("overlap", usual if overlap is None else overlap, at_least=1, at_most=window - 1)
        return cls(window, overlap, at_a_time)

    def after(self, done: int, num_frames: int | None = None) -> Window:
        """The window after `done` frames; of a video of `num_frames`, the last one too."""
        new = min(self.window - min(done, self.overlap), self.at_a_time or self.window)
        new = new if num_frames is None else min(new, num_frames - done)
        # The last window looks further back rather than be short.
        context = min(done, self.window - new if self.at_a_time is None else self.overlap)
        return Window.of(range(done - context, done + new), range(done, done + new))


def in_order(known: np.ndarray, window: int, *, at_a_time: int) -> Plan:
    """The unknown frames from the first to the last, a few at a time, each by the nearest frames on both sides.

    Windows have gaps where known frames lie ahead, so the denoiser must know `FrameTimes`.

    Args:
        known: bool [frames], any frames.
        window: frames that go through the network together, more than `at_a_time`.
        at_a_time: frames to generate in a window, neighbours.
    """
    known = _mask(known)
    check_count("at_a_time", at_a_time, at_most=check_count("window", window, at_least=2) - 1)
    windows, done = [], known.copy()
    while len(missing := np.flatnonzero(~done)):
        new = _neighbours(missing.tolist())[:at_a_time]
        others = np.flatnonzero(done)
        nearest = np.argsort(np.minimum(abs(others - new[0]), abs(others - new[-1])), kind="stable")
        windows.append(Window.of([*others[nearest[: window - len(new)]], *new], new))
        done[new] = True
    return Plan(len(known), known, windows, "in_order")


def hierarchical(num_frames: int, window: int, *, anchor_step: int | None = None, known: int = 0) -> Plan:
    """Frames far apart first, then each gap from its two ends: no error adds up along the video.

    Args:
        num_frames: of the whole video.
        window: frames that go through the network together.
        anchor_step: between the frames that are generated first; by default what fills a window with a gap and its
            ends.
        known: how many frames are known, the first ones.
    """
    _check(num_frames, window, known)
    usual = window - 1 if anchor_step is None else anchor_step
    step = check_count("anchor_step", usual, at_least=2, at_most=window - 1)
    anchors, windows = _anchors(num_frames, window, step, known)
    for left, right in itertools.pairwise(anchors):
        if right - left > 1:
            windows.append(Window.of(range(left, right + 1), range(left + 1, right)))
    return Plan(num_frames, _first(num_frames, known), windows, "hierarchical")


def hierarchy_2(num_frames: int, window: int, *, anchor_step: int | None = None, known: int = 0) -> Plan:
    """Frames far apart first, then the others from left to right, from the nearest frames on both sides.

    Hierarchy-2 of Harvey et al. 2022, arXiv:2205.11495, section 4: half of a window is generated, a quarter are the
    nearest frames before, a quarter frames ahead that the first level generated.

    Args:
        num_frames: of the whole video.
        window: frames that go through the network together, at least 4.
        anchor_step: between the frames of the first level; by default the window.
        known: how many frames are known, the first ones.
    """
    _check(num_frames, window, known)
    check_count("window", window, at_least=4)
    step = check_count("anchor_step", window if anchor_step is None else anchor_step, at_least=2)
    anchors, windows = _anchors(num_frames, window, step, known)
    done = set(anchors) | set(range(known))
    while missing := [frame for frame in range(num_frames) if frame not in done]:
        new = _neighbours(missing)[: window // 2]
        ahead = sorted(frame for frame in done if frame > new[-1])[: window // 4]
        behind = sorted(frame for frame in done if frame < new[0])[-(window - len(new) - len(ahead)) :]
        windows.append(Window.of([*behind, *new, *ahead], new))
        done |= set(new)
    return Plan(num_frames, _first(num_frames, known), windows, "hierarchy_2")


def rolling(num_frames: int, window: int, *, context: int | None = None, known: int = 0) -> Plan:
    """Each frame lags one part behind the frame before it: a pyramid of noise levels rolls along the video.

    For models trained with independent noise a frame (Chen et al. 2024, arXiv:2407.01392; Ruhe et al. 2024,
    arXiv:2402.09470). The number of network calls must be a multiple of window - context.

    Args:
        num_frames: of the whole video.
        window: frames that go through the network together.
        context: clean frames that a window keeps in view; by default a quarter of it.
        known: how many frames are known, the first ones.
    """
    _check(num_frames, window, known)
    window = min(window, num_frames)
    context = check_count("context", window // 4 if context is None else context, at_least=0, at_most=window - 1)
    parts = window - context
    index = np.arange(num_frames) - known
    windows = []
    for stage in range(num_frames - known + parts - 1):
        before, after = (np.clip(now - index, 0, parts) for now in (stage, stage + 1))
        before, after = (np.where(index < 0, parts, progress) for progress in (before, after))
        active = np.flatnonzero(after > before)[0]
        left = int(np.clip(active - context, 0, num_frames - window))
        at = np.arange(left, left + window)
        windows.append(Window(at, before[at], after[at], parts))
    return Plan(num_frames, _first(num_frames, known), windows, "rolling")


def frame_rate(num_frames: int, window: int, *, factor: int) -> Plan:
    """Raise the frame rate: frames 0, factor, 2 factor, … are known, and those between are generated.

    Args:
        num_frames: of the whole video, 1 more than a multiple of `factor`.
        window: frames that go through the network together, more than `factor`.
        factor: by how much.
    """
    _check(num_frames, window, 0)
    check_count("factor", factor, at_least=2, at_most=window - 1)
    if num_frames % factor != 1:
        near = num_frames // factor * factor + 1
        raise ValueError(
            f"`num_frames`: expected one more than a multiple of {factor}, e.g. {near}. Received: {num_frames}"
        )
    known = np.arange(num_frames) % factor == 0
    span = (window - 1) // factor * factor
    windows = []
    for left in range(0, num_frames - 1, span):
        right = min(left + span, num_frames - 1)
        new = [frame for frame in range(left, right) if frame % factor]
        windows.append(Window.of(range(max(right - span, 0), right + 1), new))
    return Plan(num_frames, known, windows, "frame_rate")


def plan_for(plan: Plan | str | None, at_a_time: int | None, known: np.ndarray, window: int, *, gaps: bool) -> Plan:
    """The plan that a call asks for, checked against its video.

    Args:
        plan: the user's own, the name of one in `PLANS`, or None with `at_a_time`.
        at_a_time: frames to generate in a window, in order.
        known: bool [frames], the video's known frames.
        window: frames of a window, the training length.
        gaps: whether the denoiser knows when frames were taken, so that a window may have gaps.

    Raises:
        ValueError: a plan of another video, known frames that a named plan cannot go by, or gaps.
        TypeError: no plan.
    """
    count = int(known.sum())
    leading = bool(known[:count].all())
    if at_a_time is not None:
        if plan is not None:
            raise ValueError(f"`at_a_time`: expected no `plan` beside it. Received: {at_a_time} and a plan")
        if leading:
            plan = autoregressive(len(known), window, at_a_time=at_a_time, known=count)
        else:
            plan = in_order(known, window, at_a_time=at_a_time)
    elif isinstance(plan, str):
        by_name = PLANS[check_choice("plan", plan, PLANS)]
        if not leading:
            raise ValueError(f"`plan`: expected the first frames to be known, for a plan by name. Received: {plan!r}")
        plan = by_name(len(known), window, known=count)
    elif not isinstance(plan, Plan):
        raise TypeError(f"`plan`: expected a Plan or one of {sorted(PLANS)}. Received: {plan!r}")
    if plan.num_frames != len(known) or (plan.known != known).any():
        raise ValueError(
            f"`plan`: expected one of {len(known)} frames that knows frames {np.flatnonzero(known).tolist()}. "
            f"Received: one of {plan.num_frames} frames that knows {np.flatnonzero(plan.known).tolist()}"
        )
    if plan.has_gaps and not gaps:
        raise ValueError(
            "`plan`: expected windows of neighbouring frames, for the denoiser does not know when frames were taken "
            f"(condition FrameTimes). Received: {plan.name}, with gaps"
        )
    return plan


PLANS: dict[str, Callable[..., Plan]] = {
    plan.__name__: plan for plan in (autoregressive, hierarchical, hierarchy_2, rolling)
}
"""The ways to make a long video by name: each a function of (num_frames, window, known=…)."""


def _check(num_frames: Any, window: Any, known: Any) -> None:
    check_count("num_frames", num_frames)
    check_count("window", window, at_least=2)
    check_count("known", known, at_least=0, at_most=num_frames - 1)


def _mask(known: Any) -> np.ndarray:
    """`known` as bool [frames]."""
    return check_known("known", known, 1, np.size(known))[0]


def _first(num_frames: int, known: int) -> np.ndarray:
    return np.arange(num_frames) < known


def _anchors(num_frames: int, window: int, anchor_step: int, known: int) -> tuple[list[int], list[Window]]:
    """The frames far apart, from the last known one (or the first) to the end, and the windows that make them."""
    left = max(known - 1, 0)
    anchors = sorted({*range(left, num_frames, anchor_step), num_frames - 1})
    given = min(known, 1)
    order = autoregressive(len(anchors), window, known=given).windows if len(anchors) > given else ()
    at = np.array(anchors)
    return anchors, [Window.of(at[w.frames], at[w.frames[w.moves]]) for w in order]


def _neighbours(frames: list[int]) -> list[int]:
    """The first frames of a rising list that are neighbours."""
    end = next((i for i in range(1, len(frames)) if frames[i] != frames[i - 1] + 1), len(frames))
    return frames[:end]
