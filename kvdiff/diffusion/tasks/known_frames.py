"""Which frames are known in training: a distribution over masks, drawn for every clip.

KnownFrames(first=1, ends=1)                        # the usual kinds, by weight
Mixture({First(2, 4): 3, Every((2, 4)): 1})         # mask objects, with weights

"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import built_from, check_choice, check_kind, check_real
from kvdiff.diffusion.tasks.mask_kinds import (
    Block,
    Ends,
    Every,
    First,
    FrameMask,
    Gap,
    Last,
    Nothing,
    Subset,
)

__all__ = [
    "MASKS",
    "Block",
    "Ends",
    "Every",
    "First",
    "FrameMask",
    "Gap",
    "KnownFrames",
    "Last",
    "Mixture",
    "Nothing",
    "Subset",
    "mask_from_config",
    "most_known",
]


class Mixture(FrameMask):
    """One of several masks, with weights: `Mixture({First(): 2, Nothing(): 1})`; mixtures may be nested.

    Args:
        weights: of each mask, at least 0 and not all 0.
    """

    name: ClassVar[str] = "mixture"

    def __init__(self, weights: Mapping[FrameMask, float]) -> None:
        check_kind("weights", weights, Mapping, "a dict of weights by mask")
        for mask, weight in weights.items():
            if not isinstance(mask, FrameMask):
                raise TypeError(f"`weights`: expected masks, e.g. First(). Received: {mask!r}")
            check_real(mask.name, weight, above=0.0, below=np.inf, closed=True)
        if not sum(weights.values()) > 0:
            raise ValueError(
                f"{type(self).__name__}: expected at least one weight above 0. Received: {self._shown(weights)}"
            )
        object.__setattr__(self, "parts", tuple(weights.items()))

    parts: tuple[tuple[FrameMask, float], ...]

    @property
    def includes_none(self) -> bool:
        """Whether one of its masks does."""
        return any(mask.includes_none for mask, weight in self.parts if weight > 0)

    @staticmethod
    def _shown(weights: Mapping[FrameMask, float]) -> dict[str, float]:
        return {mask.name: weight for mask, weight in weights.items()}

    def num_uniforms(self, frames: Any) -> Any:
        """One to choose by, then those of the mask that needs most."""
        return 1 + frames + 1 + self._depth()

    def _depth(self) -> int:
        return max(1 + mask._depth() if isinstance(mask, Mixture) else 0 for mask, _ in self.parts)

    def draw(self, xp: Any, uniform: Any, frames: Any) -> Any:
        """One mask a clip, by its first uniform number."""
        weights = np.array([weight for _, weight in self.parts], np.float64)
        edges = np.cumsum(weights / weights.sum())
        kind = uniform[:, :1]
        masks = []
        for mask, _ in self.parts:
            masks.append(mask.draw(xp, uniform[:, 1 : 1 + mask.num_uniforms(frames)], frames))
        known = masks[-1]
        for edge, mask in zip(edges[-2::-1], masks[-2::-1], strict=True):
            known = xp.where(kind < edge, mask, known)
        return known

    @property
    def config(self) -> dict[str, Any]:
        """The parts' configs and weights."""
        return {"mask": self.name, "parts": [[mask.config, weight] for mask, weight in self.parts]}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mixture) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.parts)})"


class KnownFrames(Mixture):
    """The usual tasks, mixed by weight; k is uniform over 1 … frames - 1.

    Args:
        none: nothing known (generation).
        first: the first k frames (prediction).
        ends: k frames split between both ends (interpolation).
        random: k frames anywhere (infilling).
        last: the last k frames.
        every: every 2nd, 3rd or 4th frame (frame rate).
        block: k neighbouring frames anywhere.
        gap: all but k neighbouring frames.
    """

    def __init__(
        self,
        none: float = 0.25,
        first: float = 0.25,
        ends: float = 0.25,
        random: float = 0.25,
        last: float = 0.0,
        every: float = 0.0,
        block: float = 0.0,
        gap: float = 0.0,
    ) -> None:
        kinds = (Nothing(), First(), Ends(), Subset(), Last(), Every(), Block(), Gap())
        weights = (none, first, ends, random, last, every, block, gap)
        named = {mask: check_real(mask.name, w, above=0.0, closed=True) for mask, w in zip(kinds, weights, strict=True)}
        super().__init__({mask: w for mask, w in named.items() if mask in kinds[:4] or w != 0})

    @property
    def config(self) -> dict[str, Any]:
        """The weights by kind; `KnownFrames(**config)` rebuilds this distribution."""
        return {mask.name: weight for mask, weight in self.parts}


MASKS: dict[str, type[FrameMask]] = {
    kind.name: kind for kind in (Nothing, First, Last, Ends, Subset, Block, Gap, Every, Mixture)
}


def _mixture(parts: Sequence[tuple[Mapping[str, Any], float]]) -> Mixture:
    return Mixture({mask_from_config(part): weight for part, weight in parts})


def mask_from_config(config: Mapping[str, Any] | FrameMask) -> FrameMask:
    """A mask from its `config`, or from weights by kind, as `KnownFrames` takes them."""
    if isinstance(config, FrameMask):
        return config
    arguments = dict(check_kind("known_frames", config, Mapping, "KnownFrames(…), a mask, or either's `config`"))
    kind = arguments.pop("mask", None)
    if kind is None:
        return built_from("known_frames", arguments, KnownFrames)
    check_choice("mask", kind, MASKS)
    if kind == Mixture.name:
        return built_from("known_frames", arguments, _mixture)
    return built_from("known_frames", arguments, MASKS[kind])


def most_known(mask: FrameMask, frames: int) -> int:
    """The most known frames that a training clip of `frames` frames has, as far as 4,000 draws tell."""
    uniform = np.random.default_rng(0).uniform(size=(4000, mask.num_uniforms(frames)))
    return int(np.asarray(mask.draw(np, uniform, frames)).sum(axis=1).max())
