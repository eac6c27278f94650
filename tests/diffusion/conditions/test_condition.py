"""What a condition of one's own must say, and what it may leave out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from kvdiff.diffusion.conditions import Condition


class NumPy:
    """NumPy with what `keras.ops` calls otherwise."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def cast(self, value: Any, dtype: str) -> np.ndarray:
        return np.asarray(value).astype(dtype)


@dataclasses.dataclass(frozen=True)
class Speed(Condition):
    """A number a clip, with no word on features."""

    name: ClassVar[str] = "speed"

    def shape(self, frames: Any, frame_shape: Any) -> tuple[Any, ...]:
        return ()


@dataclasses.dataclass(frozen=True)
class Brightness(Speed):
    """A number a frame."""

    name: ClassVar[str] = "brightness"
    per_frame: ClassVar[bool] = True

    def shape(self, frames: Any, frame_shape: Any) -> tuple[Any, ...]:
        return (frames,)


@dataclasses.dataclass(frozen=True)
class Pose(Speed):
    """A vector a frame."""

    name: ClassVar[str] = "pose"
    per_frame: ClassVar[bool] = True

    def shape(self, frames: Any, frame_shape: Any) -> tuple[Any, ...]:
        return (frames, 5)


@pytest.mark.parametrize(
    ("condition", "value", "count", "shape"),
    [(Speed(), (3,), 1, (3, 1, 4)), (Brightness(), (3, 6), 1, (3, 6, 4)), (Pose(), (3, 6, 5), 5, (3, 6, 4))],
)
def test_numbers_and_vectors_need_no_features(
    condition: Condition, value: tuple[int, ...], count: int, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    array, weights = rng.normal(size=value), rng.normal(size=(count, 4))
    assert condition.num_features == count
    found = condition.embedding(NumPy(), {"c": array}, "c", weights)
    assert found.shape == shape
    np.testing.assert_allclose(found.reshape(-1, 4), array.astype(np.float32).reshape(-1, count) @ weights, rtol=1e-6)


class Wrong(Speed):
    def features(self, xp: Any, inputs: Mapping[str, Any], name: str) -> Any:
        return np.zeros((3, 2), np.float32)


def test_features_of_another_size_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"condition `c`: expected Wrong.features of shape .batch, 1. or .*: .3, 2."):
        Wrong().embedding(NumPy(), {"c": np.zeros(3)}, "c", np.zeros((1, 4)))


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_a_number_a_clip_may_come_as_a_column(shape: tuple[int, ...]) -> None:
    value = np.arange(3.0).reshape(shape)
    np.testing.assert_array_equal(Speed().training_value(NumPy(), value, None, None), [0.0, 1.0, 2.0])  # type: ignore[arg-type]
