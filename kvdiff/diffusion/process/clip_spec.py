"""The shape of the clips that a model was made for."""

from __future__ import annotations

import dataclasses

from kvdiff.diffusion.checks import check_count

__all__ = ["ClipSpec"]


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """The clips a model was made for.

    Attributes:
        num_frames: the number of frames in training clips, and the default when sampling.
        height, width, channels: the shape of a frame.
    """

    num_frames: int
    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_count(field.name, getattr(self, field.name))

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def config(self) -> dict[str, int]:
        """The arguments that rebuild this spec."""
        return dataclasses.asdict(self)
