"""The Keras model: train with `fit`, then generate, predict frames and interpolate."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kvdiff.diffusion.checks import check_clip_shape, check_flag
from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.tasks.known_frames import mask_from_config
from kvdiff.diffusion.tasks.mask_kinds import FrameMask
from kvdiff.diffusion.transforms.codec import Codec
from kvdiff.diffusion.transforms.values import PIXELS, Values, values_from_config
from kvdiff.layers.forward_diffusion import ForwardDiffusion
from kvdiff.models.denoiser import EXPORTS, DenoiserContract, export_signature
from kvdiff.models.latent_codec import autoencoder_of, codec_of, with_autoencoder
from kvdiff.models.lora import LowRankTuning, plain_copy
from kvdiff.models.preset_verbs import PresetVerbs
from kvdiff.models.unet3d import UNet3D
from kvdiff.models.verbs import SamplingVerbs
from kvdiff.models.video_autoencoder import VideoAutoencoder
from kvdiff.sampling import KerasEngine
from kvdiff.training.arguments import built, made
from kvdiff.training.data_checks import note_scale
from kvdiff.training.fused_adam import FusedAdam
from kvdiff.training.hybrid_loss import HybridLoss
from kvdiff.training.noising import Noising, parts_of
from kvdiff.training.trainer import DiffusionTrainer

_TO_SAMPLE = (
    "To sample, call generate(num_clips), predict_frames(past), interpolate(before, after) or infill(clip, known); to "
    "train, fit(clips)"
)


@keras.saving.register_keras_serializable(package="kvdiff")
class VideoDiffusion(LowRankTuning, SamplingVerbs, PresetVerbs, DiffusionTrainer):
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
        values: what the numbers of a clip mean: by default `Pixels()`; for physical values `Linear(low, high)`,
            `Log1p`, `Standardised` and others, or what `kvdiff.diffusion.fitted` finds in the training split.
        codec: between clips and the latent clips on which the denoiser works: a `VideoAutoencoder`, copied; or none; by
            default a `Padding` for frames whose size the denoiser does not divide.
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
            the share of clips without any condition, so that `guidance` can push away from the prediction without;
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
        codec: VideoAutoencoder | Codec | Mapping[str, Any] | None = None,
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
        values = built("values", values, lambda: values_from_config(values))
        codec = built("codec", codec, lambda: codec_of(codec, clip, values))
        self.autoencoder = autoencoder_of(codec)  # Saved with the model.
        channels = (clip.frame_shape if codec is None else codec.latent_shape(clip.frame_shape))[-1]
        self.forward_diffusion = ForwardDiffusion(
            made("schedule", NoiseSchedule, schedule or "cosine"),
            made("prediction", Prediction, prediction),
            learned_variance=check_flag("learned_variance", learned_variance),
            name="forward_diffusion",
        )
        outputs = 2 * channels if learned_variance else channels
        if denoiser is None:
            denoiser = UNet3D(channels, out_channels=outputs, known_noise=known_noise)
        self.denoiser, contract = denoiser, DenoiserContract.of(denoiser)
        codec = contract.padding(clip.frame_shape) if codec is None else codec
        shape = clip.frame_shape if codec is None else codec.latent_shape(clip.frame_shape)
        contract.check(shape, outputs, known_noise, self.forward_diffusion.prediction.name, "latent " if codec else "")
        self.spec = ModelSpec(
            clip,
            self.forward_diffusion.schedule,
            self.forward_diffusion.prediction,
            values,
            codec,
            contract.conditions,
            built("known_frames", known_frames, lambda: mask_from_config({} if known_frames is None else known_frames)),
            known_noise,
            independent_noise,
            sampling or {},
        )
        self.noising = Noising(
            self.spec,
            self.forward_diffusion,
            loss_weight=loss_weight,
            timesteps=timesteps,
            condition_dropout=condition_dropout,
            seed=seed,
        )
        self.timestep_draw, self.seed = self.noising.timestep_draw, self.noising.seed
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
        """A clip in the middle of the values' range, which 0 may be out of; conditions that say nothing."""
        shape = self.spec.latent.num_frames, self.spec.condition_frame
        given = {name: condition.default(*shape)[None] for name, condition in self.spec.conditions.items()}
        return self.spec.values.decode(np.zeros((1, *self.spec.clip.shape), np.float32)), given

    def noised(
        self, data: Any, training_step: Any, timestep: Any = None, *, samples: Any = None
    ) -> tuple[dict[str, Any], Any, Any]:
        """The denoiser's inputs, the target and the loss weight of a batch of data: see `Noising`."""
        return self.noising(data, training_step, timestep, samples)

    def check_batch(self, data: Any) -> None:
        """Raise ValueError where clips or conditions at hand are not in the range of theirs, or not finite."""
        self.noising.check_batch(data)

    def note_batch(self, data: Any) -> None:
        """Warn of clips that are far from unit variance where the values have no bounds."""
        clips = parts_of(data)[0]
        if not self.noising.takes_latents(clips):
            note_scale(self.spec.values, clips)

    def in_data(self, inputs: Any, output: Any) -> Any:
        """Without padding and missing numbers: see `Noising`."""
        return self.noising.in_data(inputs, output)

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
        denoiser = self.denoiser if self.lora is None else plain_copy(self.denoiser)
        denoiser.export(filepath, format, verbose=verbose, input_signature=input_signature, **kwargs)
        if verbose in (None, True):
            print(f"Written: one network call. What samples is written by {EXPORTS.get(format, 'kvdiff.export')}.")

    def get_config(self) -> dict[str, Any]:
        """The spec, the network, and what training alone reads."""
        return {
            **super().get_config(),
            "spec": self.spec.config,
            "denoiser": keras.saving.serialize_keras_object(self.denoiser),
            "learned_variance": self.forward_diffusion.learned_variance,
            **({"autoencoder": keras.saving.serialize_keras_object(self.autoencoder)} if self.autoencoder else {}),
            **({} if self.lora is None else {"lora": self.lora}),
            **self.noising.config,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> VideoDiffusion:
        """Rebuild from `get_config`; files of version 0.1 hold the arguments of the spec one by one."""
        config = dict(config)
        denoiser = config["denoiser"] = keras.saving.deserialize_keras_object(config["denoiser"])
        if "spec" in config:
            spec = with_autoencoder(ModelSpec.from_config(config.pop("spec")), config.pop("autoencoder", None))
            config |= {name: getattr(spec, name) for name in _OF_SPEC} | {"clip_shape": spec.clip}
            if spec.conditions != DenoiserContract.of(denoiser).conditions:  # An attribute, which no file holds.
                denoiser.conditions = dict(spec.conditions)
        elif (known_noise := DenoiserContract.of(denoiser).known_noise) is not None:
            config["known_noise"] = known_noise  # Version 0.1 let a model say another than its denoiser, in vain.
        lora = config.pop("lora", None)
        model = cls(**config)
        if lora is not None:
            model.enable_lora(**lora)
        return model


_OF_SPEC = ["values", "codec", "schedule", "prediction", "known_frames", "known_noise", "independent_noise", "sampling"]
"""The constructor's arguments that a spec holds, besides the clip and what the denoiser says."""
