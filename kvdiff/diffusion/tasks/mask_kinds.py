"""Kinds of masks that training draws from: each a distribution over which frames are known.

Every mask is a pure function of uniform numbers, so training draws the same tasks again after a crash and on any number
of replicas; each leaves at least one frame to generate (of a single frame, none is known).
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import check_array, check_count, optional, received
from kvdiff.diffusion.limits import MAX_CLIP


@dataclasses.dataclass(frozen=True)
class FrameMask(abc.ABC):
    """A distribution over masks, bool [frames], True where a frame is known."""

    name: ClassVar[str]

    @property
    def includes_none(self) -> bool:
        """Whether it draws masks of no known frame too."""
        return False

    def num_uniforms(self, frames: Any) -> Any:
        """How many uniform numbers a mask of `frames` frames takes."""
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

    @property
    def includes_none(self) -> bool:
        """It draws nothing else."""
        return True

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
        check_count("at_least", self.at_least, at_most=MAX_CLIP)
        optional(check_count, "at_most", self.at_most, at_least=self.at_least, at_most=MAX_CLIP)

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
        array = check_array("strides", self.strides, "a list of integers")
        if array.ndim != 1:
            raise TypeError(f"`strides`: expected a list of integers. Received: {received(self.strides)}")
        strides = tuple(check_count("strides", stride, at_least=2, at_most=MAX_CLIP) for stride in array.tolist())
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
