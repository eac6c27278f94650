import numpy as np

from kvdiff.layers.adaptive_norm import AdaptiveNorm
from tests.layers.harness import check_layer


def test_every_frame_is_normalised_and_modulated_by_its_own_embedding(rng):
    x = rng.normal(2.0, 3.0, size=(2, 3, 2, 4, 6)).astype("float32")
    embedding = rng.normal(size=(2, 3, 5)).astype("float32")
    layer = AdaptiveNorm()
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(check_layer(layer, x, embedding), normed, atol=1e-5)
    kernel, bias = (rng.normal(size=weight.shape) for weight in layer.get_weights())
    layer.set_weights([kernel, bias])
    scale, shift = np.split((embedding @ kernel + bias)[:, :, None, None, :], 2, axis=-1)
    np.testing.assert_allclose(np.asarray(layer(x, embedding)), normed * (1.0 + scale) + shift, atol=1e-4)
