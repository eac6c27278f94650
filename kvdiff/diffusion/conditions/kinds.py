"""What a denoiser may be told of a clip besides its known frames: a class, a vector, an action a frame, a small twin.

A condition is a value of a few fields that says which array it takes; the network, the samplers and the exported files
all read it from here. Every condition but `FrameTimes` may also be *not told*, which classifier-free guidance needs
(Ho & Salimans 2022, arXiv:2207.12598): the denoiser's input `told`, float32 [batch, conditions], is 1 or 0.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import check_count, check_real

__all__ = [
    "CONDITIONS",
    "TOLD",
    "ClassLabel",
    "ClipVector",
    "Condition",
    "FrameTimes",
    "FrameVectors",
    "LowResolution",
    "condition_from_config",
    "noise_input",
    "told_names",
]

TOLD = "told"
"""The denoiser's input that says which conditions count, float32 [batch, conditions]."""


@dataclasses.dataclass(frozen=True)
class Condition(abc.ABC):
    """One thing that a denoiser may be told; the denoiser's input has the name that the user gave it."""

    name: ClassVar[str]
    dtype: ClassVar[str] = "float32"
    per_frame: ClassVar[bool] = False
    """Whether the array's second axis is frames, so that a window of a long video takes its own."""

    @abc.abstractmethod
    def shape(self, frames: Any, frame_shape: tuple[Any, Any, int]) -> tuple[Any, ...]:
        """The array's shape but for the batch, for clips of `frames` frames (height, width, channels)."""

    def check(self, name: str, value: Any, batch: int, frames: int, frame_shape: tuple[int, int, int]) -> np.ndarray:
        """`value` as this condition's array, with a batch axis; one value for all clips is repeated.

        Raises:
            ValueError: wrong shape or range.
            TypeError: wrong kind of number.
        """
        value = np.asarray(value)
        shape = self.shape(frames, frame_shape)
        if value.shape not in (shape, (batch, *shape)):
            one, many = list(shape), [batch, *shape]
            raise ValueError(f"`{name}`: expected shape {many}, or {one} for all clips. Received: {list(value.shape)}")
        self._check_values(name, value)
        return np.broadcast_to(value, (batch, *shape)).astype(self.dtype)

    def _check_values(self, name: str, value: np.ndarray) -> None:
        if not np.issubdtype(value.dtype, np.number) or not np.isfinite(value).all():
            raise ValueError(f"`{name}`: expected finite numbers. Received: dtype {value.dtype}, {_extremes(value)}")

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
        check_count("num_classes", self.num_classes)

    def shape(self, frames: Any, frame_shape: tuple[Any, Any, int]) -> tuple[Any, ...]:
        """A number a clip."""
        return ()

    def _check_values(self, name: str, value: np.ndarray) -> None:
        wanted = f"`{name}`: expected class labels from 0 to {self.num_classes - 1}"
        if not np.issubdtype(value.dtype, np.integer):
            raise TypeError(f"{wanted}. Received: dtype {value.dtype}")
        if value.min() < 0 or value.max() >= self.num_classes:
            raise ValueError(f"{wanted}. Received: {_extremes(value)}")


@dataclasses.dataclass(frozen=True)
class ClipVector(Condition):
    """A vector that describes the whole clip, e.g. an embedding of a text made elsewhere: float [batch, size]."""

    size: int

    name: ClassVar[str] = "clip_vector"

    def __post_init__(self) -> None:
        check_count("size", self.size)

    def shape(self, frames: Any, frame_shape: tuple[Any, Any, int]) -> tuple[Any, ...]:
        """A vector a clip."""
        return (self.size,)


@dataclasses.dataclass(frozen=True)
class FrameVectors(Condition):
    """A vector a frame, e.g. the action that leads to it or a camera's pose: float [batch, frames, size]."""

    size: int

    name: ClassVar[str] = "frame_vectors"
    per_frame: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("size", self.size)

    def shape(self, frames: Any, frame_shape: tuple[Any, Any, int]) -> tuple[Any, ...]:
        """A vector a frame."""
        return (frames, self.size)


@dataclasses.dataclass(frozen=True)
class FrameTimes(Condition):
    """When each frame was taken, in frames of the original video: float [batch, frames].

    For a network that is to see frames far apart, as hierarchical plans show it. Plans fill it in; where nothing is
    given the frames are neighbours: 0, 1, 2, … Only differences count. Always told.
    """

    name: ClassVar[str] = "frame_times"
    per_frame: ClassVar[bool] = True

    def shape(self, frames: Any, frame_shape: tuple[Any, Any, int]) -> tuple[Any, ...]:
        """A number a frame."""
        return (frames,)


@dataclasses.dataclass(frozen=True)
class LowResolution(Condition):
    """The same clip, `scale` times smaller: float [batch, frames, height / scale, width / scale, channels], in [-1, 1].

    For super-resolution. Training makes it from the clip itself by averaging, and adds noise of a random level, so that
    a cascade forgives the flaws of its own small clips (Ho et al. 2021, arXiv:2106.15282, section 4.2). The denoiser is
    told the level by a further input, see `noise_input`.

    Attributes:
        scale: how many times larger height and width become.
        max_noise: the highest noise label, 0 (clean) to below 1 (pure noise), that training adds.
    """

    scale: int = 2
    max_noise: float = 0.3

    name: ClassVar[str] = "low_resolution"
    per_frame: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("scale", self.scale, at_least=2)
        check_real("max_noise", self.max_noise, above=0.0, below=0.99, closed=True)

    def shape(self, frames: Any, frame_shape: tuple[Any, Any, int]) -> tuple[Any, ...]:
        """A smaller clip."""
        height, width, channels = frame_shape
        return (frames, height // self.scale if height else height, width // self.scale if width else width, channels)

    def _check_values(self, name: str, value: np.ndarray) -> None:
        super()._check_values(name, value)
        if np.abs(value).max() > 1.0001:
            raise ValueError(f"`{name}`: expected values in [-1, 1]. Received: {_extremes(value)}")


CONDITIONS: dict[str, type[Condition]] = {
    kind.name: kind for kind in (ClassLabel, ClipVector, FrameVectors, FrameTimes, LowResolution)
}


def condition_from_config(config: Mapping[str, Any] | Condition) -> Condition:
    """A condition from its `config`."""
    if isinstance(config, Condition):
        return config
    arguments = dict(config)
    kind = arguments.pop("condition", None)
    if kind not in CONDITIONS:
        raise ValueError(f"`condition`: expected one of {sorted(CONDITIONS)}. Received: {kind!r}")
    return CONDITIONS[kind](**arguments)


def told_names(conditions: Mapping[str, Condition]) -> list[str]:
    """The names of the conditions that may be untold, in the order of `told`'s columns."""
    return [name for name, condition in conditions.items() if not isinstance(condition, FrameTimes)]


def noise_input(name: str) -> str:
    """The denoiser's input for the noise label of the `LowResolution` condition `name`, float32 [batch]."""
    return f"{name}_noise"


def _extremes(value: np.ndarray) -> str:
    return f"minimum {value.min()}, maximum {value.max()}" if value.size else "nothing"
