"""From the conditions that a user gives to a denoiser's inputs, with classifier-free guidance, on every runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_interval, check_mapping, check_real, optional
from kvdiff.diffusion.conditions.condition import CONDITION_MASK, Condition, noise_input, optional_names
from kvdiff.diffusion.conditions.guidance import guided, rescaled
from kvdiff.diffusion.process.noise import AUGMENTATION, video_noise
from kvdiff.diffusion.transforms.values import PIXELS, Values


@dataclasses.dataclass(frozen=True, eq=False)
class Conditioning:
    """What the clips of a batch are conditioned on.

    Attributes:
        conditions: the denoiser's conditions by name.
        inputs: the denoiser's inputs besides the noisy clip and its labels, each [batch, …].
        guidance: float32 [batch], the weight of classifier-free guidance, or None where it is 1 everywhere.
        interval: the noise labels between which guidance acts; elsewhere its second call is saved.
        rescale: the share of the gain in standard deviation that is undone, in [0, 1].
    """

    conditions: Mapping[str, Condition]
    inputs: Mapping[str, np.ndarray]
    guidance: np.ndarray | None = None
    interval: tuple[float, float] = (0.0, 1.0)
    rescale: float = 0.0

    @classmethod
    def of(
        cls,
        conditions: Mapping[str, Condition],
        given: Mapping[str, Any] | None,
        clip_shape: tuple[int, ...],
        *,
        values: Values = PIXELS,
        guidance: Any = 1.0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        guidance_rescale: float = 0.0,
        augmentation: float = 0.0,
    ) -> Conditioning:
        """Check what a user gave for clips of `clip_shape` [batch, frames, height, width, channels].

        Conditions that are not named are absent. `augmentation` is the noise label of conditions that have noise.
        """
        optional(check_mapping, "conditions", given, wanted="arrays")
        check_real("augmentation", augmentation, above=0.0, below=1.0, closed=True)
        given = {name: value for name, value in (given or {}).items() if value is not None}
        if unknown := sorted(set(given) - set(conditions)):
            raise ValueError(f"`conditions`: expected names among {sorted(conditions)}. Received: {unknown}")
        batch, frames, frame_shape = clip_shape[0], clip_shape[1], (clip_shape[2], clip_shape[3], clip_shape[4])
        inputs: dict[str, np.ndarray] = {}
        for name, condition in conditions.items():
            argument = f"conditions[{name!r}]"
            value = condition.default(frames, frame_shape)
            if name in given:
                value = condition.encoded(argument, given[name], values)
            inputs[name] = condition.check(argument, value, batch, frames, frame_shape)
            if condition.has_noise:
                most = condition.max_noise  # type: ignore[attr-defined]
                check_real("augmentation", augmentation, above=0.0, below=most, closed=True)
                inputs[noise_input(name)] = np.full(batch, augmentation, np.float32)
        if names := optional_names(conditions):
            inputs[CONDITION_MASK] = np.tile(np.array([name in given for name in names], np.float32), (batch, 1))
        weight = _check_guidance(guidance, batch)
        if weight is not None and not inputs.get(CONDITION_MASK, np.zeros(1)).any():
            raise ValueError(f"`guidance`: expected 1 where there is no condition to guide by. Received: {guidance}")
        interval = check_interval("guidance_interval", guidance_interval)
        check_real("guidance_rescale", guidance_rescale, above=0.0, below=1.0, closed=True)
        return cls(conditions, inputs, weight, interval, guidance_rescale)

    def rows(self, rows: np.ndarray) -> Conditioning:
        """Those of some clips of the batch, int [clips]."""
        guidance = None if self.guidance is None else self.guidance[rows]
        inputs = {name: value[rows] for name, value in self.inputs.items()}
        return dataclasses.replace(self, inputs=inputs, guidance=guidance)

    def frames(self, frames: np.ndarray) -> Conditioning:
        """Those of a window: the frames of the video that are numbered `frames`."""
        own = {name: self.inputs[name][:, frames] for name, condition in self.conditions.items() if condition.per_frame}
        return dataclasses.replace(self, inputs={**self.inputs, **own})

    def with_noise(
        self, seed: int, samples: np.ndarray, frames: np.ndarray | None = None, num_frames: int | None = None
    ) -> Conditioning:
        """With noise on the conditions whose label says that they carry some.

        It is drawn for a whole video: of a window, whose `frames` are numbered in one of `num_frames`, its part.
        """
        noisy = {}
        for number, (name, condition) in enumerate(self.conditions.items()):
            level = self.inputs.get(noise_input(name))
            if level is not None and level.any():
                clip = self.inputs[name]
                is_part = frames is not None and num_frames is not None and condition.per_frame
                shape = (num_frames, *clip.shape[2:]) if is_part else clip.shape[1:]
                noise = video_noise(seed, number, samples, shape, AUGMENTATION)
                noise = noise[:, frames] if is_part else noise
                noisy[name] = augmented(np, clip, level, noise)
        return dataclasses.replace(self, inputs={**self.inputs, **noisy})

    def on(self, to_device: Callable[[np.ndarray], Any]) -> Conditioning:
        """With inputs and weights as a runtime's arrays."""
        guidance = None if self.guidance is None else to_device(self.guidance)
        inputs = {name: to_device(value) for name, value in self.inputs.items()}
        return dataclasses.replace(self, inputs=inputs, guidance=guidance)

    def at(self, noise_label: np.ndarray) -> Conditioning:
        """Without guidance, where it does not act on a call whose noisiest frame has this label."""
        low, high = self.interval
        acts = self.guidance is not None and low <= float(np.max(noise_label)) <= high
        return self if acts else dataclasses.replace(self, guidance=None)


