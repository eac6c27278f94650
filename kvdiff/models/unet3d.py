"""The denoiser: a space-time 3-D U-Net as a functional Keras model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from kvdiff.layers.attention import VideoAttention
from kvdiff.layers.group_norm import FrameGroupNorm
from kvdiff.layers.known_context import KnownContext
from kvdiff.layers.noise_embedding import NoiseEmbedding
from kvdiff.layers.resample import PatchMerge, PatchSplit
from kvdiff.layers.residual_block import ResidualBlock3D

__all__ = ["UNet3D", "check_frame_size"]


def UNet3D(
    channels: int = 1,
    *,
    out_channels: int | None = None,
    widths: Sequence[int] = (48, 96),
    blocks: int = 2,
    patch_size: int = 2,
    attention: Sequence[str | None] = (None, "space_time"),
    heads: int = 4,
    groups: int = 8,
    factorised: bool = True,
    dropout: float = 0.0,
    name: str = "unet3d",
) -> keras.Model:
    """A 3-D U-Net F(noisy clip, noise label) for any number of frames and any frame size that divides."""
    if len(attention) != len(widths):
        raise ValueError(f"`attention`: expected one entry a level ({len(widths)}). Received: {attention}")
    noisy_clip = keras.Input((None, None, None, channels), name="noisy_clip")
    label = keras.Input((None,), name="noise_label", dtype="float32")
    embedding = NoiseEmbedding(4 * widths[0], name="noise_embedding")(label)

    def stage(x, level: int, name: str):
        residual = ResidualBlock3D(widths[level], factorised=factorised, groups=groups, dropout=dropout, name=name)
        x = residual(x, embedding)
        if attention[level] is not None:
            x = VideoAttention(heads, axes=attention[level], groups=groups, name=f"{name}_attention")(x)
        return x

    x = KnownContext(name="known_context")(noisy_clip, label)
    x = PatchMerge(widths[0], patch_size, name="stem")(x)
    skips = []
    for level in range(len(widths)):
        if level:
            x = PatchMerge(widths[level], 2, name=f"down{level}")(x)
        for block in range(blocks):
            x = stage(x, level, f"encoder{level}_{block}")
            skips.append(x)
    for level in reversed(range(len(widths))):
        for block in range(blocks):
            x = keras.layers.Concatenate(name=f"join{level}_{block}")([x, skips.pop()])
            x = stage(x, level, f"decoder{level}_{block}")
        if level:
            x = PatchSplit(widths[level - 1], 2, name=f"up{level}")(x)
    x = keras.layers.Activation("silu", name="head_activation")(FrameGroupNorm(groups, name="head_norm")(x))
    # The last map stays float32 under mixed precision: its output is the denoiser's answer.
    out = PatchSplit(out_channels or channels, patch_size, kernel_initializer="zeros", dtype="float32", name="head")(x)
    return keras.Model({"noisy_clip": noisy_clip, "noise_label": label}, out, name=name)


def check_frame_size(denoiser: keras.Model, frame_shape: tuple[int, int, int], outputs: int) -> None:
    """Raise unless `denoiser` takes frames (height, width, channels) and answers with `outputs` channels.

    The error names the nearest legal sizes.
    """
    multiple = math.prod(layer.patch_size for layer in denoiser.layers if isinstance(layer, PatchMerge))
    for name, size in zip(("height", "width"), frame_shape[:2], strict=True):
        if size % multiple:
            below, above = size // multiple * multiple, -(-size // multiple) * multiple
            nearest = f"{below} or {above}" if below else f"{above}"
            raise ValueError(
                f"`clip_shape`: expected a {name} divisible by {multiple}, e.g. {nearest}. Received: {size}"
            )
    channels = denoiser.input["noisy_clip"].shape[-1]
    if channels != frame_shape[-1]:
        raise ValueError(f"`clip_shape`: expected the denoiser's {channels} channels. Received: {frame_shape[-1]}")
    if denoiser.output.shape[-1] != outputs:
        raise ValueError(f"`denoiser`: expected {outputs} output channels. Received: {denoiser.output.shape[-1]}")
