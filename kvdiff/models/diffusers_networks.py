"""The networks of diffusers' `AutoencoderKL` and `AutoencoderTiny`, whose layers are named as its modules are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import layers

from kvdiff.diffusion.checks import built_from, check_choice, check_count, check_flag, check_mapping, check_real
from kvdiff.layers.per_frame import PictureAttention

_TIME = ("AutoencoderKLTemporalDecoder", "AutoencoderKLCogVideoX", "AutoencoderKLLTXVideo", "AutoencoderKLWan")
_EPSILON = 1e-6


@dataclasses.dataclass(frozen=True)
class DiffusersShape:
    """What diffusers' `config.json` says of an autoencoder of pictures.

    Attributes:
        kind: "AutoencoderKL" or "AutoencoderTiny".
        channels, latent_channels: of pictures and of latents.
        widths: channels of each level, from fine to coarse.
        blocks: residual blocks of each level of the encoder; of `AutoencoderKL` the decoder has one more.
        groups: of the group normalisation.
        attention: whether the middle has attention.
        quant_conv, post_quant_conv: whether a 1 × 1 convolution stands at the latent, on either side.
        scaling, shift: latents are standardised as (latent - shift) · scaling.
    """

    kind: str
    channels: int = 3
    latent_channels: int = 4
    widths: Sequence[int] = (64,)
    blocks: Sequence[int] = (1,)
    decoder_blocks: Sequence[int] = (2,)
    groups: int = 32
    attention: bool = True
    quant_conv: bool = True
    post_quant_conv: bool = True
    scaling: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("AutoencoderKL", "AutoencoderTiny"))
        for name in ("channels", "latent_channels", "groups"):
            check_count(name, getattr(self, name))
        for name in ("widths", "blocks", "decoder_blocks"):
            object.__setattr__(self, name, tuple(check_count(name, value) for value in getattr(self, name)))
        for name in ("attention", "quant_conv", "post_quant_conv"):
            check_flag(name, getattr(self, name))
        check_real("scaling", self.scaling, above=0.0)
        check_real("shift", self.shift)
        if not len(self.widths) == len(self.blocks) == len(self.decoder_blocks):
            raise ValueError(
                f"`config`: expected blocks for each of {len(self.widths)} levels. Received: {self.blocks}"
            )
        if self.factor not in (2, 4, 8):
            raise ValueError(f"`config`: expected a factor of 2, 4 or 8. Received: {self.factor}")

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> DiffusersShape:
        """From the content of `config.json`.

        Raises:
            ValueError: a codec that compresses time, or another class.
        """
        check_mapping("config", config)
        kind = config.get("_class_name")
        if kind in _TIME or "temporal_compression_ratio" in config or config.get("sample_tubelet_size"):
            raise ValueError(
                f"`config`: expected an autoencoder of pictures. Received: {kind}, which compresses time or looks at "
                "it: a frame of its latent is not a frame of the clip, so there would be no known frames"
            )
        check_choice("_class_name", kind, ("AutoencoderKL", "AutoencoderTiny"))
        common = dict(
            kind=kind, channels=config.get("in_channels", 3), latent_channels=config.get("latent_channels", 4)
        )
        common |= dict(scaling=config.get("scaling_factor") or 1.0, shift=config.get("shift_factor") or 0.0)
        if kind == "AutoencoderTiny":
            widths = config.get("encoder_block_out_channels", (64, 64, 64, 64))
            blocks = config.get("num_encoder_blocks", (1, 3, 3, 3))
            decoder = tuple(config.get("num_decoder_blocks", (3, 3, 3, 1)))[::-1]
            other = config.get("decoder_block_out_channels", widths)
            unusual = config.get("upsample_fn", "nearest") != "nearest" or config.get("act_fn", "relu") != "relu"
            if unusual or tuple(other) != tuple(widths) or config.get("upsampling_scaling_factor", 2) != 2:
                raise ValueError("`config`: expected TAESD's activation, upsampling and widths. Received: others")
            return built_from("config", {**common, "widths": widths, "blocks": blocks, "decoder_blocks": decoder}, cls)
        widths, count = config.get("block_out_channels", (64,)), config.get("layers_per_block", 1)
        if config.get("act_fn", "silu") != "silu":
            raise ValueError(f"`config`: expected the activation 'silu'. Received: {config['act_fn']!r}")
        common |= dict(
            widths=widths,
            blocks=(count,) * len(widths),
            decoder_blocks=(count + 1,) * len(widths),
            groups=config.get("norm_num_groups", 32),
            attention=config.get("mid_block_add_attention", True),
            quant_conv=config.get("use_quant_conv", True),
            post_quant_conv=config.get("use_post_quant_conv", True),
        )
        return built_from("config", common, cls)

    @property
    def factor(self) -> int:
        """By how much height and width shrink."""
        return int(2 ** (len(self.widths) - 1))

    def encoder(self) -> keras.Model:
        """Pictures in [-1, 1] -> means of latents, and with `AutoencoderKL` the logarithms of their variances."""
        picture = keras.Input((None, None, self.channels))
        return keras.Model(
            picture, (self._tiny_encoder if self.kind == "AutoencoderTiny" else self._kl_encoder)(picture)
        )

    def decoder(self) -> keras.Model:
        """Latents -> pictures in [-1, 1]."""
        latent = keras.Input((None, None, self.latent_channels))
        make = self._tiny_decoder if self.kind == "AutoencoderTiny" else self._kl_decoder
        return keras.Model(latent, make(latent))

    # Stable Diffusion's.

    def _kl_encoder(self, x: Any) -> Any:
        x = _conv(self.widths[0], "encoder.conv_in")(x)
        for level, width in enumerate(self.widths):
            for block in range(self.blocks[level]):
                x = self._resnet(x, width, f"encoder.down_blocks.{level}.resnets.{block}")
            if level + 1 < len(self.widths):
                x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
                name = _name(f"encoder.down_blocks.{level}.downsamplers.0.conv")
                x = layers.Conv2D(width, 3, strides=2, name=name)(x)
        x = self._middle(x, "encoder")
        x = _conv(2 * self.latent_channels, "encoder.conv_out")(self._activated(x, "encoder.conv_norm_out"))
        return _conv(2 * self.latent_channels, "quant_conv", 1)(x) if self.quant_conv else x

    def _kl_decoder(self, x: Any) -> Any:
        if self.post_quant_conv:
            x = _conv(self.latent_channels, "post_quant_conv", 1)(x)
        x = self._middle(_conv(self.widths[-1], "decoder.conv_in")(x), "decoder")
        for level, width in enumerate(reversed(self.widths)):
            for block in range(self.decoder_blocks[level]):
                x = self._resnet(x, width, f"decoder.up_blocks.{level}.resnets.{block}")
            if level + 1 < len(self.widths):
                x = _conv(width, f"decoder.up_blocks.{level}.upsamplers.0.conv")(layers.UpSampling2D(2)(x))
        return _conv(self.channels, "decoder.conv_out")(self._activated(x, "decoder.conv_norm_out"))

    def _middle(self, x: Any, side: str) -> Any:
        x = self._resnet(x, self.widths[-1], f"{side}.mid_block.resnets.0")
        if self.attention:
            x = PictureAttention(self.groups, _EPSILON, name=_name(f"{side}.mid_block.attentions.0"))(x)
        return self._resnet(x, self.widths[-1], f"{side}.mid_block.resnets.1")

    def _resnet(self, x: Any, width: int, name: str) -> Any:
        y = _conv(width, f"{name}.conv1")(self._activated(x, f"{name}.norm1"))
        y = _conv(width, f"{name}.conv2")(self._activated(y, f"{name}.norm2"))
        return (x if x.shape[-1] == width else _conv(width, f"{name}.conv_shortcut", 1)(x)) + y

    def _activated(self, x: Any, name: str) -> Any:
        return layers.Activation("silu")(layers.GroupNormalization(self.groups, epsilon=_EPSILON, name=_name(name))(x))

    # TAESD, whose modules are numbered.

    def _tiny_encoder(self, x: Any) -> Any:
        x, index = layers.Rescaling(0.5, 0.5)(x), 0
        for level, width in enumerate(self.widths):
            stride = {"strides": 2, "use_bias": False} if level else {}
            # Padding by one on every side, as PyTorch does; "same" would be on two alone.
            x = layers.Conv2D(width, 3, name=_name(f"encoder.layers.{index}"), **stride)(layers.ZeroPadding2D(1)(x))
            x, index = self._tiny_blocks(x, self.blocks[level], "encoder.layers", index + 1)
        return _conv(self.latent_channels, f"encoder.layers.{index}")(x)

    def _tiny_decoder(self, x: Any) -> Any:
        x = layers.Rescaling(3.0)(layers.Activation("tanh")(layers.Rescaling(1.0 / 3.0)(x)))
        x, index = layers.Activation("relu")(_conv(self.widths[-1], "decoder.layers.0")(x)), 2
        for level in reversed(range(len(self.widths))):
            x, index = self._tiny_blocks(x, self.decoder_blocks[level], "decoder.layers", index)
            if level:
                x, index = layers.UpSampling2D(2)(x), index + 1
            width = self.widths[level - 1] if level else self.channels
            name = _name(f"decoder.layers.{index}")
            x = layers.Conv2D(width, 3, padding="same", use_bias=not level, name=name)(x)
            index += 1
        return layers.Rescaling(2.0, -1.0)(x)

    def _tiny_blocks(self, x: Any, count: int, prefix: str, index: int) -> tuple[Any, int]:
        for block in range(index, index + count):
            width, y = x.shape[-1], x
            for part in (0, 2, 4):
                y = _conv(width, f"{prefix}.{block}.conv.{part}")(y)
                y = layers.Activation("relu")(y) if part < 4 else y
            x = layers.Activation("relu")(x + y)
        return x, index + count


def _conv(width: int, name: str, size: int = 3) -> Any:
    return layers.Conv2D(width, size, padding="same", name=_name(name))


def _name(peer: str) -> str:
    """diffusers' name as a layer's: Keras on PyTorch allows no dot in one, and no name here has a hyphen."""
    return peer.replace(".", "-")


def peer_name(layer: Any) -> str:
    """diffusers' name of what is a layer here."""
    return str(layer.name).replace("-", ".")
