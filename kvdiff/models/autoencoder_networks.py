"""The two networks of an autoencoder, as functional Keras models of clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from kvdiff.diffusion.checks import check_count, check_flag
from kvdiff.diffusion.transforms.autoencoder import FACTORS
from kvdiff.layers.folded_conv3d import FoldedConv3D
from kvdiff.layers.frame_block import FrameBlock
from kvdiff.layers.resample import PatchMerge, PatchSplit


@dataclasses.dataclass(frozen=True)
class AutoencoderShape:
    """What decides the networks; see `VideoAutoencoder`.

    Pixels become channels first, so that almost everything is computed on the small frames of the latent.
    """

    channels: int
    factor: int
    latent_channels: int
    widths: Sequence[int]
    blocks: int
    time: bool

    def __post_init__(self) -> None:
        check_count("channels", self.channels)
        check_count("latent_channels", self.latent_channels)
        check_count("blocks", self.blocks)
        check_flag("time", self.time)
        if self.factor not in FACTORS:
            raise ValueError(f"`factor`: expected one of {list(FACTORS)}. Received: {self.factor!r}")
        if not isinstance(self.widths, (tuple, list)):
            raise TypeError(f"`widths`: expected channels at each level. Received: {self.widths!r}")
        object.__setattr__(self, "widths", tuple(check_count("widths", width) for width in self.widths))
        most = self.factor.bit_length() - 1
        if not 1 <= len(self.widths) <= most:
            raise ValueError(
                f"`widths`: expected 1 to {most} levels, for a factor of {self.factor}. Received: {list(self.widths)}"
            )

    @property
    def patch_size(self) -> int:
        """Pixels a side that become one position of the finest level."""
        return self.factor >> (len(self.widths) - 1)

    def encoder(self, outputs: int, dtype: Any = None) -> keras.Model:
        """x_0 [batch, frames, height, width, channels] -> [batch, frames, height / factor, width / factor, outputs]."""
        clip = keras.Input((None, None, None, self.channels), name="clip")
        x = PatchMerge(self.widths[0], self.patch_size, dtype=dtype, name="patches")(clip)
        for level, width in enumerate(self.widths):
            if level:
                x = PatchMerge(width, 2, dtype=dtype, name=f"down{level}")(x)
            for block in range(self.blocks):
                x = FrameBlock(width, dtype=dtype, name=f"level{level}_block{block}")(x)
        x = FoldedConv3D(outputs, (1, 1, 1), dtype="float32", name="latent")(x)
        return keras.Model(clip, x, name="encoder")

    def decoder(self, dtype: Any = None) -> keras.Model:
        """Latents -> x_0."""
        latent = keras.Input((None, None, None, self.latent_channels), name="latent")
        x = FoldedConv3D(self.widths[-1], (1, 3, 3), dtype=dtype, name="features")(latent)
        for level in reversed(range(len(self.widths))):
            for block in range(self.blocks + 1):
                name = f"level{level}_block{block}"
                x = FrameBlock(self.widths[level], time=self.time, dtype=dtype, name=name)(x)
            if level:
                x = PatchSplit(self.widths[level - 1], 2, dtype=dtype, name=f"up{level}")(x)
        # The patches are made by a 3 × 3 convolution: neighbours agree where they meet.
        options: dict[str, Any] = dict(kernel_initializer="zeros", dtype="float32", name="pixels")
        x = FoldedConv3D(self.patch_size**2 * self.channels, (1, 3, 3), **options)(x)
        options = dict(kernel_initializer="identity", dtype="float32", name="patches")
        x = PatchSplit(self.channels, self.patch_size, **options)(x)
        return keras.Model(latent, x, name="decoder")

    @property
    def reach(self) -> int:
        """How many frames before and after a frame its decoded picture depends on."""
        return len(self.widths) * (self.blocks + 1) if self.time else 0
