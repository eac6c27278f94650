"""Conditions: what a denoiser may know of a clip besides its known frames, and guidance by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kvdiff.diffusion.conditions.kinds import (
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
    "condition_from_config",
]

CONDITIONS: dict[str, type[Condition]] = {
    kind.name: kind for kind in (ClassLabel, ClipVector, FrameVectors, FrameTimes, LowResolution)
}
"""Kinds of conditions by name, as a stored configuration has them."""


def condition_from_config(config: Mapping[str, Any] | Condition) -> Condition:
    """A condition from its `config`."""
    if isinstance(config, Condition):
        return config
    arguments = dict(config)
    kind = arguments.pop("condition", None)
    if kind not in CONDITIONS:
        raise ValueError(f"`condition`: expected one of {sorted(CONDITIONS)}. Received: {kind!r}")
    return CONDITIONS[kind](**arguments)
