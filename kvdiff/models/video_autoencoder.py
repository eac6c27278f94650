"""The autoencoder: trained on one's own clips, it makes the latent clips on which a denoiser works."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_count, check_real
from kvdiff.diffusion.process.noise import EPS, normal
from kvdiff.diffusion.transforms.values import PIXELS, Values, values_from_config
from kvdiff.layers.latent_moments import LatentMoments
from kvdiff.models.autoencoder_networks import AutoencoderShape
from kvdiff.models.latent_model import LatentModel
from kvdiff.training.arguments import built
from kvdiff.training.clip_checks import check_clips, checked_clips
from kvdiff.training.data_checks import by_sample
from kvdiff.training.fused_adam import FusedAdam
from kvdiff.training.noising import parts_of
from kvdiff.training.reconstruction_loss import ReconstructionLoss
from kvdiff.training.replicas import sample_numbers
from kvdiff.training.trainer import DiffusionTrainer

_RATE, _WARM_UP = 5e-4, 300
_MOST_VARIANCE, _LEAST_VARIANCE = 4.0, -20.0  # Of the logarithm.


@keras.saving.register_keras_serializable(package="kvdiff")
class VideoAutoencoder(LatentModel, DiffusionTrainer):
    """Makes small latent clips of clips, frame by frame, and clips of them again.

    A denoiser that works on them costs a fraction: frames of 64 × 64 pixels become 16 × 16 × 4 numbers. Frame f of the
    latent is frame f of the clip, so known frames, plans, conditions and noise of each frame hold unchanged.

    ```python
    autoencoder = kvdiff.VideoAutoencoder(channels=1, factor=4)
    autoencoder.compile()
    autoencoder.fit(clips, epochs=10)          # as VideoDiffusion: a tf.data.Dataset of [batch, frames, 64, 64, 1]
    model = kvdiff.VideoDiffusion((8, 64, 64, 1), codec=autoencoder)
    ```

    Args:
        channels: of the clips.
        factor: by how much height and width shrink: 2, 4 or 8. Frames of other sizes are padded, and cut again.
        latent_channels: numbers a latent pixel; the clip has factor² · `channels` in its place.
        widths: channels at each level, from fine to coarse; at most one level for each halving. One level computes
            everything on the latent's small frames, which is by far the fastest.
        blocks: residual blocks a level in the encoder; the decoder has one more.
        time: also convolve over time in the decoder, which keeps detail from flickering. Frames are still encoded one
            by one.
        values: what the numbers of a clip mean, as in `VideoDiffusion`.
        kl: the weight of the latent's divergence from a standard normal distribution, in nats a latent number; 0 is a
            plain autoencoder, whose latents carry no noise in training.
        seed: of all noise in training.

    Frames and sizes of clips may be any, in training and afterwards; with `time` clips of several frames are needed to
    learn from. Latents are standardised by running statistics of each channel, which are weights of the model.
    """

    def __init__(
        self,
        channels: int = 1,
        *,
        factor: int = 4,
        latent_channels: int = 4,
        widths: Sequence[int] = (64,),
        blocks: int = 2,
        time: bool = False,
        values: Values | Mapping[str, Any] = PIXELS,
        kl: float = 1e-6,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.autocast = False
        self.shape = AutoencoderShape(channels, factor, latent_channels, widths, blocks, time)
        self.values = built("values", values, lambda: values_from_config(values))
        self.kl = check_real("kl", kl, above=0.0, below=math.inf, closed=True)
        self.seed = check_count("seed", seed, at_least=0, at_most=2**64 - 1)
        self.encoder = self.shape.encoder(2 * latent_channels if self.kl else latent_channels, self.dtype_policy)
        self.decoder = self.shape.decoder(self.dtype_policy)
        self.moments = LatentMoments(latent_channels, name="moments")
        self.built = True

    # Training.

    def compile(self, optimizer: Any = None, loss: Any = None, **kwargs: Any) -> None:
        """As in Keras, with an averaging Adam and `ReconstructionLoss()` as defaults.

        The default rate warms up: linear latents that meet a large rate at once may collapse to one picture. It is
        5e-4, and Adam's second moment reaches back over a hundred steps: at 1e-3 and Adam's own 1,000 a training broke
        down after 2,000 steps, when gradients had become small.
        """
        if optimizer is None:
            # The cosine takes no part in it: it is far too long.
            rate = keras.optimizers.schedules.CosineDecay(0.0, 10**9, warmup_target=_RATE, warmup_steps=_WARM_UP)
            optimizer = FusedAdam(rate, beta_2=0.99, global_clipnorm=1.0, use_ema=True, ema_momentum=0.99)
        super().compile(optimizer=optimizer, loss=ReconstructionLoss() if loss is None else loss, **kwargs)

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """x_0 made of {"clip": x_0 [batch, frames, height, width, channels], "noise": of its latent}.

        In training the latent carries noise, as much as the encoder says, and its divergence is added to the loss.
        """
        clip = inputs["clip"]
        raw = self._raw(clip, training)
        mean = raw[..., : self.shape.latent_channels]
        if training:
            self.moments.remember(mean, self.micro_batches)
        if training and self.kl:
            log_variance = ops.clip(raw[..., self.shape.latent_channels :], _LEAST_VARIANCE, _MOST_VARIANCE)
            divergence = 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance)
            self.add_loss(self.kl * ops.sum(divergence) / ops.maximum(ops.cast(ops.size(divergence), "float32"), 1.0))
            mean = mean + ops.exp(0.5 * log_variance) * inputs["noise"]
        return self._decoded(mean, clip.shape[2], clip.shape[3], training)

    def noised(self, data: Any, training_step: Any, *, samples: Any = None) -> tuple[dict[str, Any], Any, Any]:
        """The networks' inputs, the target and the loss weight of a batch of clips; conditions are passed over."""
        clips, _, sample_weight = parts_of(data)
        x_0 = self.values.encode(checked_clips(clips, self.values, (None, None, self.shape.channels)), ops)
        batch, frames = ops.shape(x_0)[:2]
        small = tuple(-(-size // self.shape.factor) for size in x_0.shape[2:4])
        shape = (batch, frames, *small, self.shape.latent_channels)
        if self.kl:
            numbers = sample_numbers(batch) if samples is None else samples
            drawn = normal(ops, self.seed, training_step, numbers, frames * math.prod(shape[2:]), EPS)
            noise = ops.reshape(drawn, shape)
        else:
            noise = ops.zeros(shape)
        weight = ops.ones((batch, frames, 1, 1)) * by_sample(sample_weight, batch)
        return {"clip": x_0, "noise": noise}, x_0, weight

    def blank_batch(self) -> Any:
        """A clip in the middle of the values' range, which 0 may be out of."""
        size = 2 * self.shape.factor
        return self.values.decode(np.zeros((1, 2, size, size, self.shape.channels), np.float32))

    def check_batch(self, data: Any) -> None:
        """Raise ValueError where clips at hand are not in the values' range."""
        check_clips(parts_of(data)[0], self.values)

    def get_compile_config(self) -> dict[str, Any]:
        """As in Keras; a copy inside a model is not compiled, and stays so when it is opened."""
        return super().get_compile_config() if self.compiled else {}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        shape = self.shape
        return {
            **super().get_config(),
            "channels": shape.channels,
            "factor": shape.factor,
            "latent_channels": shape.latent_channels,
            "widths": list(shape.widths),
            "blocks": shape.blocks,
            "time": shape.time,
            "values": self.values.config,
            "kl": self.kl,
            "seed": self.seed,
        }
