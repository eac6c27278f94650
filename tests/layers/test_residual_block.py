import numpy as np
import pytest

from kvdiff.layers.residual_block import ResidualBlock3D
from tests.layers.harness import check_layer


@pytest.mark.parametrize("factorised", [True, False])
def test_layer_contract_and_identity_at_first(rng, factorised):
    x, embedding = rng.normal(size=(2, 4, 4, 4, 8)), rng.normal(size=(2, 4, 6))
    layer = ResidualBlock3D(8, factorised=factorised, groups=2)
    output = check_layer(layer, x.astype("float32"), embedding.astype("float32"))
    np.testing.assert_allclose(output, x, atol=1e-6)


def test_projects_when_the_channels_change(rng):
    x, embedding = rng.normal(size=(2, 3, 4, 4, 8)), rng.normal(size=(2, 3, 6))
    layer = ResidualBlock3D(4, groups=2)
    assert check_layer(layer, x.astype("float32"), embedding.astype("float32")).shape == (2, 3, 4, 4, 4)


@pytest.mark.parametrize("factorised", [True, False])
def test_each_frame_has_its_own_noise_and_time_mixes(rng, factorised):
    x, embedding = rng.normal(size=(1, 5, 4, 4, 8)).astype("float32"), rng.normal(size=(1, 5, 6)).astype("float32")
    layer = ResidualBlock3D(8, factorised=factorised, groups=2)
    layer(x, embedding)
    layer.set_weights([rng.normal(0.0, 0.3, w.shape) for w in layer.get_weights()])
    noisier = embedding.copy()
    noisier[0, 2] += 1.0
    changed = np.abs(np.asarray(layer(x, noisier)) - np.asarray(layer(x, embedding))).max(axis=(0, 2, 3, 4)) > 1e-6
    # The embedding of frame 2 acts before the last convolution, whose three taps carry it to frames 1 and 3.
    np.testing.assert_array_equal(changed, [False, True, True, True, False])
