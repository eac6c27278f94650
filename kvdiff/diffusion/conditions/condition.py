"""A condition: what a denoiser may know of a clip besides its known frames.

A condition is a value of a few fields that answers for itself: which array it takes, how training finds it, what the
network reads of it. The network, the samplers and the exported files ask the condition and never what kind it is, so a
new kind is one class in a file of its own, and its entry in `kvdiff.diffusion.conditions.CONDITIONS`.

Every condition but those that are always present may also be *absent*, which classifier-free guidance needs (Ho &
Salimans 2022, arXiv:2207.12598): the denoiser's input `CONDITION_MASK`, float32 [batch, conditions], is 1 where a
condition is present and 0 where it is not.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import check_array
from kvdiff.diffusion.transforms.padding import Padding
from kvdiff.diffusion.transforms.values import Values

CONDITION_MASK = "told"
"""The denoiser's input that says which conditions are present, float32 [batch, conditions]; so named in every file."""

FrameShape = tuple[Any, Any, int]


@dataclasses.dataclass(frozen=True)
class Condition(abc.ABC):
    """One thing that a denoiser may know; the denoiser's input has the name that the user chose for it."""

    name: ClassVar[str]
    dtype: ClassVar[str] = "float32"
    per_frame: ClassVar[bool] = False
    """Whether the array's second axis is frames, so that a window of a long video takes its own."""
    is_always_present: ClassVar[bool] = False
    """Whether there is a value even where nobody named one, so that it cannot be absent."""
    tells_time: ClassVar[bool] = False
    """Whether it says when frames were taken, so that a window may have gaps."""
    tells_missing: ClassVar[bool] = False
    """Whether it says which numbers of the clip are missing, so that clips may hold NaN."""
    is_still: ClassVar[bool] = False
    """Whether its pixels are the same in all frames, so that its array has no axis of frames."""
    has_noise: ClassVar[bool] = False
    """Whether its array carries noise, whose label, float32 [batch], is a further input: see `noise_input`."""
    comes_from_clips: ClassVar[bool] = False
    """Whether training computes the array from the clips where the data has none."""

    @abc.abstractmethod
    def shape(self, frames: Any, frame_shape: FrameShape) -> tuple[Any, ...]:
        """The array's shape but for the batch, for clips of `frames` frames (height, width, channels)."""

    # Values.

    def default(self, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """The array of one clip where the condition is absent."""
        return np.zeros(self.shape(frames, frame_shape), self.dtype)

    def example(self, rng: np.random.Generator, batch: int, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """A random array for a batch, to try a network with."""
        return rng.uniform(-1, 1, (batch, *self.shape(frames, frame_shape)))

    def check(self, name: str, value: Any, batch: int, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """`value` as this condition's array, with a batch axis; one value for all clips is repeated.

        Raises:
            ValueError: wrong shape or range.
            TypeError: wrong kind of number.
        """
        value = check_array(name, value)
        shape = self.shape(frames, frame_shape)
        if value.shape not in (shape, (batch, *shape)):
            one, many = list(shape), [batch, *shape]
            raise ValueError(f"`{name}`: expected shape {many}, or {one} for all clips. Received: {list(value.shape)}")
        self._check_values(name, value)
        return np.broadcast_to(value, (batch, *shape)).astype(self.dtype)

    def _check_values(self, name: str, value: np.ndarray) -> None:
        if not np.issubdtype(value.dtype, np.number) or not np.isfinite(value).all():
            raise ValueError(f"`{name}`: expected finite numbers. Received: dtype {value.dtype}, {extremes(value)}")

    def encoded(self, name: str, value: Any, values: Values) -> Any:
        """The array as the network sees it, where it holds a clip's numbers; raises as `check` does."""
        return value

    def training_value(self, xp: Any, value: Any, x_0: Any, values: Values) -> Any:
        """The array for a training batch: the data's `value`; None where there is none, but `comes_from_clips` x_0.

        A number a clip may come as [batch, 1] too, as Keras' tools shape it.
        """
        value = xp.cast(value, self.dtype)
        is_column = tuple(value.shape[1:]) == (1,) and not self.shape(None, (None, None, 1))
        return xp.reshape(value, (-1,)) if is_column else value

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest number that the array may have, which training looks at."""
        return -np.inf, np.inf

    def in_range(self, xp: Any, value: Any) -> Any:
        """`value` moved to where the network cannot fail on it: a server has no other way to treat a bad row."""
        return value

    def padded(self, xp: Any, value: Any, padding: Padding) -> Any:
        """The array, with a batch axis, for clips that are padded."""
        return value

    # What the network reads of it, with `xp` = `keras.ops`.

    @property
    def pixel_scale(self) -> int:
        """How many times smaller a clip the array is, whose pixels the network sees; 0 where it is no clip."""
        return 0

    def seen(self, xp: Any, pixels: Any) -> Any:
        """Of an array of pixels, what the network sees."""
        return pixels

    @property
    def num_tokens(self) -> int:
        """How many tokens, one a row of the array, the network attends to; 0 where it is no sequence."""
        return 0

    @property
    def num_features(self) -> int:
        """How many numbers `features` has, a clip or a frame: by default those of the array's last axis, or one.

        0 where the network reads nothing but pixels.
        """
        return (1, *self.shape(None, (None, None, 1))[self.per_frame :])[-1]

    def features(self, xp: Any, inputs: Mapping[str, Any], name: str) -> Any:
        """The numbers that a linear map reads, float32 [batch, num_features], or [batch, frames, num_features]."""
        value = xp.cast(inputs[name], "float32")
        return xp.expand_dims(value, -1) if len(value.shape) == 1 + self.per_frame else value

    def embedding(self, xp: Any, inputs: Mapping[str, Any], name: str, weights: Any) -> Any:
        """[batch, frames or 1, units] by the map `weights` [num_features, units]; `name` is that of its input.

        Raises:
            ValueError: `features` of another shape than a subclass says.
        """
        features = self.features(xp, inputs, name)
        if len(features.shape) not in (2, 3) or features.shape[-1] != self.num_features:
            count = self.num_features
            raise ValueError(
                f"condition `{name}`: expected {type(self).__name__}.features of shape [batch, {count}] or "
                f"[batch, frames, {count}], {count} being its `num_features`. Received: {list(features.shape)}"
            )
        vectors = xp.matmul(features, weights)
        return vectors if len(vectors.shape) == 3 else vectors[:, None, :]

    def tokens(self, xp: Any, value: Any, weights: Any) -> tuple[Any, Any]:
        """Of the array of a condition with `num_tokens`: vectors [batch, num_tokens, units], and which tokens count.

        By the map `weights` [num_features, units]. Float32 [batch, num_tokens] is 1 for a token and 0 for padding.
        """
        raise TypeError(f"{type(self).__name__}.tokens: expected a condition that is a sequence. Received: no tokens")

    @property
    def config(self) -> dict[str, Any]:
        """What `condition_from_config` rebuilds this condition from."""
        return {"condition": self.name, **dataclasses.asdict(self)}


def optional_names(conditions: Mapping[str, Condition]) -> list[str]:
    """The names of the conditions that may be absent, in the order of `CONDITION_MASK`'s columns."""
    return [name for name, condition in conditions.items() if not condition.is_always_present]


def names_of(conditions: Mapping[str, Condition], kind: type[Condition]) -> list[str]:
    """The names of the conditions of one kind."""
    return [name for name, condition in conditions.items() if isinstance(condition, kind)]


def noise_input(name: str) -> str:
    """The denoiser's input for the noise label of a condition `name` that has noise, float32 [batch]."""
    return f"{name}_noise"


def extremes(value: np.ndarray) -> str:
    """How a message quotes many numbers."""
    return f"minimum {value.min()}, maximum {value.max()}" if value.size else "nothing"
