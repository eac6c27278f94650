"""The Keras model: train with `fit`, then generate, predict frames and interpolate."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_clip_shape, check_count, check_real
from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.process.noise import EPS, MASK, TIMESTEP, normal, uniform
from kvdiff.diffusion.process.predictions import Prediction, noise_label
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.process.weights import loss_weights
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.tasks.known_frames import mask_from_config
from kvdiff.diffusion.tasks.mask_kinds import FrameMask
from kvdiff.diffusion.transforms.codec import Codec, codec_from_config
from kvdiff.diffusion.transforms.values import PIXELS, Pixels, Values, values_from_config
from kvdiff.layers.forward_diffusion import ForwardDiffusion
from kvdiff.models.arguments import built, made, named, parts_of
from kvdiff.models.denoiser import EXPORTS, DenoiserContract, export_signature
from kvdiff.models.unet3d import UNet3D
from kvdiff.sampling import KerasEngine
from kvdiff.training.conditions import NoiseKey, training_conditions
from kvdiff.training.data_checks import by_sample, check_range, in_range
from kvdiff.training.fused_adam import FusedAdam
from kvdiff.training.hybrid_loss import HybridLoss
from kvdiff.training.replicas import sample_numbers
from kvdiff.training.timesteps import TimestepDraw
from kvdiff.training.trainer import DiffusionTrainer

__all__ = ["VideoDiffusion"]

_TO_SAMPLE = (
    "To sample, call generate(num_clips), predict_frames(past), interpolate(before, after) or infill(clip, known); to "
    "train, fit(clips)"
)


@keras.saving.register_keras_serializable(package="kvdiff")
class VideoDiffusion(DiffusionTrainer):
    """A video diffusion model for clips of one shape.

    One training serves every task: each training clip has some of its frames known, drawn from `known_frames`; those
    stay clean, and the loss is taken on the others.

    ```python
    model = kvdiff.VideoDiffusion(clip_shape=(8, 16, 16, 1))
    model.compile()
    model.fit(clips, epochs=10)                # a tf.data.Dataset of [batch, 8, 16, 16, 1]
    future = model.predict_frames(past)        # past: [batch, 4, 16, 16, 1]
    ```

    Args:
        clip_shape: (frames, height, width, channels) of the training clips; or a `ClipSpec`, which also says their
            clock and the names of channels.
        denoiser: a Keras model of `{"noisy_clip", "noise_label"}`; by default `UNet3D(channels)`, with twice the output
            channels where the variance is learned. With a codec, of its latent clips.
        values: what the numbers of a clip mean: by default `Pixels()`; `Linear(low, high)` for physical values.
        codec: between clips and the latent clips on which the denoiser works; by default none.
        sampling: the model's own defaults of sampling by task, see `ModelSpec`.
        schedule: the noise levels of training, a `NoiseSchedule` or its name, e.g. "linear"; by default `cosine` with
            1000 timesteps.
        prediction: what the denoiser predicts: "v" (default), "eps", "x0", or another of `PREDICTIONS`.
        known_frames: the distribution of known frames in training: `KnownFrames(first=…, ends=…)`, or any mask of
            `kvdiff.diffusion.known_frames`.
        known_noise: the highest noise label, 0 (clean) to below 1, of known frames in training: every second clip's
            carry noise. Then `known_noise` up to it in sampling keeps long rollouts from drifting. A denoiser that
            tells known frames by their label, as `UNet3D(known_noise=…)`, must have the same.
        independent_noise: the share of clips in which every frame has a noise level of its own, as in diffusion forcing
            (Chen et al. 2024, arXiv:2407.01392); rolling plans need it.
        condition_dropout: with a denoiser of conditions (`UNet3D(conditions=…)`), which trains on (clips, conditions):
            the share of clips without any condition, so that `guidance` can push away from the unconditional answer;
            each condition is left out by itself as often again.
        loss_weight: how much each timestep counts: a name of `kvdiff.diffusion.process.weights.WEIGHTS`, or e.g.
            `{"name": "min_snr", "gamma": 5}`.
        timesteps: which timesteps training draws: "uniform", or `{"name": "lognormal", "mean": -1.2, "std": 1.2}`; see
            `ImportanceSampling` for drawing them by their loss.
        learned_variance: train the variance of `solver="ddpm", variance="learned"` too, with `HybridLoss`.
        seed: of all noise in training. Noise depends on (seed, step, sample number) alone: not on the number of
            replicas, nor on a crash in between.

    Clips are pixels, floats in [-1, 1] or uint8, unless `values` says otherwise. Images train the same model as clips
    of one frame: mix batches of [batch, 1, height, width, channels] among the others.

    Attributes:
        spec: everything but the weights, a `ModelSpec`.
        denoiser: the network.
        sampler: the `Sampler` behind `generate`, `predict_frames` and the other verbs.
    """

    def __init__(
        self,
        clip_shape: tuple[int, int, int, int] | ClipSpec,
        denoiser: keras.Model | None = None,
        *,
        values: Values | Mapping[str, Any] = PIXELS,
        codec: Codec | Mapping[str, Any] | None = None,
        sampling: Mapping[str, Mapping[str, Any]] | None = None,
        schedule: NoiseSchedule | Mapping[str, Any] | str | None = None,
        prediction: Prediction | Mapping[str, Any] | str = "v",
        known_frames: FrameMask | Mapping[str, Any] | None = None,
        known_noise: float = 0.0,
        independent_noise: float = 0.0,
        condition_dropout: float = 0.1,
        loss_weight: Mapping[str, Any] | str = "simple",
        timesteps: Mapping[str, Any] | str = "uniform",
        learned_variance: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.autocast = False  # In bfloat16 half of the noise labels would coincide; the denoiser casts its own clip.
        clip = clip_shape if isinstance(clip_shape, ClipSpec) else ClipSpec(*check_clip_shape("clip_shape", clip_shape))
        codec = built("codec", codec, lambda: codec_from_config(codec))
        shape = clip.frame_shape if codec is None else codec.latent_shape(clip.frame_shape)
        if not isinstance(learned_variance, bool):
            raise TypeError(f"`learned_variance`: expected True or False. Received: {learned_variance!r}")
        channels = shape[-1]
        outputs = 2 * channels if learned_variance else channels
        if denoiser is None:
            denoiser = UNet3D(channels, out_channels=outputs, known_noise=known_noise)
        self.denoiser = denoiser
        contract = DenoiserContract.of(denoiser)
        contract.check(shape, outputs)
        if contract.known_noise not in (None, known_noise):
            raise ValueError(
                f"`known_noise`: expected the denoiser's, {contract.known_noise}, to which it takes frames for known. "
                f"Received: {known_noise}. Make both the same, e.g. UNet3D(…, known_noise={known_noise})."
            )
        self.forward_diffusion = ForwardDiffusion(
            made("schedule", NoiseSchedule, schedule or "cosine"),
            made("prediction", Prediction, prediction),
            learned_variance=learned_variance,
            name="forward_diffusion",
        )
        if contract.prediction not in (None, self.forward_diffusion.prediction.name):
            raise ValueError(
                f"`prediction`: expected the denoiser's, {contract.prediction!r}. "
                f"Received: {self.forward_diffusion.prediction.name!r}"
            )
        noise, predicted = self.forward_diffusion.schedule, self.forward_diffusion.prediction
        masks = {} if known_frames is None else known_frames
        if not isinstance(masks, (FrameMask, Mapping)):
            raise TypeError(
                f"`known_frames`: expected KnownFrames(…), a mask, or either's configuration. Received: {masks!r}"
            )
        self.spec = ModelSpec(
            clip,
            noise,
            predicted,
            built("values", values, lambda: values_from_config(values)),
            codec,
            contract.conditions,
            built("known_frames", masks, lambda: mask_from_config(masks)),
            known_noise,
            independent_noise,
            sampling or {},
        )
        self.loss_weight, self.timesteps = named("loss_weight", loss_weight), named("timesteps", timesteps)
        self.timestep_draw = built("timesteps", timesteps, lambda: TimestepDraw(noise, self.timesteps))
        weights = built("loss_weight", loss_weight, lambda: loss_weights(noise, predicted, **self.loss_weight))
        self._loss_weights = weights.astype(np.float32)
        self.condition_dropout = check_real("condition_dropout", condition_dropout, above=0.0, below=1.0, closed=True)
        self.seed = check_count("seed", seed, at_least=0, at_most=2**64 - 1)
        self.sampler = Sampler(self.spec, KerasEngine(denoiser, self.spec))
        self.built = True

    # Training.

    def compile(self, optimizer: Any = None, loss: Any = None, **kwargs: Any) -> None:
        """As in Keras, with an averaging Adam and the mean square (or `HybridLoss`, to learn the variance) as defaults.

        "mae" and "huber" work too, as does any Keras loss of (target, prediction).

        An optimizer with `use_ema=True` leaves the averaged weights in the model when `fit` ends, so sampling and
        export use them; a further `fit` goes on from the raw weights.
        """
        if optimizer is None:
            optimizer = FusedAdam(1e-3, use_ema=True, ema_momentum=0.99)
        learned = self.forward_diffusion.learned_variance
        if loss is None:
            loss = HybridLoss(self.forward_diffusion.schedule.num_timesteps) if learned else "mse"
        elif learned and not isinstance(loss, HybridLoss):
            raise ValueError(f"`loss`: expected a HybridLoss, which learns the variance. Received: {loss!r}")
        super().compile(optimizer=optimizer, loss=loss, **kwargs)

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """The denoiser's raw output F of its inputs by name.

        Raises:
            TypeError: something else, such as clips: `fit` trains on them, and `predict_frames` goes on with them.
        """
        if not isinstance(inputs, Mapping) or set(inputs) != set(self.denoiser.input):
            received = sorted(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__
            raise TypeError(
                f"model(inputs): expected the denoiser's inputs by name, {sorted(self.denoiser.input)}. Received: "
                f"{received}. {_TO_SAMPLE}"
            )
        return self.denoiser(inputs, training=training)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Not what Keras means by it: a call of the network is no clip.

        Raises:
            TypeError: always, with what to call.
        """
        raise TypeError(f"model.predict: a single call of the network makes no clip. {_TO_SAMPLE}")

    predict_on_batch = predict

    def blank_batch(self) -> tuple[Any, Any]:
        """A clip of zeros, with conditions that are all 0."""
        shape = self.spec.latent.num_frames, self.spec.latent.frame_shape
        given = {
            name: np.zeros((1, *condition.shape(*shape)), condition.dtype)
            for name, condition in self.spec.conditions.items()
        }
        return np.zeros((1, *self.spec.clip.shape), np.float32), given

    def noised(
        self, data: Any, training_step: Any, timestep: Any = None, *, samples: Any = None
    ) -> tuple[dict[str, Any], Any, Any]:
        """From clean clips to what Keras trains on.

        Args:
            data: clips [batch, *clip_shape]; with conditions (clips, {name: array}), or (clips, array) where there is
                but one; with sample weights (clips, conditions or {}, weights [batch] or [batch, frames]).
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
        masks = self.spec.known_frames
        known = masks.draw(ops, uniform(*where, masks.num_uniforms(frames), MASK), frames)
        if timestep is None:
            timestep, clean = self._timesteps(where, known, frames)
        else:
            timestep, clean = ops.broadcast_to(timestep[:, None], ops.shape(known)), known
        eps = ops.reshape(normal(*where, frames * math.prod(self.spec.latent.frame_shape), EPS), ops.shape(x_0))
        inputs, target = self.forward_diffusion(x_0, eps, timestep, clean)
        inputs |= training_conditions(self.spec.conditions, given, x_0, where, self.condition_dropout, self.spec.values)
        if given is not None:
            floats = [name for name, condition in self.spec.conditions.items() if "float" in condition.dtype]
            inputs |= {name: in_range(f"condition {name}", inputs[name]) for name in floats}
        weight = ops.take(ops.convert_to_tensor(self._loss_weights), timestep) * self.timestep_draw.importance(timestep)
        unknown = ops.cast(ops.logical_not(known), "float32")
        share = ops.cast(frames, "float32") * unknown / ops.maximum(ops.sum(unknown, axis=1, keepdims=True), 1.0)
        return inputs, target, (share * weight)[:, :, None, None] * by_sample(sample_weight, batch)

    def _timesteps(self, where: NoiseKey, known: Any, frames: Any) -> tuple[Any, Any]:
        """(timesteps int [batch, frames], bool: frames that are shown clean): one a clip, unless frames differ."""
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

    def _clean(self, clips: Any) -> Any:
        """x_0 of a batch of clips, whose static shape is checked."""
        frames = (self.spec.clip.num_frames, 1, None)  # None: batches of clips and of images in one data set.
        shape = self.spec.clip.frame_shape
        if len(clips.shape) != 5 or clips.shape[1] not in frames or tuple(clips.shape[2:]) != shape:
            expected = ", ".join(map(str, self.spec.clip.shape))
            raise ValueError(
                f"VideoDiffusion: expected clips of shape [batch, {expected}], or images as clips of one frame. "
                f"Received: {list(clips.shape)}"
            )
        if self._has_limits(clips):
            clips = in_range("clips", ops.cast(clips, "float32"), *self.spec.values.limits)
        return self.spec.encode(clips, ops)

    def _has_limits(self, clips: Any) -> bool:
        """Whether clips may be out of range, after a check that they are numbers of the values' kind."""
        dtype = keras.backend.standardize_dtype(clips.dtype)
        if dtype == "uint8" and isinstance(self.spec.values, Pixels):
            return False
        self.spec.values.check_kind("clips", np.empty(0, "float32" if "float" in dtype else dtype))
        return True

    def check_batch(self, data: Any) -> None:
        """Raise ValueError where clips at hand are not in the values' range, or conditions not finite."""
        clips, given, _ = parts_of(data)
        if self._has_limits(clips):
            check_range("clips", clips, *self.spec.values.limits)
        for condition in keras.tree.flatten(given):
            if condition is not None and "float" in keras.backend.standardize_dtype(condition.dtype):
                check_range("conditions", condition)

    # Sampling: see `kvdiff.diffusion.Sampler.infill` for every keyword.

    def generate(self, num_clips: int = 1, **sampling: Any) -> np.ndarray:
        """New clips from noise: float32 [num_clips, frames, height, width, channels]. See `Sampler`."""
        return self.sampler.generate(num_clips, **sampling)

    def predict_frames(self, past: np.ndarray, num_frames: int | None = None, **sampling: Any) -> np.ndarray:
        """The frames after `past`: float32 [batch, num_frames, height, width, channels]. See `Sampler`."""
        return self.sampler.predict_frames(past, num_frames, **sampling)

    def interpolate(
        self, before: np.ndarray, after: np.ndarray, num_frames: int | None = None, **sampling: Any
    ) -> np.ndarray:
        """The frames between two ends: float32 [batch, num_frames, height, width, channels]. See `Sampler`."""
        return self.sampler.interpolate(before, after, num_frames, **sampling)

    def infill(self, clip: np.ndarray, known: np.ndarray, **sampling: Any) -> np.ndarray:
        """`clip` with the frames that are not `known` generated: float32, of its shape. See `Sampler`."""
        return self.sampler.infill(clip, known, **sampling)

    def increase_frame_rate(self, clip: np.ndarray, factor: int, **sampling: Any) -> np.ndarray:
        """`clip` with `factor` - 1 new frames after each but the last. See `Sampler`."""
        return self.sampler.increase_frame_rate(clip, factor, **sampling)

    def rollout(self, num_frames: int, past: np.ndarray | None = None, **sampling: Any) -> np.ndarray:
        """A video of any length, window by window: float32 [batch, num_frames, …]. See `Sampler`."""
        return self.sampler.rollout(num_frames, past, **sampling)

    # Saving.

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Write one call of the denoiser as Keras exports a model: `{"noisy_clip", "noise_label", …}` -> raw output.

        A video takes many calls, and a sampler around them: `export_onnx`, `export_onnx_sampler`, `export_saved_model`
        and `export_litert` of `kvdiff.export` write what samples, and `kvdiff.runtime.open_sampler` runs it.

        Args:
            filepath: where to; it ends in ".tflite" with "litert".
            format: "tf_saved_model", "onnx", "litert", or another of Keras.
            verbose: whether to print what was written.
            input_signature: shapes and types of the inputs; by default what the denoiser takes, with "litert" one clip
                of the training length.
            **kwargs: as in `keras.Model.export`.
        """
        if input_signature is None:
            input_signature = export_signature(self.denoiser, self.spec, format)
        self.denoiser.export(filepath, format, verbose=verbose, input_signature=input_signature, **kwargs)
        if verbose in (None, True):
            print(f"Written: one network call. What samples is written by {EXPORTS.get(format, 'kvdiff.export')}.")

    def get_config(self) -> dict[str, Any]:
        """The spec, the network, and what training alone reads."""
        return {
            **super().get_config(),
            "spec": self.spec.config,
            "denoiser": keras.saving.serialize_keras_object(self.denoiser),
            "condition_dropout": self.condition_dropout,
            "loss_weight": self.loss_weight,
            "timesteps": self.timesteps,
            "learned_variance": self.forward_diffusion.learned_variance,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> VideoDiffusion:
        """Rebuild from `get_config`; files of version 0.1 hold the arguments of the spec one by one."""
        config = dict(config)
        denoiser = config["denoiser"] = keras.saving.deserialize_keras_object(config["denoiser"])
        if "spec" in config:
            spec = ModelSpec.from_config(config.pop("spec"))
            config |= {name: getattr(spec, name) for name in _OF_SPEC} | {"clip_shape": spec.clip}
            if spec.conditions != DenoiserContract.of(denoiser).conditions:  # An attribute, which no file holds.
                denoiser.conditions = dict(spec.conditions)
        elif (known_noise := DenoiserContract.of(denoiser).known_noise) is not None:
            config["known_noise"] = known_noise  # Version 0.1 let a model say another than its denoiser, in vain.
        return cls(**config)


_OF_SPEC = (
    *("values", "codec", "schedule", "prediction"),
    *("known_frames", "known_noise", "independent_noise", "sampling"),
)
"""The constructor's arguments that a spec holds, besides the clip and what the denoiser says."""
