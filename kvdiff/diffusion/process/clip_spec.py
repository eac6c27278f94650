"""The shape of the clips that a model is for."""

from __future__ import annotations

import dataclasses
from typing import Any

from kvdiff.diffusion.checks import check_count, check_real, check_words, optional
from kvdiff.diffusion.limits import MAX_CLIP


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """The clips a model is for.

    Attributes:
        num_frames: the number of frames in training clips, and the default when sampling.
        height, width, channels: the shape of a frame.
        fps: the model's clock, in frames a second; None for a model that takes frames as they are.
        channel_names: what each channel is, for files and plots; none by default.
        units: of each channel, for files and plots; files in others are refused. None by default.
    """

    num_frames: int
    height: int
    width: int
    channels: int
    fps: float | None = None
    channel_names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        size = 1
        for name in ("num_frames", "height", "width", "channels"):
            size *= check_count(name, getattr(self, name), at_most=MAX_CLIP)
        if size > MAX_CLIP:
            raise ValueError(
                f"clip: expected at most {MAX_CLIP} numbers, frames × height × width × channels. "
                f"Received: {self.num_frames} × {self.height} × {self.width} × {self.channels} = {size}"
            )
        optional(check_real, "fps", self.fps, above=1e-9, below=1e9)
        for name in ("channel_names", "units"):
            words = check_words(name, getattr(self, name))
            object.__setattr__(self, name, words)
            if words and len(words) != self.channels:
                raise ValueError(f"`{name}`: expected {self.channels}, one a channel. Received: {words}")

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(frames, height, width, channels)."""
        return self.num_frames, *self.frame_shape

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that rebuild this spec; what is not known is left out."""
        words = {"channel_names": list(self.channel_names), "units": list(self.units)}
        config = {**dataclasses.asdict(self), **words}
        return {name: value for name, value in config.items() if value not in (None, [])}
