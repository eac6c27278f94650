import keras
import numpy as np
import pytest

from kvdiff.layers.folded_conv3d import FoldedConv3D
from tests.layers.harness import check_layer


@pytest.mark.parametrize("kernel_size", [(3, 3, 3), (1, 3, 3), (3, 1, 1), (5, 3, 3), (1, 1, 1)])
def test_equals_keras_conv3d(rng, kernel_size):
    x = rng.normal(size=(2, 5, 6, 4, 3)).astype("float32")
    ours, theirs = FoldedConv3D(7, kernel_size), keras.layers.Conv3D(7, kernel_size, padding="same")
    check_layer(ours, x)
    theirs(x)
    weights = [rng.normal(size=w.shape) for w in theirs.get_weights()]
    ours.set_weights([FoldedConv3D.folded(weights[0]), weights[1]])
    theirs.set_weights(weights)
    np.testing.assert_allclose(ours(x), theirs(x), atol=2e-4)


def test_refuses_an_even_number_of_temporal_taps():
    with pytest.raises(ValueError, match=r"`kernel_size`: expected \(odd frames.*Received: \(2, 3, 3\)"):
        FoldedConv3D(4, (2, 3, 3))
