"""The U-Net of Video Diffusion Models, as `video-diffusion-pytorch` has it, as a functional Keras model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.conditions.kinds import ClipVector
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.layers.condition_concatenation import ConditionConcatenation
from kvdiff.layers.factorised_attention import LinearSpaceAttention, SpaceAttention, TimeAttention
from kvdiff.layers.folded_conv3d import FoldedConv3D
from kvdiff.layers.post_norm_block import PostNormBlock3D
from kvdiff.layers.relative_position_bias import RelativePositionBias
from kvdiff.layers.strided_conv import FrameDownsample, FrameUpsample
from kvdiff.layers.timestep_embedding import TimestepEmbedding
from kvdiff.models.denoiser import condition_inputs


def FactorisedUNet3D(
    channels: int = 3,
    *,
    out_channels: int | None = None,
    width: int = 64,
    multipliers: Sequence[int] = (1, 2, 4, 8),
    heads: int = 8,
    remat: bool = False,
    conditions: Mapping[str, ClipVector] | None = None,
    schedule: NoiseSchedule | Mapping[str, Any] | None = None,
    name: str = "factorised_unet3d",
) -> keras.Model:
    """The space-time factorised U-Net of Ho et al. 2022 (arXiv:2204.03458), equal to `video-diffusion-pytorch`'s.

    For weights that were trained there (see `load_torch_weights`), and to compare with. Convolutions see single frames;
    linear attention, at every level, the pixels of a frame; attention over time, at every level, the frames of a pixel.
    `UNet3D` costs a quarter a call and sees known frames directly; docs/speed.md compares the two.

    Args:
        channels: of the clip.
        out_channels: of the output; by default `channels`.
        width: channels of the first features.
        multipliers: of the width, at each level; every level but the first halves height and width.
        heads: of all attention, of 32 features each.
        remat: in training, compute every block twice and keep only what passes between them, as in `UNet3D`.
        conditions: vectors that the network may know, by names of your choice, e.g. `{"text": ClipVector(768)}`.
        schedule: whose timesteps the network knows; by default the cosine one of 1000. A noise label becomes the
            timestep that has its noise.
        name: of the model.

    Returns:
        A Keras model as of `UNet3D`; frames' height and width are divisible by 2^(levels - 1). Output: float32 [batch,
        frames, height, width, out_channels].
    """
    if not isinstance(multipliers, (tuple, list)) or not multipliers:
        raise TypeError(f"`multipliers`: expected one a level, e.g. (1, 2, 4, 8). Received: {multipliers!r}")
    numbers = dict(channels=channels, width=width, heads=heads, out_channels=out_channels or channels)
    for argument, number in (*numbers.items(), *(("multipliers", multiplier) for multiplier in multipliers)):
        check_count(argument, number)
    conditions = dict(conditions or {})
    noisy_clip = keras.Input((None, None, None, channels), name="noisy_clip")
    label = keras.Input((None,), name="noise_label", dtype="float32")
    inputs = {"noisy_clip": noisy_clip, "noise_label": label, **condition_inputs(conditions, channels)}
    embedding = TimestepEmbedding(width, 4 * width, schedule or {"name": "cosine"}, name="timestep_embedding")(label)
    if conditions:
        embedding = ConditionConcatenation(conditions, name="condition_concatenation")(embedding, inputs)
    embedding = keras.layers.Activation("silu", dtype="float32", name="embedding_silu")(embedding)
    bias = RelativePositionBias(heads, name="relative_position_bias")(noisy_clip)
    widths = [width * multiplier for multiplier in multipliers]

    def stage(x: Any, filters: int, name: str) -> Any:
        for block in range(2):
            x = PostNormBlock3D(filters, remat=remat, name=f"{name}_block{block}")(x, embedding)
        x = LinearSpaceAttention(heads, remat=remat, name=f"{name}_space")(x)
        return TimeAttention(heads, remat=remat, name=f"{name}_time")(x, bias)

    x = FoldedConv3D(width, (1, 7, 7), name="stem")(noisy_clip)
    first = x = TimeAttention(heads, remat=remat, name="stem_time")(x, bias)
    skips = []
    for level, filters in enumerate(widths):
        if level:
            x = FrameDownsample(widths[level - 1], name=f"down{level}")(x)
        x = stage(x, filters, f"encoder{level}")
        skips.append(x)
    x = PostNormBlock3D(widths[-1], remat=remat, name="middle_block0")(x, embedding)
    x = SpaceAttention(heads, remat=remat, name="middle_space")(x)
    x = TimeAttention(heads, remat=remat, name="middle_time")(x, bias)
    x = PostNormBlock3D(widths[-1], remat=remat, name="middle_block1")(x, embedding)
    for level in reversed(range(len(widths))):
        filters = widths[max(level - 1, 0)] if level else width
        x = keras.layers.Concatenate(name=f"join{level}")([x, skips.pop()])
        x = stage(x, filters, f"decoder{level}")
        if level:
            x = FrameUpsample(filters, name=f"up{level}")(x)
    x = keras.layers.Concatenate(name="join_first")([x, first])
    x = PostNormBlock3D(width, remat=remat, name="head_block")(x)
    # The last map stays float32 under mixed precision: its output is the denoiser's.
    head = FoldedConv3D(out_channels or channels, (1, 1, 1), kernel_initializer="zeros", dtype="float32", name="head")
    return keras.Model(inputs, head(x), name=name)
