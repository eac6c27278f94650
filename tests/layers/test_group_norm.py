import keras
import numpy as np
import pytest

from kvdiff.layers.group_norm import FrameGroupNorm
from tests.layers.harness import check_layer


def test_equals_keras_group_normalization_of_each_frame(rng):
    x = rng.normal(2.0, 3.0, size=(2, 3, 4, 5, 8)).astype("float32")
    ours, theirs = FrameGroupNorm(4), keras.layers.GroupNormalization(4, epsilon=1e-5)
    check_layer(ours, x)
    folded = x.reshape(6, 4, 5, 8)
    theirs(folded)
    weights = [rng.normal(size=8), rng.normal(size=8)]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    np.testing.assert_allclose(ours(x), np.reshape(theirs(folded), x.shape), atol=1e-5)


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match="`groups`: expected a divisor of the 6 channels. Received: 4"):
        FrameGroupNorm(4).build((None, 2, 2, 2, 6))
