"""How long `kvdiff train --minutes` trains."""

from __future__ import annotations

import json
import pathlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvdiff.data import VideoBatches
    from kvdiff.models.video_diffusion import VideoDiffusion


def steps_in(
    minutes: float,
    model: VideoDiffusion,
    batches: VideoBatches,
    folder: pathlib.Path,
    *,
    began: float,
    resume: bool,
) -> tuple[int, float]:
    """How many training steps take so many minutes, counted from `began`, a time of `time.monotonic`; seconds a step.

    A step is timed once a training: `folder`/minutes.json keeps what came of it.

    Raises:
        ValueError: a training that goes on was begun with other minutes, or several devices train.
    """
    kept = folder / "minutes.json"
    if resume and kept.is_file():
        before = json.loads(kept.read_text("utf-8"))
        if before["minutes"] != minutes:
            raise ValueError(
                f"--minutes: expected {before['minutes']:g}, with which the training in {folder.parent} was begun. "
                f"Received: {minutes:g}"
            )
        return int(before["steps"]), float(before["seconds_a_step"])
    from kvdiff.training.environment import write_json
    from kvdiff.training.estimate import estimate_training

    if model.distribute_strategy.num_replicas_in_sync > 1:
        raise ValueError("--minutes: expected one device. Received: several; say --epochs")
    seconds = estimate_training(model, next(iter(batches.dataset()))).step
    steps = max(round((60.0 * minutes - (time.monotonic() - began)) / seconds), 1)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(kept, {"minutes": minutes, "steps": steps, "seconds_a_step": round(seconds, 4)})
    return steps, seconds


def too_short(steps: int, enough: int, minutes: float, seconds: float) -> str:
    """What to expect of a training that is shorter than any that was worth looking at, and what would help.

    Args:
        steps, minutes: of the training.
        enough: steps that were worth looking at.
        seconds: of a step.
    """
    needed = minutes + (enough - steps) * seconds / 60.0
    return (
        f"In {minutes:g} minutes there are {steps} steps. Predictions that one recognises took {enough} or more where "
        f"this was measured: about {needed:.0f} minutes here. A smaller --size, fewer --frames or "
        f"--recipe tiny makes steps shorter."
    )
