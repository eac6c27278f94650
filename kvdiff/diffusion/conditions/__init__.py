"""Conditions: what a denoiser may know of a clip besides its known frames, and guidance by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kvdiff.diffusion.checks import built_from, check_choice, check_kind
from kvdiff.diffusion.conditions.condition import Condition
from kvdiff.diffusion.conditions.kinds import ClassLabel, ClipVector, FrameTimes, FrameVectors, LowResolution
from kvdiff.diffusion.conditions.pixels import Observed, StaticFields
from kvdiff.diffusion.conditions.tokens import TokenIds, TokenSequence

__all__ = [
    "CONDITIONS",
    "ClassLabel",
    "ClipVector",
    "Condition",
    "FrameTimes",
    "FrameVectors",
    "LowResolution",
    "Observed",
    "StaticFields",
    "TokenIds",
    "TokenSequence",
    "condition_from_config",
]

CONDITIONS: dict[str, type[Condition]] = {
    kind.name: kind
    for kind in (
        ClassLabel,
        ClipVector,
        FrameVectors,
        FrameTimes,
        LowResolution,
        Observed,
        StaticFields,
        TokenSequence,
        TokenIds,
    )
}
"""Kinds of conditions by name, as a stored configuration has them."""


def condition_from_config(config: Mapping[str, Any] | Condition) -> Condition:
    """A condition from its `config`."""
    if isinstance(config, Condition):
        return config
    arguments = dict(check_kind("condition", config, Mapping, "a condition, e.g. ClipVector(8), or its `config`"))
    kind = check_choice("condition", arguments.pop("condition", None), CONDITIONS)
    return built_from("condition", arguments, CONDITIONS[kind])
