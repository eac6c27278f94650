"""The sizes at which both systems are measured."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["SIZES", "Size"]


@dataclasses.dataclass(frozen=True)
class Size:
    """A batch of square clips, and a U-Net for them with `width` times each of `multipliers` channels at its levels."""

    name: str
    batch: int
    frames: int
    pixels: int
    width: int
    multipliers: tuple[int, ...]
    channels: int = 3

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(frames, height, width, channels)."""
        return self.frames, self.pixels, self.pixels, self.channels

    @classmethod
    def received(cls, fields: dict[str, Any]) -> Size:
        """From JSON, which has lists for tuples."""
        return cls(**{**fields, "multipliers": tuple(fields["multipliers"])})

    def sent(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


SIZES = {
    size.name: size
    for size in (
        Size("tiny", batch=2, frames=4, pixels=8, width=8, multipliers=(1, 2)),
        Size("S", batch=2, frames=10, pixels=32, width=32, multipliers=(1, 2, 4)),
        Size("M", batch=1, frames=10, pixels=64, width=32, multipliers=(1, 2, 4)),
        Size("L", batch=1, frames=10, pixels=32, width=64, multipliers=(1, 2, 4, 8)),
        Size("G", batch=16, frames=16, pixels=64, width=64, multipliers=(1, 2, 4, 8)),
    )
}
