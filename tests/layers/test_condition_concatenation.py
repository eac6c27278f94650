import keras
import numpy as np
import pytest

from kvdiff.diffusion.conditions import ClassLabel, ClipVector
from kvdiff.layers.condition_concatenation import ConditionConcatenation

CONDITIONS = {"text": ClipVector(3), "place": ClipVector(2)}
VECTORS = {"text": np.float32([[1, 2, 3], [4, 5, 6]]), "place": np.float32([[7, 8], [9, 10]])}


def appended(told, **kwargs):
    """What the layer appends to an embedding of 4 units on 5 frames, [batch, frames, 5]; and the layer."""
    layer = ConditionConcatenation(CONDITIONS, **kwargs)
    embedding = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    found = layer(embedding, {**VECTORS, "told": np.float32(told)})
    assert layer.compute_output_shape(embedding.shape) == tuple(found.shape) == (2, 5, 9)
    np.testing.assert_array_equal(found[..., :4], embedding)
    return np.asarray(found[..., 4:]), layer


def test_what_is_told_is_appended_to_every_frame_and_else_what_stands_for_it():
    found, layer = appended([[1, 0], [0, 1]])
    text, place = (np.asarray(layer.untold[name]) for name in CONDITIONS)
    assert np.abs(text).min() > 0 and np.abs(place).min() > 0
    np.testing.assert_array_equal(found[0], np.tile([1, 2, 3, *place], (5, 1)).astype(np.float32))
    np.testing.assert_array_equal(found[1], np.tile([*text, 9, 10], (5, 1)).astype(np.float32))


def test_it_stays_float32_under_mixed_precision():
    found, layer = appended([[1, 1], [1, 1]], dtype="mixed_bfloat16")
    assert found.dtype == np.float32 and all(w.dtype == "float32" for w in layer.weights)


def test_the_vectors_for_absence_are_learned():
    import tensorflow as tf

    layer = ConditionConcatenation(CONDITIONS)
    with tf.GradientTape() as tape:
        found = layer(tf.zeros((2, 5, 4)), {**VECTORS, "told": np.float32([[1, 0], [0, 0]])})
    gradients = tape.gradient(found, [layer.untold[name].value for name in CONDITIONS])
    np.testing.assert_array_equal(gradients[0], [5, 5, 5])  # One clip of five frames was told no text,
    np.testing.assert_array_equal(gradients[1], [10, 10])  # two no place.


def test_config_rebuilds_it():
    layer = ConditionConcatenation.from_config(ConditionConcatenation(CONDITIONS).get_config())
    assert layer.conditions == CONDITIONS
    assert keras.saving.get_registered_name(type(layer)) == "kvdiff>ConditionConcatenation"


def test_only_vectors_can_be_appended():
    with pytest.raises(ValueError, match=r"`conditions`: expected a ClipVector for 'digit'. Received: ClassLabel"):
        ConditionConcatenation({"digit": ClassLabel(3)})
