"""The kinds of conditions: a class, a vector a clip or a frame, when frames were taken, a smaller twin of the clip."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import check_count, check_real, check_words, received
from kvdiff.diffusion.conditions.condition import Condition, FrameShape, extremes, noise_input
from kvdiff.diffusion.limits import MAX_FEATURES
from kvdiff.diffusion.transforms.codec import reduced
from kvdiff.diffusion.transforms.values import Values


@dataclasses.dataclass(frozen=True)
class ClassLabel(Condition):
    """The clip is of one class: int [batch], 0 … num_classes - 1.

    Attributes:
        num_classes: how many there are.
        class_names: what people call them, in their order; or none.
    """

    num_classes: int
    class_names: tuple[str, ...] = ()

    name: ClassVar[str] = "class_label"
    dtype: ClassVar[str] = "int32"

    def __post_init__(self) -> None:
        check_count("num_classes", self.num_classes, at_most=MAX_FEATURES)
        names = check_words("class_names", self.class_names)
        if names and len(set(names)) != self.num_classes:
            raise ValueError(
                f"`class_names`: expected {self.num_classes} different names, or none. Received: {received(names)}"
            )
        object.__setattr__(self, "class_names", names)

    @property
    def config(self) -> dict[str, Any]:
        """Without names where there are none, as earlier versions have it."""
        config = super().config
        return config | {"class_names": list(self.class_names)} if config.pop("class_names") else config

    def check(self, name: str, value: Any, batch: int, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """As of every condition; a class may be said by its name, and all clips' classes by a list of them."""
        if isinstance(value, str):
            value = self._number(name, value)
        elif isinstance(value, (list, tuple)):
            value = [self._number(name, each) if isinstance(each, str) else each for each in value]
        return super().check(name, value, batch, frames, frame_shape)

    def _number(self, name: str, said: str) -> int:
        if said in self.class_names:
            return self.class_names.index(said)
        if said.isdecimal() and int(said) < self.num_classes:
            return int(said)
        names = f"one of {', '.join(self.class_names)}, or " if self.class_names else ""
        raise ValueError(f"`{name}`: expected {names}class labels from 0 to {self.num_classes - 1}. Received: {said!r}")

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
            raise ValueError(f"{wanted}. Received: {extremes(value)}")

    @property
    def limits(self) -> tuple[float, float]:
        """The first and the last class."""
        return 0, self.num_classes - 1

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
            raise ValueError(f"`{name}`: expected values in [{low:g}, {high:g}]. Received: {extremes(value)}")
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


def _waves(xp: Any, value: Any, frequencies: np.ndarray) -> Any:
    angle = xp.expand_dims(xp.cast(value, "float32"), -1) * frequencies.astype(np.float32)
    return xp.concatenate([xp.sin(angle), xp.cos(angle)], axis=-1)
