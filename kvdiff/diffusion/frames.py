"""Which frames are known. A task is such a mask: nothing else tells prediction from interpolation or generation."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_count, check_real

__all__ = ["KnownFrames", "ends", "every", "first", "none"]


def none(frames: int) -> np.ndarray:
    """bool [frames], all False: generation."""
    return np.zeros(check_count("frames", frames), bool)


def first(frames: int, count: int) -> np.ndarray:
    """bool [frames], the first `count` known: prediction."""
    check_count("count", count, at_least=0, at_most=frames)
    return np.arange(frames) < count


def ends(frames: int, left: int, right: int) -> np.ndarray:
    """bool [frames], the first `left` and the last `right` known: interpolation across a gap."""
    check_count("left", left, at_least=0, at_most=frames)
    check_count("right", right, at_least=0, at_most=frames - left)
    index = np.arange(frames)
    return (index < left) | (index >= frames - right)


def every(frames: int, stride: int) -> np.ndarray:
    """bool [frames], frames 0, stride, 2 stride, … known: raising the frame rate by `stride`."""
    check_count("stride", stride)
    return np.arange(frames) % stride == 0


@dataclasses.dataclass(frozen=True)
class KnownFrames:
    """The distribution over tasks that training draws from: one weight a kind of mask, one mask a sample.

    The number k of known frames is uniform over 1 … frames - 1.

    Attributes:
        none: weight of knowing nothing (generation).
        first: weight of the first k frames (prediction).
        ends: weight of k frames split between both ends (interpolation).
        random: weight of k frames anywhere (infilling).
    """

    none: float = 0.25
    first: float = 0.25
    ends: float = 0.25
    random: float = 0.25

    def __post_init__(self) -> None:
        for name, weight in self.config.items():
            check_real(name, weight, above=0.0, below=np.inf, closed=True)
        if sum(self.config.values()) <= 0:
            raise ValueError(f"KnownFrames: expected at least one weight above 0. Received: {self.config}")

    @property
    def config(self) -> dict[str, float]:
        """The weights by kind; `KnownFrames(**config)` rebuilds this distribution."""
        return dataclasses.asdict(self)

    def num_uniforms(self, frames: int) -> int:
        """How many uniform numbers a mask of `frames` frames is made from."""
        return frames + 2

    def draw(self, xp: Any, uniform: Any, frames: int) -> Any:
        """Masks from uniform numbers in (0, 1), float32 [batch, frames + 2]: bool [batch, frames].

        A pure function; `xp` is `numpy` or `keras.ops`.
        """
        weights = np.array(list(self.config.values()), np.float64)
        edges = np.cumsum(weights / weights.sum())
        kind, size, each = uniform[:, :1], uniform[:, 1:2], uniform[:, 2:]
        k = xp.minimum(1.0 + xp.floor(size * float(frames - 1)), float(frames - 1))
        index = xp.reshape(xp.arange(frames, dtype="float32"), (1, frames))
        left = xp.ceil(k / 2.0)
        # The k frames of least uniforms: exactly k, so that there is always a frame left to make.
        rank = xp.sum(xp.where(each[:, None, :] < each[:, :, None], 1.0, 0.0), axis=2)
        known = rank < k
        known = xp.where(kind < edges[2], xp.logical_or(index < left, index >= float(frames) - (k - left)), known)
        known = xp.where(kind < edges[1], index < k, known)
        return xp.where(kind < edges[0], xp.zeros_like(known), known)
