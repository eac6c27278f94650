"""What the project promises of its speed; lower is better in each."""

from __future__ import annotations

import dataclasses

__all__ = ["GOALS", "Goal", "goal_of"]


@dataclasses.dataclass(frozen=True)
class Goal:
    """`of` ("ratio" or "ours") is to be at most `at_most`."""

    at_most: float
    of: str = "ratio"


GOALS = {
    ("train_step", "S"): Goal(0.40),
    ("train_step", "M"): Goal(0.20),
    ("train_step", "L"): Goal(0.45),
    ("denoiser_call", "S"): Goal(0.25),
    ("onnxruntime_vs_tensorflow", "S"): Goal(0.8),
    ("training_memory", "S"): Goal(0.35),
    ("pixel_exponent", "denoiser_call"): Goal(1.05, of="ours"),
    ("frame_exponent", "denoiser_call"): Goal(1.0, of="ours"),
    ("pixel_exponent", "train_step"): Goal(1.05, of="ours"),
    ("frame_exponent", "train_step"): Goal(1.0, of="ours"),
    ("import", ""): Goal(0.3, of="ours"),
    ("first_step", "S"): Goal(6.0, of="ours"),
    ("long_video", "random clips"): Goal(1.0),
    ("long_video", "last frames"): Goal(0.5, of="ours"),
}


def goal_of(name: str, size: str) -> Goal | None:
    """The goal of a row, or None."""
    return GOALS.get((name, size))
