"""What a condition says of each frame of a stream: an array of all of them, or values that are asked for one by one."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_mapping, optional, received
from kvdiff.diffusion.conditions.condition import Condition, names_of
from kvdiff.diffusion.conditions.kinds import FrameVectors
from kvdiff.diffusion.sampling.missing import observed_mask
from kvdiff.diffusion.spec import ModelSpec

_END = object()


@dataclasses.dataclass(eq=False)
class FrameValues:
    """The values of a condition a frame.

    Attributes:
        argument: what an error calls them.
        condition: of which they are.
        frame_shape: (height, width, channels) by which the condition goes.
        values: those that are there, [batch, frames, …].
        more: where further ones come from, one frame's after the other; None where there are no others.
        first: the number of the first frame of `values`.
    """

    argument: str
    condition: Condition
    frame_shape: tuple[int, int, int]
    values: np.ndarray
    more: Iterator[Any] | None = None
    first: int = 0

    @property
    def end(self) -> int:
        """The number of the first frame that has no value yet."""
        return self.first + self.values.shape[1]

    def until(self, end: int) -> int:
        """Ask for values up to those of the frame before `end`; returns `self.end`, less where there are no more."""
        while self.end < end and (value := next(self.more or iter(()), _END)) is not _END:
            self.values = np.concatenate([self.values, self._checked(value)], axis=1)
        return self.end

    def of(self, frames: np.ndarray) -> np.ndarray:
        """Those of the frames with these numbers, [batch, frames, …]."""
        return self.values[:, frames - self.first]

    def drop(self, before: int) -> None:
        """Forget those of the frames before that number."""
        self.values, self.first = self.values[:, max(before - self.first, 0) :], max(before, self.first)

    def _checked(self, value: Any) -> np.ndarray:
        """A frame's value as [batch, 1, …]."""
        argument, batch = f"{self.argument} of frame {self.end}", len(self.values)
        value, shape = check_array(argument, value), self.condition.shape(1, self.frame_shape)[1:]
        if value.shape not in (shape, (batch, *shape)):
            one, many = list(shape), [batch, *shape]
            raise ValueError(f"`{argument}`: expected shape {one}, or {many} for each clip. Received: {[*value.shape]}")
        value = value[None] if value.shape == shape else value[:, None]
        return self.condition.check(argument, value, batch, 1, self.frame_shape)


def with_actions(spec: ModelSpec, conditions: Mapping[str, Any] | None, actions: Any) -> dict[str, Any]:
    """The conditions of a call, `actions` among them under the name of the model's one vector a frame."""
    given = dict(optional(check_mapping, "conditions", conditions, wanted="arrays") or {})
    given = {name: value for name, value in given.items() if value is not None}
    if actions is None:
        return given
    names = names_of(spec.conditions, FrameVectors)
    if len(names) != 1:
        raise ValueError(
            "`actions`: expected a model with one condition FrameVectors; others go by name, in `conditions`. "
            f"Received: one with {sorted(spec.conditions) or 'none'}"
        )
    if names[0] in given:
        raise ValueError(f"`actions`: expected no conditions[{names[0]!r}] beside them. Received: both")
    return {**given, names[0]: actions}


def frame_values(
    spec: ModelSpec, given: Mapping[str, Any], past: np.ndarray, num_frames: int | None
) -> dict[str, FrameValues]:
    """By name the values of each condition a frame that a user gives, or that has some without, checked.

    Args:
        spec: of the model.
        given: the conditions of a call.
        past: the video's first frames, [batch, frames, height, width, channels].
        num_frames: of the whole video; None where it may have any number, and no array says how many.
    """
    found, batch, shape = {}, len(past), spec.condition_frame
    for name, condition in spec.conditions.items():
        argument, value = f"conditions[{name!r}]", given.get(name)
        nothing = np.zeros((batch, *condition.shape(0, shape)), condition.dtype)
        if not condition.per_frame:
            continue
        if num_frames is not None and array_length(spec, name, value) is not None:
            value = check_array(argument, value)
            condition.check(argument, condition.encoded(argument, value, spec.values), batch, num_frames, shape)
            value = np.broadcast_to(value, (batch, *condition.shape(num_frames, shape)))
            found[name] = FrameValues(argument, condition, shape, value)
        elif value is not None:
            if condition.pixel_scale:
                wanted = "an array of all frames, for a condition of pixels"
                raise TypeError(f"`{argument}`: expected {wanted}. Received: {received(value)}")
            found[name] = FrameValues(argument, condition, shape, nothing, iter(value))
        elif condition.tells_missing:
            mask = observed_mask(*with_blank(past))
            found[name] = FrameValues(argument, condition, shape, mask, itertools.repeat(mask[:, -1]))
        elif condition.is_always_present:
            found[name] = FrameValues(argument, condition, shape, nothing, _usual(condition, shape))
    return found


def with_blank(past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The past and a blank frame after it, and which of them are known, bool [batch, frames]."""
    video = np.concatenate([past, np.zeros_like(past, shape=(len(past), 1, *past.shape[2:]))], axis=1)
    return video, np.broadcast_to(np.arange(video.shape[1]) < past.shape[1], video.shape[:2])


def _usual(condition: Condition, frame_shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """The values of frame after frame where nobody says any."""
    for frames in itertools.count(1):
        yield condition.default(frames, frame_shape)[-1]


def array_length(spec: ModelSpec, name: str, value: Any) -> int | None:
    """How many frames an array of a condition a frame has; None of an iterable, and of another condition."""
    condition = spec.conditions.get(name)
    is_array = isinstance(value, (list, tuple)) or hasattr(value, "__array__") or not isinstance(value, Iterable)
    if value is None or condition is None or not condition.per_frame or not is_array:
        return None
    array, axes = check_array(f"conditions[{name!r}]", value), len(condition.shape(1, spec.condition_frame))
    if array.ndim not in (axes, axes + 1):
        wanted = f"an array of {axes} or {axes + 1} axes, [frames, …] or [batch, frames, …], or an iterable of frames'"
        raise ValueError(f"`conditions[{name!r}]`: expected {wanted}. Received: shape {list(array.shape)}")
    return int(array.shape[array.ndim - axes])
