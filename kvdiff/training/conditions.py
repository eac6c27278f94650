"""What the denoiser is told in training: the data's conditions, some of them withheld."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from keras import ops

from kvdiff.diffusion.conditions.conditioning import augmented
from kvdiff.diffusion.conditions.kinds import (
    TOLD,
    ClassLabel,
    Condition,
    FrameTimes,
    LowResolution,
    noise_input,
    told_names,
)
from kvdiff.diffusion.process.noise import AUGMENTATION, CONDITION, normal, uniform

NoiseKey = tuple[Any, int, Any, Any]
"""(xp, seed, training step, sample numbers), the first arguments of `kvdiff.diffusion.process.noise.uniform`."""

__all__ = ["NoiseKey", "reduced", "training_conditions"]


def training_conditions(
    conditions: Mapping[str, Condition], given: Any, x_0: Any, where: NoiseKey, dropout: float
) -> dict[str, Any]:
    """The denoiser's inputs for a training batch.

    Args:
        conditions: the denoiser's, by name.
        given: the data's: {name: array [batch, …]}, or the array alone where only one must be given. Low resolution and
            frame times are made where they are not given.
        x_0: the clips, [batch, frames, height, width, channels].
        where: which noise to draw: the first arguments of `kvdiff.diffusion.process.noise.uniform`.
        dropout: the share of clips told nothing; each condition is withheld by itself as often again.
    """
    if not conditions:
        return {}
    given = _named(conditions, given)
    batch, frames = ops.shape(x_0)[:2]
    inputs: dict[str, Any] = {}
    for name, condition in conditions.items():
        if name in given:
            inputs[name] = ops.cast(given[name], condition.dtype)
            if isinstance(condition, ClassLabel):
                inputs[name] = ops.reshape(inputs[name], (-1,))
        elif isinstance(condition, FrameTimes):
            inputs[name] = ops.broadcast_to(ops.arange(frames, dtype="float32")[None, :], (batch, frames))
        elif isinstance(condition, LowResolution):
            inputs[name] = reduced(x_0, condition.scale)
        if isinstance(condition, LowResolution):
            inputs |= _noisy(name, condition, inputs[name], where)
    names = told_names(conditions)
    if names:
        drawn = uniform(*where, 2 + len(names), CONDITION)
        told = ops.logical_and(drawn[:, :1] >= dropout, drawn[:, 2:] >= (dropout if len(names) > 1 else 0.0))
        inputs[TOLD] = ops.cast(told, "float32")
    return inputs


def reduced(clip: Any, scale: int) -> Any:
    """Clips `scale` times smaller, by averaging: [batch, frames, height / scale, width / scale, channels]."""
    batch, frames, height, width, channels = ops.shape(clip)
    cells = ops.reshape(clip, (batch, frames, height // scale, scale, width // scale, scale, channels))
    return ops.mean(cells, axis=(3, 5))


def _named(conditions: Mapping[str, Condition], given: Any) -> dict[str, Any]:
    """The data's conditions by name, complete."""
    needed = [name for name, c in conditions.items() if not isinstance(c, (FrameTimes, LowResolution))]
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        if len(needed) != 1:
            raise ValueError(f"VideoDiffusion: expected (clips, conditions by name), of {needed}. Received: one array")
        given = {needed[0]: given}
    if missing := sorted(set(needed) - set(given)):
        raise ValueError(
            f"VideoDiffusion: expected (clips, {{name: array}}) with the denoiser's conditions {needed}. "
            f"Received: none for {missing}"
        )
    if unknown := sorted(set(given) - set(conditions)):
        raise ValueError(f"VideoDiffusion: expected conditions among {sorted(conditions)}. Received: {unknown}")
    return dict(given)


def _noisy(name: str, condition: LowResolution, clip: Any, where: NoiseKey) -> dict[str, Any]:
    """The small clip at a random noise level, and the level's label."""
    label = condition.max_noise * uniform(*where, 2, CONDITION)[:, 1]
    size = math.prod(clip.shape[2:]) * ops.shape(clip)[1]
    noise = ops.reshape(normal(*where, size, AUGMENTATION), ops.shape(clip))
    return {name: augmented(ops, clip, label, noise), noise_input(name): label}
