"""From clean clips to what Keras trains on: known frames, noise levels, conditions, and what each loss weighs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_count, check_kind, check_real
from kvdiff.diffusion.process.noise import EPS, MASK, TIMESTEP, normal, uniform
from kvdiff.diffusion.process.predictions import noise_label
from kvdiff.diffusion.process.weights import loss_weights
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.tasks.mask_kinds import FrameMask
from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.diffusion.transforms.padding import Padding
from kvdiff.layers.forward_diffusion import ForwardDiffusion
from kvdiff.training.arguments import built, named
from kvdiff.training.clip_checks import check_clips, limited
from kvdiff.training.conditions import NoiseKey, by_name, training_conditions
from kvdiff.training.data_checks import by_sample, check_range, in_range
from kvdiff.training.replicas import sample_numbers
from kvdiff.training.timesteps import TimestepDraw


class Noising:
    """Draws what a training batch of a model is: a pure function of (seed, step, sample number).

    Args:
        spec: of the model.
        forward_diffusion: its layer, which has schedule and prediction.
        loss_weight, timesteps, condition_dropout, seed: as in `VideoDiffusion`.

    Attributes:
        config: those four, as JSON has them.
        timestep_draw: the distribution of timesteps.
    """

    def __init__(
        self,
        spec: ModelSpec,
        forward_diffusion: ForwardDiffusion,
        *,
        loss_weight: Mapping[str, Any] | str,
        timesteps: Mapping[str, Any] | str,
        condition_dropout: float,
        seed: int,
    ) -> None:
        schedule, prediction = spec.schedule, spec.prediction
        if spec.missing is not None and forward_diffusion.learned_variance:
            raise ValueError("`learned_variance`: expected False with the condition Observed(). Received: True")
        weight, timestep = named("loss_weight", loss_weight), named("timesteps", timesteps)
        weights = built("loss_weight", loss_weight, lambda: loss_weights(schedule, prediction, **weight))
        self.spec, self.forward_diffusion = spec, forward_diffusion
        self.known_frames = check_kind("known_frames", spec.known_frames, FrameMask)
        self.timestep_draw = built("timesteps", timesteps, lambda: TimestepDraw(schedule, timestep))
        self.loss_weights = weights.astype(np.float32)
        self.condition_dropout = check_real("condition_dropout", condition_dropout, above=0.0, below=1.0, closed=True)
        self.seed = check_count("seed", seed, at_least=0, at_most=2**64 - 1)
        choices = {"loss_weight": weight, "timesteps": timestep}
        self.config = {"condition_dropout": self.condition_dropout, **choices, "seed": self.seed}

    def __call__(
        self, data: Any, training_step: Any, timestep: Any = None, samples: Any = None
    ) -> tuple[dict[str, Any], Any, Any]:
        """From clean clips to what Keras trains on.

        Args:
            data: clips [batch, *clip_shape], or the latents that an autoencoder made of them; with conditions (clips,
                {name: array}), or (clips, array) where there is but one; with sample weights (clips, conditions or {},
                weights [batch] or [batch, frames]).
            training_step: which noise to draw.
            timestep: int [batch], in place of those that would be drawn.
            samples: int [batch], the clips' numbers in the global batch, if not those of this replica.

        Returns:
            The denoiser's inputs, the target, and the loss weight [batch, frames, 1, 1]: 0 on known frames, and such on
            the others that every clip counts the same, times the weight of its timestep and its sample weight.

        Raises:
            TypeError, ValueError: data of another type, shape or range, or with NaN; conditions that the denoiser does
                not take. In a graph range and NaN are looked at when it runs.
        """
        clips, given, sample_weight = parts_of(data)
        if not self.spec.conditions and any(leaf is not None for leaf in keras.tree.flatten(given)):
            text = "labels or conditions are not trained on: the denoiser was built without `conditions`"
            warnings.warn(text, stacklevel=2)
        x_0 = self._clean(clips)
        batch, frames = ops.shape(x_0)[:2]
        where = (ops, self.seed, training_step, sample_numbers(batch) if samples is None else samples)
        drawn = uniform(*where, self.known_frames.num_uniforms(frames), MASK)
        known = self.known_frames.draw(ops, drawn, frames)
        if timestep is None:
            timestep, clean = self._timesteps(where, known, frames)
        else:
            timestep, clean = ops.broadcast_to(timestep[:, None], ops.shape(known)), known
        eps = ops.reshape(normal(*where, frames * math.prod(self.spec.latent.frame_shape), EPS), ops.shape(x_0))
        inputs, target = self.forward_diffusion(x_0, eps, timestep, clean)
        own = self.spec.codec.decode(x_0, ops) if isinstance(self.spec.codec, Padding) else x_0
        made = training_conditions(self.spec.conditions, given, own, where, self.condition_dropout, self.spec.values)
        if (name := self.spec.missing) is not None:  # The data may say that more is missing than what is NaN.
            there = ops.cast(ops.logical_not(ops.isnan(ops.cast(clips, "float32"))), "float32")
            made[name] = made[name] * there if isinstance(given, Mapping) and given.get(name) is not None else there
        inputs |= self.spec.padded(ops, made)
        if given is not None:
            for name, condition in self.spec.conditions.items():
                inputs[name] = in_range(f"condition {name}", inputs[name], *condition.limits)
        weight = ops.take(ops.convert_to_tensor(self.loss_weights), timestep) * self.timestep_draw.importance(timestep)
        unknown = ops.cast(ops.logical_not(known), "float32")
        share = ops.cast(frames, "float32") * unknown / ops.maximum(ops.sum(unknown, axis=1, keepdims=True), 1.0)
        return inputs, target, (share * weight)[:, :, None, None] * by_sample(sample_weight, batch)

    def _timesteps(self, where: NoiseKey, known: Any, frames: Any) -> tuple[Any, Any]:
        """(timesteps int [batch, frames], bool: frames that stay clean): one a clip, unless frames differ."""
        drawn = uniform(*where, 4 + frames, TIMESTEP)
        timestep, clean = ops.broadcast_to(self.timestep_draw(drawn[:, :1]), ops.shape(known)), known
        if self.spec.independent_noise:
            own = self.timestep_draw(drawn[:, 4:])
            timestep = ops.where(drawn[:, 1:2] < self.spec.independent_noise, own, timestep)
        if self.spec.known_noise:
            schedule = self.forward_diffusion.schedule
            below = int((noise_label(schedule.alpha, schedule.sigma) <= self.spec.known_noise).sum())
            noisy = ops.logical_and(known, drawn[:, 2:3] < 0.5)
            timestep = ops.where(noisy, ops.cast(ops.floor(drawn[:, 3:4] * below), timestep.dtype), timestep)
            clean = ops.logical_and(known, ops.logical_not(noisy))
        return timestep, clean

    def in_data(self, inputs: Mapping[str, Any], output: Any) -> Any:
        """A target or a prediction without padding, and 0 where numbers are missing: that has no gradient."""
        if self.spec.missing is not None:
            output = output * inputs[self.spec.missing]
        return self.spec.codec.decode(output, ops) if isinstance(self.spec.codec, Padding) else output

    def _clean(self, clips: Any) -> Any:
        """x_0 of a batch of clips, whose static shape is checked."""
        frames = (self.spec.clip.num_frames, 1, None)  # None: batches of clips and of images in one data set.
        shape = self.spec.clip.frame_shape
        if self.takes_latents(clips):
            return in_range("latents", ops.cast(clips, "float32"))
        if len(clips.shape) != 5 or clips.shape[1] not in frames or tuple(clips.shape[2:]) != shape:
            expected = ", ".join(map(str, self.spec.clip.shape))
            if self._has_autoencoder:
                expected += f"], their latents [batch, {', '.join(map(str, self.spec.latent.shape))}"
            raise ValueError(
                f"VideoDiffusion: expected clips of shape [batch, {expected}], or images as clips of one frame. "
                f"Received: {list(clips.shape)}"
            )
        if self.spec.missing is None:
            return self.spec.encode(limited(clips, self.spec.values), ops)
        numbers = ops.cast(clips, "float32")
        whole = limited(self.spec.filled(numbers, ops), self.spec.values)
        return self.spec.encode(ops.where(ops.isnan(numbers), np.float32(np.nan), whole), ops)

    @property
    def _has_autoencoder(self) -> bool:
        return isinstance(self.spec.codec, Autoencoder)

    def takes_latents(self, clips: Any) -> bool:
        """Whether a batch is of latent clips, which an autoencoder made before: told by the shape of a frame."""
        shape = tuple(clips.shape)
        latent = self._has_autoencoder and shape[2:] == self.spec.latent.frame_shape
        return latent and len(shape) == 5 and shape[1] in (self.spec.clip.num_frames, 1, None)

    def check_batch(self, data: Any) -> None:
        """Raise ValueError where clips or conditions at hand are not in the range of theirs, or not finite."""
        clips, given, _ = parts_of(data)
        if self.takes_latents(clips):
            check_range("latents", clips)
        else:
            whole = clips if self.spec.missing is None else self.spec.filled(ops.cast(clips, "float32"), ops)
            check_clips(whole, self.spec.values)
        for name, value in by_name(self.spec.conditions, given).items() if self.spec.conditions else ():
            if value is not None:
                check_range(f"condition {name}", value, *self.spec.conditions[name].limits)


def parts_of(data: Any) -> tuple[Any, Any, Any]:
    """(clips, conditions or None, sample weights or None) of a batch of Keras' data."""
    while isinstance(data, (tuple, list)) and len(data) == 1:
        data = data[0]
    clips, conditions, weights = (*data, None, None)[:3] if isinstance(data, (tuple, list)) else (data, None, None)
    return clips[0] if isinstance(clips, (tuple, list)) else clips, conditions, weights
