"""The calls that a page offers: tasks, how many frames are known, and the windows in which the others are generated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.tasks import masks
from kvdiff.diffusion.tasks.plan import Window
from kvdiff.diffusion.tasks.plans import plan_for

TASKS = ("predict", "interpolate", "generate", "rollout")
"""The tasks of a page, in the order of its tabs."""
LENGTHS = (2, 4, 8)
"""The lengths of the videos that it rolls out, in clips."""
ORDERS: Mapping[str, Mapping[str, Any]] = {"own": {}, "whole": {"plan": None}, "single": {"at_a_time": 1}}
"""The orders in which frames are generated, by name: the keywords of a call besides the model's own defaults."""


def cases(spec: ModelSpec, task: str) -> list[dict[str, Any]]:
    """What a page offers of a task: a case for each choice of known frames.

    Each has `known`, the numbers of the known frames, `frames`, how many there are in all, and `orders`, by name of
    `ORDERS` the windows: pairs of the frames that go through the network and of those that are new.
    """
    found = []
    for known in _masks(spec.clip.num_frames, task):
        orders = {name: windows for name in ORDERS if (windows := _windows(spec, task, known, name)) is not None}
        for name in [name for name in orders if name != "own" and orders[name] == orders.get("own")]:
            del orders[name]  # It would be the same choice under another name.
        if orders:
            found.append({"known": np.flatnonzero(known).tolist(), "frames": len(known), "orders": orders})
    return found


def _masks(frames: int, task: str) -> Iterator[np.ndarray]:
    """The known frames of each case, bool [frames]."""
    if task == "generate":
        yield masks.none(frames)
    elif task == "predict":
        for count in sorted({1, frames // 4, frames // 2, 3 * frames // 4, frames - 1} & set(range(1, frames))):
            yield masks.first(frames, count)
    elif task == "interpolate":
        for side in sorted({1, frames // 4, frames // 3} & set(range(1, (frames - 1) // 2 + 1))):
            yield masks.ends(frames, side, side)
    else:
        for length in LENGTHS:
            for count in sorted({0, frames // 2}):
                yield masks.first(length * frames, count)


def _windows(spec: ModelSpec, task: str, known: np.ndarray, order: str) -> list[list[list[int]]] | None:
    """The windows of one order; None where the model cannot be sampled so, or only from noise that rolls along."""
    own = spec.sampling.get(task, {})
    keywords = ORDERS[order] if order != "own" else own
    plan, at_a_time = keywords.get("plan"), keywords.get("at_a_time")
    if plan is None and at_a_time is None:
        if task != "rollout":
            return [_pair(Window.filling(known[None]))]
        plan = "autoregressive"
    times = any(condition.tells_time for condition in spec.conditions.values())
    try:
        windows = plan_for(plan, at_a_time, known, spec.clip.num_frames, gaps=times).windows
    except ValueError:  # For example gaps, of which a denoiser without times knows nothing.
        return None
    return [_pair(window) for window in windows] if windows[0].parts == 1 else None


def _pair(window: Window) -> list[list[int]]:
    """The frames of a window, and those of them that are new."""
    return [window.frames.tolist(), window.frames[window.moves.reshape(-1)].tolist()]
