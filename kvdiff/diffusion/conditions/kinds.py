"""What a denoiser may know of a clip besides its known frames: a class, a vector, an action a frame, a smaller twin.

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

from kvdiff.diffusion.checks import check_array, check_count, check_real
from kvdiff.diffusion.limits import MAX_FEATURES
from kvdiff.diffusion.transforms.codec import reduced
from kvdiff.diffusion.transforms.values import Values

__all__ = [
    "CONDITION_MASK",
    "ClassLabel",
    "ClipVector",
    "Condition",
    "FrameTimes",
    "FrameVectors",
    "LowResolution",
    "names_of",
    "noise_input",
    "optional_names",
]

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
    """Whether there is a value even where nobody gave one, so that it cannot be absent."""
    tells_time: ClassVar[bool] = False
    """Whether it says when frames were taken, so that a window may have gaps."""
    has_noise: ClassVar[bool] = False
    """Whether its array carries noise, whose label, float32 [batch], is a further input: see `noise_input`."""
    comes_from_clips: ClassVar[bool] = False
    """Whether training computes the array from the clips where the data has none."""

    @abc.abstractmethod
    def shape(self, frames: Any, frame_shape: FrameShape) -> tuple[Any, ...]:
        """The array's shape but for the batch, for clips of `frames` frames (height, width, channels)."""

    # Values.

    def default(self, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """The array of one clip where the condition is not given."""
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
            raise ValueError(f"`{name}`: expected finite numbers. Received: dtype {value.dtype}, {_extremes(value)}")

    def encoded(self, name: str, value: Any, values: Values) -> Any:
        """The array as the network sees it, where it holds a clip's numbers; raises as `check` does."""
        return value

    def training_value(self, xp: Any, value: Any, x_0: Any, values: Values) -> Any:
        """The array for a training batch: the data's `value`; None where there is none, but `comes_from_clips` x_0."""
        return xp.cast(value, self.dtype)

    def in_range(self, xp: Any, value: Any) -> Any:
        """`value` moved to where the network cannot fail on it: a server has no other way to treat a bad row."""
        return value

    # What the network reads of it, with `xp` = `keras.ops`.

    @property
    def pixel_scale(self) -> int:
        """How many times smaller a clip the array is, whose pixels the network sees; 0 where it is no clip."""
        return 0

    @property
    def num_features(self) -> int:
        """How many rows the map of `embedding` has."""
        raise NotImplementedError

    def features(self, xp: Any, inputs: Mapping[str, Any], name: str) -> Any:
        """The numbers that a linear map reads, float32 [batch, num_features], or [batch, frames, num_features]."""
        return xp.cast(inputs[name], "float32")

    def embedding(self, xp: Any, inputs: Mapping[str, Any], name: str, weights: Any) -> Any:
        """[batch, frames or 1, units] by the map `weights` [num_features, units]; `name` is that of its input."""
        vectors = xp.matmul(self.features(xp, inputs, name), weights)
        return vectors if len(vectors.shape) == 3 else vectors[:, None, :]

    @property
    def config(self) -> dict[str, Any]:
        """What `condition_from_config` rebuilds this condition from."""
        return {"condition": self.name, **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class ClassLabel(Condition):
    """The clip is of one class: int [batch], 0 … num_classes - 1."""

    num_classes: int

    name: ClassVar[str] = "class_label"
    dtype: ClassVar[str] = "int32"

    def __post_init__(self) -> None:
        check_count("num_classes", self.num_classes, at_most=MAX_FEATURES)

    def shape(self, frames: Any, frame_shape: FrameShape) -> tuple[Any, ...]:
        """A number a clip."""
        return ()

    def example(self, rng: np.random.Generator, batch: int, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """Any classes."""
        return rng.integers(0, self.num_classes, batch)

    def _check_values(self, name: str, value: np.ndarray) -> None:
        wanted = f"`{name}`: expected class labels from 0 to {self.num_classes - 1}"
        if not np.issubdtype(value.dtype, np.integer):
            raise TypeError(f"{wanted}. Received: dtype {value.dtype}")
        if value.min() < 0 or value.max() >= self.num_classes:
            raise ValueError(f"{wanted}. Received: {_extremes(value)}")

    def training_value(self, xp: Any, value: Any, x_0: Any, values: Values) -> Any:
        """The data's labels, [batch] or [batch, 1]."""
        return xp.reshape(xp.cast(value, self.dtype), (-1,))

    def in_range(self, xp: Any, value: Any) -> Any:
        """The nearest class: a row of no class would be an error for every row of the batch."""
        return xp.clip(value, 0, self.num_classes - 1)

    @property
    def num_features(self) -> int:
        """A vector a class."""
        return self.num_classes

    def embedding(self, xp: Any, inputs: Mapping[str, Any], name: str, weights: Any) -> Any:
        """The class's row of `weights`."""
        return xp.take(weights, inputs[name], axis=0)[:, None, :]


@dataclasses.dataclass(frozen=True)
class ClipVector(Condition):
    """A vector that describes the whole clip, e.g. an embedding of a text from elsewhere: float [batch, size]."""

    size: int

    name: ClassVar[str] = "clip_vector"

    def __post_init__(self) -> None:
        check_count("size", self.size, at_most=MAX_FEATURES)

    def shape(self, frames: Any, frame_shape: FrameShape) -> tuple[Any, ...]:
        """A vector a clip."""
        return (self.size,)

    @property
    def num_features(self) -> int:
        """The vector's."""
        return self.size


@dataclasses.dataclass(frozen=True)
class FrameVectors(Condition):
    """A vector a frame, e.g. the action that leads to it or a camera's pose: float [batch, frames, size]."""

    size: int

    name: ClassVar[str] = "frame_vectors"
    per_frame: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("size", self.size, at_most=MAX_FEATURES)

    def shape(self, frames: Any, frame_shape: FrameShape) -> tuple[Any, ...]:
        """A vector a frame."""
        return (frames, self.size)

    @property
    def num_features(self) -> int:
        """The vectors'."""
        return self.size


@dataclasses.dataclass(frozen=True)
class FrameTimes(Condition):
    """When each frame was taken, in frames of the original video: float [batch, frames].

    For a network that is to see frames far apart, as hierarchical plans show it. Plans fill it in; where nothing is
    given the frames are neighbours: 0, 1, 2, … Only differences count. Always present.
    """

    name: ClassVar[str] = "frame_times"
    per_frame: ClassVar[bool] = True
    is_always_present: ClassVar[bool] = True
    comes_from_clips: ClassVar[bool] = True
    tells_time: ClassVar[bool] = True

    def shape(self, frames: Any, frame_shape: FrameShape) -> tuple[Any, ...]:
        """A number a frame."""
        return (frames,)

    def default(self, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """Neighbouring frames."""
        return np.arange(frames, dtype=self.dtype)

    def example(self, rng: np.random.Generator, batch: int, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """Neighbouring frames."""
        return np.tile(np.arange(frames), (batch, 1))

    def training_value(self, xp: Any, value: Any, x_0: Any, values: Values) -> Any:
        """The data's times, else those of neighbouring frames."""
        if value is not None:
            return xp.cast(value, self.dtype)
        batch, frames = xp.shape(x_0)[:2]
        return xp.broadcast_to(xp.arange(frames, dtype="float32")[None, :], (batch, frames))

    @property
    def num_features(self) -> int:
        """Sines and cosines."""
        return 2 * _TIME_WAVES

    def features(self, xp: Any, inputs: Mapping[str, Any], name: str) -> Any:
        """Waves of the distance from the clip's first frame, of angular frequencies 1 … 1/512."""
        times = xp.cast(inputs[name], "float32")
        return _waves(xp, times - times[:, :1], 2.0 ** -np.arange(_TIME_WAVES))


@dataclasses.dataclass(frozen=True)
class LowResolution(Condition):
    """The same clip, `scale` times smaller: [batch, frames, height / scale, width / scale, channels], in its numbers.

    For super-resolution. Training computes it from the clip itself by averaging, and adds noise of a random level, so
    that a cascade forgives the flaws of its own small clips (Ho et al. 2021, arXiv:2106.15282, section 4.2). The
    denoiser knows the level by a further input, see `noise_input`.

    Attributes:
        scale: how many times larger height and width become.
        max_noise: the highest noise label, 0 (clean) to below 1 (pure noise), that training adds.
    """

    scale: int = 2
    max_noise: float = 0.3

    name: ClassVar[str] = "low_resolution"
    per_frame: ClassVar[bool] = True
    comes_from_clips: ClassVar[bool] = True
    has_noise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("scale", self.scale, at_least=2, at_most=MAX_FEATURES)
        check_real("max_noise", self.max_noise, above=0.0, below=0.99, closed=True)

    @property
    def pixel_scale(self) -> int:
        """`scale`."""
        return self.scale

    def shape(self, frames: Any, frame_shape: FrameShape) -> tuple[Any, ...]:
        """A smaller clip."""
        height, width, channels = frame_shape
        return (frames, height // self.scale if height else height, width // self.scale if width else width, channels)

    def encoded(self, name: str, value: Any, values: Values) -> Any:
        """By the values of the clip, whose twin it is."""
        value = np.asarray(value)
        x_0 = values.encode(value)
        if values.bounds is not None and np.abs(x_0).max(initial=0.0) > 1.0001:
            low, high = values.limits
            raise ValueError(f"`{name}`: expected values in [{low:g}, {high:g}]. Received: {_extremes(value)}")
        return x_0

    def training_value(self, xp: Any, value: Any, x_0: Any, values: Values) -> Any:
        """The data's small clips, else the clips' own by averaging."""
        return reduced(x_0, self.scale, xp) if value is None else values.encode(value, xp)

    @property
    def num_features(self) -> int:
        """Sines and cosines."""
        return 2 * _LEVEL_WAVES

    def features(self, xp: Any, inputs: Mapping[str, Any], name: str) -> Any:
        """Waves of the label of its noise, of angular frequencies pi … 8 pi; its pixels go to the network otherwise."""
        return _waves(xp, inputs[noise_input(name)], np.pi * np.arange(1, _LEVEL_WAVES + 1))


_LEVEL_WAVES = 8
_TIME_WAVES = 10


def optional_names(conditions: Mapping[str, Condition]) -> list[str]:
    """The names of the conditions that may be absent, in the order of `CONDITION_MASK`'s columns."""
    return [name for name, condition in conditions.items() if not condition.is_always_present]


def names_of(conditions: Mapping[str, Condition], kind: type[Condition]) -> list[str]:
    """The names of the conditions of one kind."""
    return [name for name, condition in conditions.items() if isinstance(condition, kind)]


def noise_input(name: str) -> str:
    """The denoiser's input for the noise label of a condition `name` that has noise, float32 [batch]."""
    return f"{name}_noise"


def _waves(xp: Any, value: Any, frequencies: np.ndarray) -> Any:
    angle = xp.expand_dims(xp.cast(value, "float32"), -1) * frequencies.astype(np.float32)
    return xp.concatenate([xp.sin(angle), xp.cos(angle)], axis=-1)


def _extremes(value: np.ndarray) -> str:
    return f"minimum {value.min()}, maximum {value.max()}" if value.size else "nothing"
