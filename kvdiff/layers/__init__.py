"""The layers of the networks, in `keras.ops` alone: build a denoiser of your own from them.

The names below load on first use, so that importing the room imports no Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvdiff.system.lazy import lazily

if TYPE_CHECKING:
    from kvdiff.layers.adaptive_norm import AdaptiveNorm as AdaptiveNorm
    from kvdiff.layers.attention import VideoAttention as VideoAttention
    from kvdiff.layers.condition_concatenation import ConditionConcatenation as ConditionConcatenation
    from kvdiff.layers.condition_embedding import ConditionEmbedding as ConditionEmbedding
    from kvdiff.layers.enlarge import Enlarge as Enlarge
    from kvdiff.layers.factorised_attention import (
        LinearSpaceAttention as LinearSpaceAttention,
        SpaceAttention as SpaceAttention,
        TimeAttention as TimeAttention,
    )
    from kvdiff.layers.folded_conv3d import FoldedConv3D as FoldedConv3D
    from kvdiff.layers.forward_diffusion import ForwardDiffusion as ForwardDiffusion
    from kvdiff.layers.frame_block import FrameBlock as FrameBlock
    from kvdiff.layers.group_norm import FrameGroupNorm as FrameGroupNorm
    from kvdiff.layers.known_context import KnownContext as KnownContext
    from kvdiff.layers.latent_moments import LatentMoments as LatentMoments
    from kvdiff.layers.moved_frames import MovedFrames as MovedFrames
    from kvdiff.layers.noise_embedding import NoiseEmbedding as NoiseEmbedding
    from kvdiff.layers.per_frame import PerFrame as PerFrame, PictureAttention as PictureAttention
    from kvdiff.layers.post_norm_block import PostNormBlock3D as PostNormBlock3D
    from kvdiff.layers.relative_position_bias import RelativePositionBias as RelativePositionBias
    from kvdiff.layers.resample import PatchMerge as PatchMerge, PatchSplit as PatchSplit
    from kvdiff.layers.residual_block import ResidualBlock3D as ResidualBlock3D
    from kvdiff.layers.rotary_attention import RotaryAttention as RotaryAttention, RotaryPositions as RotaryPositions
    from kvdiff.layers.sample_dropout import SampleDropout as SampleDropout
    from kvdiff.layers.still_pixels import StillPixels as StillPixels
    from kvdiff.layers.strided_conv import FrameDownsample as FrameDownsample, FrameUpsample as FrameUpsample
    from kvdiff.layers.timestep_embedding import TimestepEmbedding as TimestepEmbedding
    from kvdiff.layers.token_attention import TokenAttention as TokenAttention, TokenEncoder as TokenEncoder
    from kvdiff.layers.transformer_block import TransformerBlock3D as TransformerBlock3D

_HOMES = {
    "AdaptiveNorm": "adaptive_norm",
    "ConditionConcatenation": "condition_concatenation",
    "ConditionEmbedding": "condition_embedding",
    "Enlarge": "enlarge",
    "FoldedConv3D": "folded_conv3d",
    "ForwardDiffusion": "forward_diffusion",
    "FrameBlock": "frame_block",
    "FrameDownsample": "strided_conv",
    "FrameGroupNorm": "group_norm",
    "FrameUpsample": "strided_conv",
    "KnownContext": "known_context",
    "LatentMoments": "latent_moments",
    "LinearSpaceAttention": "factorised_attention",
    "MovedFrames": "moved_frames",
    "NoiseEmbedding": "noise_embedding",
    "PatchMerge": "resample",
    "PatchSplit": "resample",
    "PerFrame": "per_frame",
    "PictureAttention": "per_frame",
    "PostNormBlock3D": "post_norm_block",
    "RelativePositionBias": "relative_position_bias",
    "ResidualBlock3D": "residual_block",
    "RotaryAttention": "rotary_attention",
    "RotaryPositions": "rotary_attention",
    "SampleDropout": "sample_dropout",
    "SpaceAttention": "factorised_attention",
    "StillPixels": "still_pixels",
    "TimeAttention": "factorised_attention",
    "TimestepEmbedding": "timestep_embedding",
    "TokenAttention": "token_attention",
    "TokenEncoder": "token_attention",
    "TransformerBlock3D": "transformer_block",
    "VideoAttention": "attention",
}

__all__ = list(_HOMES)

__getattr__, __dir__ = lazily(__name__, _HOMES)