def augmented(xp: Any, clip: Any, noise_label: Any, noise: Any) -> Any:
    """`clip` with noise of the level whose label is `noise_label` [batch]: cos(angle) clip + sin(angle) noise."""
    angle = (np.float32(np.pi / 2) * noise_label)[:, None, None, None, None]
    return xp.cos(angle) * clip + xp.sin(angle) * noise


def guided_output(
    xp: Any,
    denoise: Callable[[Any, Any, Mapping[str, Any]], Any],
    noisy_clip: Any,
    noise_label: Any,
    conditioning: Conditioning,
) -> Any:
    """F, guided where `conditioning` says so: clips with and without their conditions go through as one batch.

    Args:
        xp: `numpy` or `keras.ops`.
        denoise: F(noisy_clip, noise_label, inputs), of a runtime.
        noisy_clip, noise_label, conditioning: of the call.
    """
    inputs = conditioning.inputs
    if conditioning.guidance is None:
        return denoise(noisy_clip, noise_label, inputs)
    absent = {**inputs, CONDITION_MASK: xp.zeros_like(inputs[CONDITION_MASK])}
    both = {name: xp.concatenate([value, absent[name]], axis=0) for name, value in inputs.items()}
    clip, label = (xp.concatenate([value, value], axis=0) for value in (noisy_clip, noise_label))
    main, guide = xp.split(denoise(clip, label, both), 2, axis=0)
    pushed = guided(main, guide, xp.reshape(conditioning.guidance, (-1, 1, 1, 1, 1)))
    return rescaled(xp, pushed, main, conditioning.rescale)


def _check_guidance(guidance: Any, batch: int) -> np.ndarray | None:
    """float32 [batch], or None where every weight is 1."""
    value = check_array("guidance", guidance, "a number, or one for each clip")
    if value.shape not in ((), (batch,)) or value.dtype == np.bool_:
        raise ValueError(f"`guidance`: expected a number, or one for each of the {batch} clips. Received: {guidance!r}")
    if not (np.isfinite(value).all() and (value >= 0).all()):
        raise ValueError(f"`guidance`: expected finite weights >= 0. Received: {guidance!r}")
    return None if (value == 1).all() else np.broadcast_to(value, (batch,)).astype(np.float32)
