"""A codec: between clips and latent clips, frame by frame, so that a known frame is a known latent frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

from kvdiff.diffusion.checks import built_from, check_can, check_choice, check_count
from kvdiff.diffusion.limits import MAX_FEATURES
from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.diffusion.transforms.clamps import Bounds
from kvdiff.diffusion.transforms.padding import Padding


class Codec(Protocol):
    """Between x_0 in the values of a clip and the latent clip on which the network works."""

    @property
    def bounds(self) -> Bounds:
        """To which predicted latents are clamped; a latent that was learned has none."""
        ...

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """Latent clips [batch, frames, …] of clips [batch, frames, height, width, channels]; `xp` or `keras.ops`."""
        ...

    def decode(self, latent: Any, xp: Any = np) -> Any:
        """Clips of latent clips."""
        ...

    def latent_shape(self, frame_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(height, width, channels) of a latent frame; raises ValueError for frames that it does not take."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """What `codec_from_config` rebuilds this codec from."""
        ...


@dataclasses.dataclass(frozen=True)
class AveragePool:
    """Frames `factor` times smaller by averaging, and enlarged again by repeating: a codec without weights.

    It loses all that is finer than a cell. It serves to try a pipeline, and as the floor for codecs that learn.

    Attributes:
        factor: by how much height and width shrink; must divide them.
    """

    factor: int = 2

    name: ClassVar[str] = "average_pool"
    bounds: ClassVar[Bounds] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        check_count("factor", self.factor, at_most=MAX_FEATURES)

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """Means of cells."""
        return reduced(clip, self.factor, xp)

    def decode(self, latent: Any, xp: Any = np) -> Any:
        """Every pixel a cell."""
        return enlarged(latent, self.factor, xp)

    def latent_shape(self, frame_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(height / factor, width / factor, channels)."""
        height, width, channels = frame_shape
        _check_divides("clip_shape", height, width, self.factor)
        return height // self.factor, width // self.factor, channels

    @property
    def config(self) -> dict[str, Any]:
        """What `codec_from_config` rebuilds this codec from."""
        return {"codec": self.name, **dataclasses.asdict(self)}


CODECS: dict[str, Callable[..., Codec]] = {kind.name: kind for kind in (AveragePool, Autoencoder, Padding)}
"""Kinds of codecs by name."""


def codec_from_config(config: Mapping[str, Any] | Codec | None) -> Codec | None:
    """A codec from its `config`; None stays None."""
    if config is None or not isinstance(config, Mapping):
        return None if config is None else check_codec(config)
    arguments = dict(config)
    kind = check_choice("codec", arguments.pop("codec", None), CODECS)
    return built_from("codec", arguments, CODECS[kind])


def check_codec(codec: Any) -> Codec:
    """Return `codec` when it is one, else raise."""
    return check_can("codec", codec, "a codec or its `config`", "encode", "decode", "latent_shape")


def reduced(clip: Any, scale: int, xp: Any = np) -> Any:
    """Clips `scale` times smaller, by averaging: [batch, frames, height / scale, width / scale, channels].

    Raises:
        ValueError: height or width that `scale` does not divide; the error names the nearest that it does.
    """
    check_count("scale", scale)
    batch, frames, height, width, channels = xp.shape(clip)
    _check_divides("clip", height, width, scale)
    cells = xp.reshape(clip, (batch, frames, height // scale, scale, width // scale, scale, channels))
    return xp.mean(cells, axis=(3, 5))


def enlarged(clip: Any, scale: int, xp: Any = np) -> Any:
    """Clips `scale` times larger, by repeating pixels."""
    return xp.repeat(xp.repeat(clip, scale, axis=2), scale, axis=3)


def _check_divides(argument: str, height: Any, width: Any, scale: int) -> None:
    for name, size in (("height", height), ("width", width)):
        if isinstance(size, int) and size % scale:
            nearest = f"{size // scale * scale} or {-(-size // scale) * scale}"
            raise ValueError(f"`{argument}`: expected a {name} divisible by {scale}, e.g. {nearest}. Received: {size}")
