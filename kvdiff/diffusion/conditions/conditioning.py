"""From what a user tells of clips to what a denoiser is fed, with classifier-free guidance, on every runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_real
from kvdiff.diffusion.conditions.guidance import guided, rescaled
from kvdiff.diffusion.conditions.kinds import TOLD, Condition, FrameTimes, LowResolution, noise_input, told_names
from kvdiff.diffusion.process.noise import AUGMENTATION, video_noise

__all__ = ["Conditioning", "answer", "augmented"]


@dataclasses.dataclass(frozen=True, eq=False)
class Conditioning:
    """What the clips of a batch are conditioned on.

    Attributes:
        conditions: the denoiser's conditions by name.
        inputs: what it is fed besides the noisy clip and its labels, each [batch, …].
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
        clip_shape: tuple[int, int, int, int, int],
        *,
        guidance: Any = 1.0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        guidance_rescale: float = 0.0,
        augmentation: float = 0.0,
    ) -> Conditioning:
        """Check what a user gave for clips of `clip_shape` [batch, frames, height, width, channels].

        Conditions that are not given are not told. `augmentation` is the noise label of `LowResolution` clips.
        """
        given = dict(given or {})
        if unknown := sorted(set(given) - set(conditions)):
            raise ValueError(f"`conditions`: expected names among {sorted(conditions)}. Received: {unknown}")
        batch, frames, frame_shape = clip_shape[0], clip_shape[1], clip_shape[2:]
        inputs: dict[str, np.ndarray] = {}
        for name, condition in conditions.items():
            value = given.get(name)
            if value is None:
                value = np.zeros(condition.shape(frames, frame_shape), condition.dtype)
                if isinstance(condition, FrameTimes):
                    value = np.arange(frames)
            inputs[name] = condition.check(f"conditions[{name!r}]", value, batch, frames, frame_shape)
            if isinstance(condition, LowResolution):
                check_real("augmentation", augmentation, above=0.0, below=condition.max_noise, closed=True)
                inputs[noise_input(name)] = np.full(batch, augmentation, np.float32)
        names = told_names(conditions)
        if names:
            inputs[TOLD] = np.tile(np.array([given.get(name) is not None for name in names], np.float32), (batch, 1))
        weight = _check_guidance(guidance, batch)
        if weight is not None and not inputs.get(TOLD, np.zeros(1)).any():
            raise ValueError(f"`guidance`: expected 1 where no condition is given to guide by. Received: {guidance}")
        low, high = guidance_interval
        check_real("guidance_interval", low, above=0.0, below=1.0, closed=True)
        check_real("guidance_interval", high, above=low, below=1.0, closed=True)
        check_real("guidance_rescale", guidance_rescale, above=0.0, below=1.0, closed=True)
        return cls(conditions, inputs, weight, (low, high), guidance_rescale)

    def rows(self, rows: slice) -> Conditioning:
        """Those of some clips of the batch."""
        guidance = None if self.guidance is None else self.guidance[rows]
        return dataclasses.replace(
            self, inputs={name: value[rows] for name, value in self.inputs.items()}, guidance=guidance
        )

    def frames(self, frames: np.ndarray) -> Conditioning:
        """Those of a window: the frames of the video that are numbered `frames`."""
        per_frame = [name for name, condition in self.conditions.items() if condition.per_frame]
        return dataclasses.replace(
            self, inputs={**self.inputs, **{name: self.inputs[name][:, frames] for name in per_frame}}
        )

    def with_noise(self, seed: int, samples: np.ndarray) -> Conditioning:
        """With noise of the label they are said to have added to `LowResolution` clips."""
        noisy = {}
        for number, (name, condition) in enumerate(self.conditions.items()):
            level = self.inputs.get(noise_input(name))
            if isinstance(condition, LowResolution) and level is not None and level.any():
                clip = self.inputs[name]
                noise = video_noise(seed, number, samples, clip.shape[1:], AUGMENTATION)
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


def answer(
    xp: Any,
    denoise: Callable[[Any, Any, Mapping[str, Any]], Any],
    noisy_clip: Any,
    noise_label: Any,
    told: Conditioning,
) -> Any:
    """F, guided where `told` says so: then told and untold clips go through the network as one batch.

    Args:
        xp: `numpy` or `keras.ops`.
        denoise: F(noisy_clip, noise_label, inputs), of a runtime.
        noisy_clip, noise_label, told: what to ask it.
    """
    if told.guidance is None:
        return denoise(noisy_clip, noise_label, told.inputs)
    untold = {**told.inputs, TOLD: xp.zeros_like(told.inputs[TOLD])}
    both = {name: xp.concatenate([value, untold[name]], axis=0) for name, value in told.inputs.items()}
    clip, label = (xp.concatenate([value, value], axis=0) for value in (noisy_clip, noise_label))
    main, guide = xp.split(denoise(clip, label, both), 2, axis=0)
    pushed = guided(main, guide, xp.reshape(told.guidance, (-1, 1, 1, 1, 1)))
    return rescaled(xp, pushed, main, told.rescale)


def _check_guidance(guidance: Any, batch: int) -> np.ndarray | None:
    """float32 [batch], or None where every weight is 1."""
    value = np.asarray(guidance)
    if value.shape not in ((), (batch,)) or not np.issubdtype(value.dtype, np.number):
        raise ValueError(f"`guidance`: expected a number, or one for each of the {batch} clips. Received: {guidance!r}")
    if not (np.isfinite(value).all() and (value >= 0).all()):
        raise ValueError(f"`guidance`: expected finite weights >= 0. Received: {guidance!r}")
    return None if (value == 1).all() else np.broadcast_to(value, (batch,)).astype(np.float32)
