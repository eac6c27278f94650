"""Conditions: what a denoiser may know of a clip besides its known frames, and guidance by them."""

from kvdiff.diffusion.conditions.kinds import (
    CONDITIONS,
    ClassLabel,
    ClipVector,
    Condition,
    FrameTimes,
    FrameVectors,
    LowResolution,
)

__all__ = [
    "CONDITIONS",
    "ClassLabel",
    "ClipVector",
    "Condition",
    "FrameTimes",
    "FrameVectors",
    "LowResolution",
]
