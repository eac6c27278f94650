"""The denoiser's inputs in training: the data's conditions, some of them left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

from kvdiff.diffusion.conditions.condition import CONDITION_MASK, Condition, noise_input, optional_names
from kvdiff.diffusion.conditions.conditioning import augmented
from kvdiff.diffusion.process.noise import AUGMENTATION, CONDITION, normal, uniform
from kvdiff.diffusion.transforms.values import Values

NoiseKey = tuple[Any, int, Any, Any]
"""(xp, seed, training step, sample numbers), the first arguments of `kvdiff.diffusion.process.noise.uniform`."""


def training_conditions(
    conditions: Mapping[str, Condition], given: Any, x_0: Any, where: NoiseKey, dropout: float, values: Values
) -> dict[str, Any]:
    """The denoiser's inputs for a training batch.

    Args:
        conditions: the denoiser's, by name.
        given: the data's: {name: array [batch, …]}, or the array alone where only one is needed. Conditions that
            come from clips may be left out.
        x_0: the clips, [batch, frames, height, width, channels].
        where: which noise to draw.
        dropout: the share of clips without any condition; each is left out by itself as often again.
        values: of the clips, and of conditions that are clips.
    """
    if not conditions:
        return {}
    given = by_name(conditions, given)
    inputs: dict[str, Any] = {}
    for name, condition in conditions.items():
        inputs[name] = condition.training_value(ops, given.get(name), x_0, values)
        _check_shape(name, inputs[name].shape, (x_0.shape[0], *condition.shape(x_0.shape[1], tuple(x_0.shape[2:]))))
        if condition.has_noise:
            inputs |= _noisy(name, condition, inputs[name], where)
    if names := optional_names(conditions):
        drawn = uniform(*where, 2 + len(names), CONDITION)
        present = ops.logical_and(drawn[:, :1] >= dropout, drawn[:, 2:] >= (dropout if len(names) > 1 else 0.0))
        inputs[CONDITION_MASK] = ops.cast(present, "float32")
    return inputs


def by_name(conditions: Mapping[str, Condition], given: Any) -> dict[str, Any]:
    """The data's conditions by name, complete."""
    needed = [name for name, condition in conditions.items() if not condition.comes_from_clips]
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


def _check_shape(name: str, shape: Sequence[int | None], expected: Sequence[int | None]) -> None:
    """Raise ValueError where a condition's array has another static shape; None is not known yet."""
    sizes = zip(shape, expected, strict=False)
    if len(shape) != len(expected) or any(None not in pair and pair[0] != pair[1] for pair in sizes):
        wanted = ", ".join("batch" if axis == 0 else str(size) for axis, size in enumerate(expected))
        raise ValueError(f"condition `{name}`: expected shape [{wanted}]. Received: {list(shape)}")


def _noisy(name: str, condition: Any, clip: Any, where: NoiseKey) -> dict[str, Any]:
    """The condition's clip at a random noise level, and the level's label."""
    label = condition.max_noise * uniform(*where, 2, CONDITION)[:, 1]
    size = math.prod(clip.shape[2:]) * ops.shape(clip)[1]
    noise = ops.reshape(normal(*where, size, AUGMENTATION), ops.shape(clip))
    return {name: augmented(ops, clip, label, noise), noise_input(name): label}
