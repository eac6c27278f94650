"""Which frames training makes known: a distribution over masks, drawn for every clip.

    KnownFrames(first=1, ends=1)                        # the usual kinds, by weight
    Mixture({First(2, 4): 3, Every((2, 4)): 1})         # mask objects, with weights

Every mask is a pure function of uniform numbers, so training draws the same tasks again after a crash and on any number
of replicas; each leaves at least one frame to make (of a single frame, none is known).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import check_count, check_real

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
]


@dataclasses.dataclass(frozen=True)
class FrameMask(abc.ABC):
    """A distribution over masks, bool [frames], True where a frame is known."""

    name: ClassVar[str]

    def num_uniforms(self, frames: Any) -> Any:
        """How many uniform numbers a mask of `frames` frames is made from."""
        return frames + 1

    @abc.abstractmethod
    def draw(self, xp: Any, uniform: Any, frames: Any) -> Any:
        """Masks from uniform numbers in (0, 1), float32 [batch, num_uniforms]: bool [batch, frames].

        A pure function; `xp` is `numpy` or `keras.ops`, and in a graph `frames` may be a tensor.
        """

    @property
    def config(self) -> dict[str, Any]:
        """What `mask_from_config` rebuilds this mask from."""
        return {"mask": self.name, **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class Nothing(FrameMask):
    """No frame: generation."""

    name: ClassVar[str] = "none"

    def draw(self, xp: Any, uniform: Any, frames: Any) -> Any:
        """All False."""
        return _index(xp, frames) + 0.0 * uniform[:, :1] < 0.0


@dataclasses.dataclass(frozen=True)
class _Counted(FrameMask):
    """k frames, k being uniform over at_least … at_most, and at most all but one.

    Attributes:
        at_least: the fewest frames.
        at_most: the most frames; by default all but one.
    """

    at_least: int = 1
    at_most: int | None = None

    def __post_init__(self) -> None:
        check_count("at_least", self.at_least)
        if self.at_most is not None:
            check_count("at_most", self.at_most, at_least=self.at_least)

    def count(self, xp: Any, uniform: Any, frames: Any) -> Any:
        """k, float32 [batch, 1]."""
        most = _number(xp, frames) - 1.0
        if self.at_most is not None:
            most = xp.minimum(most, float(self.at_most))
        least = xp.minimum(most, float(self.at_least))
        return xp.minimum(least + xp.floor(uniform[:, :1] * (most - least + 1.0)), most)


class First(_Counted):
    """The first k frames: prediction."""

    name: ClassVar[str] = "first"

    def draw(self, xp: Any, uniform: Any, frames: Any) -> Any:
        """Frames before k."""
        return _index(xp, frames) < self.count(xp, uniform, frames)


class Last(_Counted):
    """The last k frames: what came before."""

    name: ClassVar[str] = "last"

    def draw(self, xp: Any, uniform: Any, frames: Any) -> Any:
        """Frames from frames - k on."""
        return _index(xp, frames) >= _number(xp, frames) - self.count(xp, uniform, frames)


class Ends(_Counted):
    """k frames split between both ends, the first end having one more if k is odd: interpolation."""

    name: ClassVar[str] = "ends"

    def draw(self, xp: Any, uniform: Any, frames: Any) -> Any:
        """Frames before k/2, and from the other k/2 on."""
        k, index = self.count(xp, uniform, frames), _index(xp, frames)
        left = xp.ceil(k / 2.0)
        return xp.logical_or(index < left, index >= _number(xp, frames) - (k - left))


class Subset(_Counted):
    """k frames anywhere: infilling."""

    name: ClassVar[str] = "random"

    def draw(self, xp: Any, uniform: Any, frames: Any) -> Any:
        """The k frames of least uniforms: exactly k, so that there is always a frame left to make."""
        each = uniform[:, 1:]
        rank = xp.sum(xp.where(each[:, None, :] < each[:, :, None], 1.0, 0.0), axis=2)
        return rank < self.count(xp, uniform, frames)


class Block(_Counted):
    """k neighbouring frames anywhere, with frames to make on both sides as it falls."""

    name: ClassVar[str] = "block"

    def draw(self, xp: Any, uniform: Any, frames: Any) -> Any:
        """A run of k frames that starts anywhere it fits."""
        return _run(xp, uniform, frames, self.count(xp, uniform, frames))


class Gap(_Counted):
    """All but k neighbouring frames anywhere: a gap to fill."""

    name: ClassVar[str] = "gap"

    def draw(self, xp: Any, uniform: Any, frames: Any) -> Any:
        """The frames outside a run of k."""
        outside = xp.logical_not(_run(xp, uniform, frames, self.count(xp, uniform, frames)))
        return xp.logical_and(outside, _number(xp, frames) > 1.0)


@dataclasses.dataclass(frozen=True)
class Every(FrameMask):
    """Every s-th frame from the first, s being one of `strides`: raising the frame rate.

    Attributes:
        strides: at least 2 each, drawn evenly.
    """

    strides: Sequence[int] = (2, 3, 4)

    name: ClassVar[str] = "every"

    def __post_init__(self) -> None:
        strides = tuple(check_count("strides", stride, at_least=2) for stride in self.strides)
        if not strides:
            raise ValueError("`strides`: expected at least one. Received: none")
        object.__setattr__(self, "strides", strides)

    def draw(self, xp: Any, uniform: Any, frames: Any) -> Any:
        """Frames whose index the stride divides."""
        strides = np.array(self.strides, np.float32)
        which = xp.floor(uniform[:, :1] * float(len(strides)))
        stride = xp.sum(
            xp.where(which == np.arange(len(strides), dtype=np.float32), strides, 0.0), axis=1, keepdims=True
        )
        index = _index(xp, frames)
        divided = index - stride * xp.floor(index / stride) < 0.5
        return xp.logical_and(divided, _number(xp, frames) > 1.0)


class Mixture(FrameMask):
    """One of several masks, with weights: `Mixture({First(): 2, Nothing(): 1})`; mixtures may be nested.

    Args:
        weights: of each mask, at least 0 and not all 0.
    """

    name: ClassVar[str] = "mixture"

    def __init__(self, weights: Mapping[FrameMask, float]) -> None:
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
        named = dict(zip(kinds, weights, strict=True))
        super().__init__({mask: w for mask, w in named.items() if mask in kinds[:4] or w != 0})

    @property
    def config(self) -> dict[str, Any]:
        """The weights by kind; `KnownFrames(**config)` rebuilds this distribution."""
        return {mask.name: weight for mask, weight in self.parts}


MASKS: dict[str, type[FrameMask]] = {
    kind.name: kind for kind in (Nothing, First, Last, Ends, Subset, Block, Gap, Every, Mixture)
}


def mask_from_config(config: Mapping[str, Any] | FrameMask) -> FrameMask:
    """A mask from its `config`, or from weights by kind, as `KnownFrames` takes them."""
    if isinstance(config, FrameMask):
        return config
    arguments = dict(config)
    kind = arguments.pop("mask", None)
    if kind is None:
        return KnownFrames(**arguments)
    if kind not in MASKS:
        raise ValueError(f"`mask`: expected one of {sorted(MASKS)}. Received: {kind!r}")
    if kind == Mixture.name:
        return Mixture({mask_from_config(part): weight for part, weight in arguments["parts"]})
    return MASKS[kind](**arguments)


def _run(xp: Any, uniform: Any, frames: Any, k: Any) -> Any:
    """A run of k frames that starts anywhere it fits, by the second uniform number."""
    index = _index(xp, frames)
    left = xp.floor(uniform[:, 1:2] * (_number(xp, frames) - k + 1.0))
    return xp.logical_and(index >= left, index < left + k)


def _number(xp: Any, frames: Any) -> Any:
    """`frames` as float32."""
    return np.float32(frames) if isinstance(frames, int) else xp.cast(frames, "float32")


def _index(xp: Any, frames: Any) -> Any:
    """float32 [1, frames]."""
    return xp.reshape(xp.arange(frames, dtype="float32"), (1, -1))
