"""Frames enlarged to a size that a network divides, and cut back again."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.limits import MAX_FEATURES
from kvdiff.diffusion.transforms.clamps import Bounds


def whole(size: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `size`."""
    return -(-size // multiple) * multiple


def padded(clip: Any, multiple: int, xp: Any = np) -> Any:
    """Frames whose height and width are multiples, by repeating the last row and the last column.

    Args:
        clip: [..., height, width, channels], of known height and width.
        multiple: what height and width are to be multiples of.
        xp: `numpy` or `keras.ops`.
    """
    for axis, after in ((-3, 2), (-2, 1)):
        size = clip.shape[axis]
        if missing := whole(size, multiple) - size:
            last = clip[(..., slice(size - 1, size), *[slice(None)] * after)]
            clip = xp.concatenate([clip, *[last] * missing], axis=axis)
    return clip


def cropped(clip: Any, height: int, width: int) -> Any:
    """The first `height` rows and `width` columns: what `padded` was given."""
    return clip if tuple(clip.shape[-3:-1]) == (height, width) else clip[..., :height, :width, :]


@dataclasses.dataclass(frozen=True)
class Padding:
    """Frames made larger until `multiple` divides them: a codec that loses nothing.

    Attributes:
        height, width: of the frames, before.
        multiple: what divides height and width after.
    """

    height: int
    width: int
    multiple: int

    name: ClassVar[str] = "padding"
    bounds: ClassVar[Bounds] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        for name in ("height", "width", "multiple"):
            check_count(name, getattr(self, name), at_most=MAX_FEATURES)

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """[batch, frames, height, width, channels], with the last row and column repeated."""
        return padded(clip, self.multiple, xp)

    def decode(self, latent: Any, xp: Any = np) -> Any:
        """The frames as they were."""
        return cropped(latent, self.height, self.width)

    def blank(self, mask: Any, xp: Any = np) -> Any:
        """A mask [batch, frames, height, width, channels] with 0 in what `encode` adds."""
        added = [(0, whole(size, self.multiple) - size) for size in (self.height, self.width)]
        return xp.pad(mask, ((0, 0), (0, 0), *added, (0, 0)))

    def latent_shape(self, frame_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(height, width, channels) after."""
        height, width, channels = frame_shape
        if (height, width) != (self.height, self.width):
            wanted = f"{self.height} × {self.width} pixels"
            raise ValueError(f"`clip_shape`: expected {wanted}. Received: {height} × {width}")
        return whole(height, self.multiple), whole(width, self.multiple), channels

    @property
    def config(self) -> dict[str, Any]:
        """What `codec_from_config` rebuilds this codec from."""
        return {"codec": self.name, **dataclasses.asdict(self)}
