"""`ModelSpec`: everything that a model is but its weights, as one value that every file of a model holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import built_from, check_count, check_kind, check_mapping, check_real, optional
from kvdiff.diffusion.conditions import CONDITIONS, condition_from_config
from kvdiff.diffusion.conditions.condition import Condition
from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.tasks.known_frames import mask_from_config
from kvdiff.diffusion.tasks.mask_kinds import FrameMask
from kvdiff.diffusion.tasks.masks import TASKS
from kvdiff.diffusion.transforms.clamps import Bounds
from kvdiff.diffusion.transforms.codec import Codec, check_codec, codec_from_config
from kvdiff.diffusion.transforms.padding import Padding
from kvdiff.diffusion.transforms.value_kinds import as_float32
from kvdiff.diffusion.transforms.values import PIXELS, Values, values_from_config

FORMAT_VERSION = 1
"""Of `ModelSpec.config`. A reader takes it and older ones; fields that those lack have the default below."""
MAX_KNOWN_NOISE = 0.99
"""The highest noise label of known frames: of pure noise nothing is known."""


@dataclasses.dataclass(frozen=True, eq=False)
class ModelSpec:
    """What a denoiser was trained for, and how it is sampled: all that a sampler needs besides the network.

    Attributes:
        clip: the clips of users: their shape, the names of channels, the clock.
        schedule: the noise levels of training.
        prediction: what the denoiser predicts.
        values: what the numbers of a clip mean.
        codec: between clips and the latent clips on which the denoiser works; None where it works on the clips.
        conditions: what the denoiser may know besides known frames, by name.
        known_frames: the distribution of known frames in training; None where a file does not say.
        known_noise: the highest noise label at which training showed known frames; 0 is clean, None is not said.
        independent_noise: the share of training clips whose frames had noise levels of their own; None is not said.
        sampling: the model's own defaults of sampling by task, e.g. `{"predict": {"num_steps": 5, "at_a_time": 1}}`.
    """

    clip: ClipSpec
    schedule: NoiseSchedule
    prediction: Prediction
    values: Values = PIXELS
    codec: Codec | None = None
    conditions: Mapping[str, Condition] = dataclasses.field(default_factory=dict)
    known_frames: FrameMask | None = None
    known_noise: float | None = None
    independent_noise: float | None = None
    sampling: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        kinds = {"clip": ClipSpec, "schedule": NoiseSchedule, "prediction": Prediction, "values": Values}
        for name, kind in kinds.items():
            check_kind(name, getattr(self, name), kind)
        self.values.by_channel(self.clip.channels)
        if self.codec is not None:
            check_codec(self.codec)
        check_mapping("conditions", self.conditions, Condition, "conditions")
        for name, condition in self.conditions.items():
            if CONDITIONS.get(getattr(condition, "name", "")) is not type(condition):
                raise ValueError(
                    f"`conditions`: expected kinds that stand in `kvdiff.diffusion.conditions.CONDITIONS` under their "
                    f"`name`, or a saved model would not open. Received: {name!r}, a {type(condition).__name__}"
                )
        optional(check_kind, "known_frames", self.known_frames, FrameMask)
        check_mapping("sampling", self.sampling, Mapping, "arguments, one for each task,")
        optional(check_real, "known_noise", self.known_noise, above=0.0, below=MAX_KNOWN_NOISE, closed=True)
        optional(check_real, "independent_noise", self.independent_noise, above=0.0, below=1.0, closed=True)
        if unknown := sorted(set(self.sampling) - set(TASKS)):
            raise ValueError(f"`sampling`: expected tasks among {list(TASKS)}. Received: {unknown}")
        most = 1 if isinstance(self.codec, Padding) else 0  # Padded pixels are pixels still.
        latent = self.codec is not None and [name for name, c in self.conditions.items() if c.pixel_scale > most]
        if latent:
            raise ValueError(f"`codec`: expected none with conditions that are clips. Received: one, and {latent}")
        if sum(condition.tells_missing for condition in self.conditions.values()) > 1:
            raise ValueError(f"`conditions`: expected at most one Observed(). Received: {sorted(self.conditions)}")

    def with_codec(self, codec: Codec | None) -> ModelSpec:
        """This spec with another codec, e.g. its own with weights."""
        return dataclasses.replace(self, codec=codec)

    @property
    def latent(self) -> ClipSpec:
        """The clips on which the denoiser works: those of `clip`, or with a codec their latent clips."""
        if self.codec is None:
            return self.clip
        height, width, channels = self.codec.latent_shape(self.clip.frame_shape)
        return ClipSpec(self.clip.num_frames, height, width, channels)

    @property
    def condition_frame(self) -> tuple[int, int, int]:
        """The shape of a frame by which users' arrays of conditions go: a latent one, but for padding."""
        return (self.clip if isinstance(self.codec, Padding) else self.latent).frame_shape

    @property
    def bounds(self) -> Bounds:
        """To which the predicted x_0 is clamped."""
        return self.values.bounds if self.codec is None or self.values.bounds is None else self.codec.bounds

    def checked(self, argument: str, clip: Any) -> np.ndarray:
        """A user's clips as float32 numbers [batch, frames, height, width, channels]; raises what `Values` does."""
        return self.values.checked(argument, clip, self.clip.frame_shape, missing=self.missing is not None)

    @property
    def missing(self) -> str | None:
        """The condition by which the denoiser knows what is missing; None where clips must be whole."""
        return next((name for name, condition in self.conditions.items() if condition.tells_missing), None)

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """x_0, as the denoiser sees it, from the numbers of clips; 0 where one is missing."""
        if self.missing is None or "float" not in str(clip.dtype):
            x_0 = self.values.encode(clip, xp)
        else:
            gone = xp.isnan(clip)
            x_0 = self.values.encode(self.filled(clip, xp), xp)
            x_0 = xp.where(gone, xp.zeros_like(x_0), x_0)
        return x_0 if self.codec is None else self.codec.encode(x_0, xp)

    def filled(self, clip: Any, xp: Any = np) -> Any:
        """The numbers of floating point clips, with those whose x_0 is 0 in place of NaN."""
        neutral = self.values.decode(np.zeros((1, 1, 1, 1, self.clip.channels), np.float32))
        return xp.where(xp.isnan(clip), neutral, as_float32(xp, clip))

    def padded(self, xp: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """A denoiser's inputs of conditions, for its latent clips, from those for clips."""
        if not isinstance(self.codec, Padding):
            return dict(inputs)
        own = {name: c.padded(xp, inputs[name], self.codec) for name, c in self.conditions.items() if name in inputs}
        return {**inputs, **own}

    def decode(self, x_0: Any, xp: Any = np) -> Any:
        """The numbers of clips from x_0."""
        if self.codec is not None:
            x_0 = self.codec.decode(x_0, xp)
            x_0 = x_0 if self.values.bounds is None else xp.clip(x_0, *self.values.bounds)
        return self.values.decode(x_0, xp)

    @property
    def config(self) -> dict[str, Any]:
        """What JSON holds of the spec, and `from_config` rebuilds it from. What is not said is left out."""
        config: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "clip": self.clip.config,
            "values": self.values.config,
            "codec": None if self.codec is None else dict(self.codec.config),
            "schedule": dict(self.schedule.config),
            "prediction": self.prediction.config,
            "conditions": {name: condition.config for name, condition in self.conditions.items()},
            "known_frames": None if self.known_frames is None else self.known_frames.config,
            "known_noise": self.known_noise,
            "independent_noise": self.independent_noise,
            "sampling": {task: dict(defaults) for task, defaults in self.sampling.items()},
        }
        return {name: value for name, value in config.items() if value not in (None, {})}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelSpec:
        """Rebuild from `config`, of this version or an older one.

        Raises:
            KeyError: a field that is missing.
            TypeError, ValueError: one that is not what it should be.
        """
        check_mapping("config", config)
        conditions = check_mapping("conditions", config.get("conditions", {}))
        version = check_count("format_version", config.get("format_version", 1))
        if version > FORMAT_VERSION:
            raise ValueError(f"`format_version`: expected at most {FORMAT_VERSION}; a newer kvdiff wrote {version}")
        return cls(
            clip=built_from("clip", config["clip"], ClipSpec),
            schedule=NoiseSchedule.from_config(config["schedule"]),
            prediction=Prediction.from_config(config["prediction"]),
            values=values_from_config(config.get("values", PIXELS)),
            codec=codec_from_config(config.get("codec")),
            conditions={name: condition_from_config(c) for name, c in conditions.items()},
            known_frames=None if config.get("known_frames") is None else mask_from_config(config["known_frames"]),
            known_noise=config.get("known_noise"),
            independent_noise=config.get("independent_noise"),
            sampling=config.get("sampling", {}),
        )
