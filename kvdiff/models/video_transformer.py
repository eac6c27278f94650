"""The denoiser as a transformer over the patches of a clip, as a functional Keras model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kvdiff.diffusion.checks import check_choice, check_count, check_flag, check_real
from kvdiff.diffusion.conditions.condition import Condition
from kvdiff.layers.adaptive_norm import AdaptiveNorm
from kvdiff.layers.attention import AXES
from kvdiff.layers.condition_embedding import ConditionEmbedding
from kvdiff.layers.known_context import KnownContext
from kvdiff.layers.moved_frames import MovedFrames
from kvdiff.layers.noise_embedding import NoiseEmbedding
from kvdiff.layers.resample import PatchMerge, PatchSplit
from kvdiff.layers.rotary_attention import RotaryPositions
from kvdiff.layers.token_attention import TokenAttention
from kvdiff.layers.transformer_block import TransformerBlock3D
from kvdiff.models.denoiser import checked_conditions, condition_inputs, tokens_of, with_clips


def VideoTransformer(
    channels: int = 1,
    *,
    out_channels: int | None = None,
    width: int = 96,
    blocks: int = 8,
    heads: int = 4,
    patch_size: int = 2,
    attention: str | Sequence[str] = "space_time",
    dropout: float = 0.0,
    remat: bool = False,
    conditions: Mapping[str, Condition] | None = None,
    known_noise: float = 0.0,
    known_per_side: int = 1,
    motion_reach: int = 0,
    name: str = "video_transformer",
) -> keras.Model:
    """A transformer F(noisy clip; noise label) for any number of frames and any frame size that its patches divide.

    Each patch of each frame is a token, with the pixels of the known frames nearest to its frame. Blocks of attention
    and a gated linear unit are modulated by each frame's own noise label and conditions, "adaLN-zero" (Peebles & Xie
    2022, arXiv:2212.09748). Positions are rotary in time, row and column (Su et al. 2021, arXiv:2104.09864): only
    differences of positions count, and with the condition `FrameTimes` those of its times. Inside, nothing has more
    than four dimensions.

    It has not been measured against `UNet3D` yet, which is the default.

    Args:
        channels: of the clip.
        out_channels: of the output; by default `channels`. Twice that where the variance is learned.
        width: features of a token.
        blocks: their number.
        heads: of the attention; must divide `width` into even parts of at least 6 features.
        patch_size: pixels merged into a token, height and width alike.
        attention: which tokens see each other: "space_time", all, at a cost that grows with their number squared;
            "space", those of a frame; "time", those of a place. Or several that the blocks take in turn, e.g.
            ("space", "time").
        dropout: rate inside the blocks.
        conditions: as of `UNet3D`; every block attends to the tokens of those that are sequences.
        remat, known_noise, known_per_side, motion_reach: as of `UNet3D`.
        name: of the model.

    Returns:
        A Keras model with the inputs and the output of `UNet3D`; before training the output is 0, or with
        `motion_reach` the nearest known frames.

    Raises:
        TypeError, ValueError: arguments that are not as above, or do not go together.
    """
    counts = dict(channels=channels, width=width, blocks=blocks, heads=heads, patch_size=patch_size)
    counts |= dict(out_channels=channels if out_channels is None else out_channels, known_per_side=known_per_side)
    for argument, number in counts.items():
        check_count(argument, number)
    check_count("motion_reach", motion_reach, at_least=0)
    check_real("dropout", dropout, above=0.0, below=0.99, closed=True)
    check_flag("remat", remat)
    if width % (2 * heads) or width < 6 * heads:
        expected = f"a multiple of {2 * heads}, at least {6 * heads}, for {heads} heads"
        raise ValueError(f"`width`: expected {expected}. Received: {width}")
    axes, conditions = _checked_axes(attention, blocks), checked_conditions(conditions)
    noisy_clip = keras.Input((None, None, None, channels), name="noisy_clip")
    label = keras.Input((None,), name="noise_label", dtype="float32")
    inputs = {"noisy_clip": noisy_clip, "noise_label": label, **condition_inputs(conditions, channels)}
    embedding = NoiseEmbedding(width, name="noise_embedding")(label)
    if conditions:
        embedding = ConditionEmbedding(conditions, name="condition_embedding")(embedding, inputs)
    tokens = tokens_of(inputs, conditions, width, heads)
    times = [inputs[name] for name, condition in conditions.items() if condition.tells_time]
    context = KnownContext(known_noise, per_side=known_per_side, name="known_context")(noisy_clip, label, *times)
    x = PatchMerge(width, patch_size, name="stem")(with_clips(context, inputs, conditions))
    positions = RotaryPositions(width // heads, name="positions")(x, *times)
    for block in range(blocks):
        options: dict[str, Any] = dict(axes=axes[block % len(axes)], dropout=dropout, remat=remat)
        x = TransformerBlock3D(heads, name=f"block{block}", **options)(x, embedding, positions)
        x = TokenAttention(heads, name=f"block{block}_tokens")(x, *tokens) if tokens else x
    x = AdaptiveNorm(name="head_norm")(x, embedding)
    # The last map stays float32 under mixed precision: its output is the denoiser's.
    head = PatchSplit(out_channels or channels, patch_size, kernel_initializer="zeros", dtype="float32", name="head")
    output = head(x)
    if motion_reach:
        moved = MovedFrames(motion_reach, patch_size, channels=channels, dtype="float32", name="moved")
        output = moved(output, x, context)
    return keras.Model(inputs, output, name=name)


def _checked_axes(attention: Any, blocks: int) -> tuple[str, ...]:
    """What the blocks attend along, in turn."""
    axes = (attention,) if isinstance(attention, str) else attention
    if not isinstance(axes, (tuple, list)) or not 0 < len(axes) <= blocks:
        raise ValueError(
            f'`attention`: expected "space_time" or 1 to {blocks} such, which the blocks take in turn. '
            f"Received: {attention!r}"
        )
    return tuple(check_choice("attention", each, AXES) for each in axes)
