"""The conditions of a training batch: their shapes are looked at before the network is."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import ClassLabel, ClipVector, FrameVectors
from kvdiff.diffusion.transforms.values import PIXELS
from kvdiff.training.conditions import training_conditions

CONDITIONS = {"label": ClassLabel(5), "text": ClipVector(3), "action": FrameVectors(2)}
GIVEN = {"label": np.arange(4), "text": np.zeros((4, 3)), "action": np.zeros((4, 6, 2))}


def inputs_of(**changed):
    keras = pytest.importorskip("keras")
    x_0 = keras.ops.zeros((4, 6, 8, 8, 1))
    given = {name: keras.ops.convert_to_tensor(value) for name, value in (GIVEN | changed).items()}
    return training_conditions(CONDITIONS, given, x_0, (keras.ops, 0, 0, np.arange(4)), 0.1, PIXELS)


def test_a_label_may_come_as_a_column():
    columns, plain = inputs_of(label=np.arange(4)[:, None]), inputs_of()
    assert all(np.array_equal(columns[name], plain[name]) for name in plain)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("label", (4, 2), r"\[batch\]"),
        ("text", (4,), r"\[batch, 3\]"),
        ("text", (4, 6, 3), r"\[batch, 3\]"),
        ("action", (4, 2), r"\[batch, 6, 2\]"),
        ("action", (4, 5, 2), r"\[batch, 6, 2\]"),
        ("text", (3, 3), r"\[batch, 3\]"),
    ],
)
def test_another_shape_is_refused_by_name(name, shape, expected):
    with pytest.raises(ValueError, match=rf"condition `{name}`: expected shape {expected}. Received: \{list(shape)}"):
        inputs_of(**{name: np.zeros(shape)})
