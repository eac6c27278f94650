"""The denoiser: a space-time 3-D U-Net as a functional Keras model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from kvdiff.diffusion.checks import check_count, check_real
from kvdiff.diffusion.conditions.condition import Condition
from kvdiff.layers.attention import VideoAttention
from kvdiff.layers.condition_embedding import ConditionEmbedding
from kvdiff.layers.group_norm import FrameGroupNorm
from kvdiff.layers.known_context import KnownContext
from kvdiff.layers.moved_frames import MovedFrames
from kvdiff.layers.noise_embedding import NoiseEmbedding
from kvdiff.layers.resample import PatchMerge, PatchSplit
from kvdiff.layers.residual_block import ResidualBlock3D
from kvdiff.layers.token_attention import TokenAttention
from kvdiff.models.denoiser import checked_conditions, condition_inputs, tokens_of, with_clips


def UNet3D(
    channels: int = 1,
    *,
    out_channels: int | None = None,
    widths: Sequence[int] = (48, 96),
    blocks: int = 2,
    patch_size: int = 2,
    attention: Sequence[str | None] | None = None,
    heads: int = 4,
    groups: int = 8,
    factorised: bool = True,
    dropout: float = 0.0,
    remat: bool = False,
    conditions: Mapping[str, Condition] | None = None,
    known_noise: float = 0.0,
    known_per_side: int = 1,
    motion_reach: int = 0,
    name: str = "unet3d",
) -> keras.Model:
    """A U-Net F(noisy clip; noise label) for any number of frames and any frame size that its patches divide.

    Residual blocks convolve space and time and are modulated by each frame's own noise label; attention mixes what
    convolutions cannot reach; every frame sees the pixels of the known frames nearest to it. Inside, nothing has more
    than four dimensions.

    Args:
        channels: of the clip.
        out_channels: of the output; by default `channels`. Twice that where the variance is learned.
        widths: channels at each level; every level but the first halves height and width.
        blocks: residual blocks a level, on the way down and again on the way up.
        patch_size: pixels merged at the input, height and width alike; cost falls with its square.
        attention: for each level None, "time", "space" or "space_time" (see `VideoAttention`, also for which widths
            suit); by default "space_time" at the coarsest level alone: its cost grows with the square of the pixels.
        heads: of the attention.
        groups: of the group normalisation; must divide the widths.
        factorised: (1, 3, 3) and (3, 1, 1) convolutions, or true 3×3×3 ones.
        dropout: rate inside the residual blocks.
        remat: in training, compute every block twice and keep only what passes between them: less memory for long
            clips, the same gradients.
        conditions: what the network may know besides, by names of your choice, e.g. `{"action": FrameVectors(3)}`:
            see `kvdiff.diffusion.conditions`. Levels with attention attend to the tokens of those that are sequences.
        known_noise: the highest noise label of frames whose pixels all frames see: that of the model.
        known_per_side: how many known frames before and after each frame it sees, see `KnownContext`.
        motion_reach: above 0, the output is what the network adds to the nearest known frames, moved by kernels that
            reach so many pixels (`MovedFrames`). For `VideoDiffusion(prediction="x0")` alone, whose output is a clip.
        name: of the model.

    Returns:
        A Keras model of `{"noisy_clip": [batch, frames, height, width, channels], "noise_label": [batch, frames]}`,
        with conditions also theirs by name and which are present, `"told"`, float32 [batch, conditions]. Output:
        float32 [batch, frames, height, width, out_channels]; before training 0, or with `motion_reach` the nearest
        known frames.

    Raises:
        TypeError, ValueError: arguments that are not as above, or do not go together.
    """
    widths, attention = _checked_levels(widths, attention, groups, heads)
    for argument, number in (("channels", channels), ("blocks", blocks), ("patch_size", patch_size)):
        check_count(argument, number)
    check_count("known_per_side", known_per_side)
    check_count("motion_reach", motion_reach, at_least=0)
    check_count("out_channels", channels if out_channels is None else out_channels)
    check_real("dropout", dropout, above=0.0, below=0.99, closed=True)
    conditions = checked_conditions(conditions)
    noisy_clip = keras.Input((None, None, None, channels), name="noisy_clip")
    label = keras.Input((None,), name="noise_label", dtype="float32")
    inputs = {"noisy_clip": noisy_clip, "noise_label": label}
    embedding = NoiseEmbedding(4 * widths[0], name="noise_embedding")(label)
    if conditions:
        inputs |= condition_inputs(conditions, channels)
        embedding = ConditionEmbedding(conditions, name="condition_embedding")(embedding, inputs)
    attending = [width for width, axes in zip(widths, attention, strict=True) if axes is not None]
    tokens = tokens_of(inputs, conditions, max(attending, default=0), heads)

    def stage(x: Any, level: int, name: str) -> Any:
        options: dict[str, Any] = dict(factorised=factorised, groups=groups, dropout=dropout, remat=remat)
        x = ResidualBlock3D(widths[level], name=name, **options)(x, embedding)
        if attention[level] is None:
            return x
        x = VideoAttention(heads, axes=attention[level], groups=groups, remat=remat, name=f"{name}_attention")(x)
        return TokenAttention(heads, name=f"{name}_tokens")(x, *tokens) if tokens else x

    times = [inputs[name] for name, condition in conditions.items() if condition.tells_time]
    told = [inputs[name] for name, condition in conditions.items() if condition.tells_missing and not motion_reach]
    clip = keras.layers.Concatenate(name="clip_and_mask")([noisy_clip, *told]) if told else noisy_clip
    context = KnownContext(known_noise, per_side=known_per_side, name="known_context")(clip, label, *times)
    x = PatchMerge(widths[0], patch_size, name="stem")(with_clips(context, inputs, conditions, has_mask=bool(told)))
    x = _down_and_up(x, widths, blocks, stage)
    x = keras.layers.Activation("silu", name="head_activation")(FrameGroupNorm(groups, name="head_norm")(x))
    # The last map stays float32 under mixed precision: its output is the denoiser's.
    head = PatchSplit(out_channels or channels, patch_size, kernel_initializer="zeros", dtype="float32", name="head")
    output = head(x)
    if motion_reach:
        moved = MovedFrames(motion_reach, patch_size, channels=channels, dtype="float32", name="moved")
        output = moved(output, x, context)
    return keras.Model(inputs, output, name=name)


def _checked_levels(
    widths: Any, attention: Any, groups: Any, heads: Any
) -> tuple[tuple[int, ...], tuple[str | None, ...]]:
    """Widths that normalisation and attention can have: sines and cosines of three axes, for every head."""
    if not isinstance(widths, (tuple, list)) or not widths:
        raise TypeError(f"`widths`: expected the channels of each level, e.g. (48, 96). Received: {widths!r}")
    if attention is None:
        attention = (*[None] * (len(widths) - 1), "space_time")
    if not isinstance(attention, (tuple, list)) or len(attention) != len(widths):
        raise ValueError(f"`attention`: expected one entry a level ({len(widths)}). Received: {attention!r}")
    unit = math.lcm(6, check_count("heads", heads))
    for width, axes in zip(widths, attention, strict=True):
        if check_count("widths", width) % check_count("groups", groups):
            raise ValueError(f"`widths`: expected multiples of `groups`, {groups}. Received: {width}")
        if axes not in (None, "time", "space", "space_time"):
            raise ValueError(f'`attention`: expected None, "time", "space" or "space_time". Received: {axes!r}')
        if axes is not None and width % unit:
            raise ValueError(
                f"`widths`: expected a multiple of {unit} where there is attention of {heads} heads. Received: {width}"
            )
    return tuple(widths), tuple(attention)


def _down_and_up(x: Any, widths: Sequence[int], blocks: int, stage: Callable[[Any, int, str], Any]) -> Any:
    """The U: every block on the way down is joined to one on the way up."""
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
    return x
