"""Linear quantities of clips: pixels, means of blocks, totals of frames and of whole clips."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_count


@dataclasses.dataclass(frozen=True)
class Quantity(abc.ABC):
    """A linear map of clips [batch, frames, height, width, channels], in functions that NumPy and `keras.ops` share."""

    per_frame = True
    """Whether axis 1 of the measurement is the clip's frames."""

    @abc.abstractmethod
    def measure(self, xp: Any, clip: Any) -> Any:
        """The quantity: [batch, …]."""

    @abc.abstractmethod
    def spread(self, xp: Any, value: Any, clip: Any) -> Any:
        """The transpose of `measure`: a clip of `clip`'s shape from [batch, …]."""

    def shape(self, frames: int, frame_shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Of the measurement of one clip; raises where the clip is none to measure."""
        return self.measure(np, np.zeros((1, frames, *frame_shape))).shape[1:]


@dataclasses.dataclass(frozen=True)
class PixelValues(Quantity):
    """Every pixel: for sparse observations, NaN elsewhere. Target [batch, frames, height, width, channels]."""

    def measure(self, xp: Any, clip: Any) -> Any:
        """The clip itself."""
        return clip

    def spread(self, xp: Any, value: Any, clip: Any) -> Any:
        """As it is."""
        return value


@dataclasses.dataclass(frozen=True)
class BlockMeans(Quantity):
    """The mean of every block of `scale` × `scale` pixels: a coarse field, [batch, frames, height/scale, …].

    Attributes:
        scale: pixels on a side of a block; divides height and width.
    """

    scale: int

    def __post_init__(self) -> None:
        check_count("scale", self.scale)

    def measure(self, xp: Any, clip: Any) -> Any:
        """Means over blocks."""
        _, frames, height, width, channels = xp.shape(clip)
        split = (-1, frames, height // self.scale, self.scale, width // self.scale, self.scale, channels)
        return xp.mean(xp.reshape(clip, split), axis=(3, 5))

    def spread(self, xp: Any, value: Any, clip: Any) -> Any:
        """Every value over its block, divided by the block's pixels."""
        value = xp.repeat(xp.repeat(value, self.scale, axis=2), self.scale, axis=3)
        return value / float(self.scale**2)

    def shape(self, frames: int, frame_shape: tuple[int, int, int]) -> tuple[int, ...]:
        """As in `Quantity`."""
        height, width, channels = frame_shape
        if height % self.scale or width % self.scale:
            raise ValueError(f"`scale`: expected a divisor of {height} and {width}. Received: {self.scale}")
        return frames, height // self.scale, width // self.scale, channels


@dataclasses.dataclass(frozen=True)
class FrameTotals(Quantity):
    """The sum of all pixels of each frame: target [batch, frames], NaN where a frame is free."""

    def measure(self, xp: Any, clip: Any) -> Any:
        """Sums over height, width and channels."""
        return xp.sum(clip, axis=(2, 3, 4))

    def spread(self, xp: Any, value: Any, clip: Any) -> Any:
        """Every sum to each of its pixels."""
        return value[:, :, None, None, None] * xp.ones_like(clip)


@dataclasses.dataclass(frozen=True)
class ClipTotal(Quantity):
    """The sum of all pixels of the clip, known frames among them: target [batch]. For one window alone."""

    per_frame = False

    def measure(self, xp: Any, clip: Any) -> Any:
        """The sum over all but the batch."""
        return xp.sum(clip, axis=(1, 2, 3, 4))

    def spread(self, xp: Any, value: Any, clip: Any) -> Any:
        """The sum to every pixel."""
        return value[:, None, None, None, None] * xp.ones_like(clip)
