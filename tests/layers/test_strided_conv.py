import numpy as np

from kvdiff.layers.strided_conv import FrameDownsample, FrameUpsample
from tests.layers.harness import check_layer


def clip(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def test_layer_contract(rng):
    assert check_layer(FrameDownsample(5), clip(rng, 2, 3, 4, 6, 3)).shape == (2, 3, 2, 3, 5)
    assert check_layer(FrameUpsample(5), clip(rng, 2, 3, 2, 3, 3)).shape == (2, 3, 4, 6, 5)


def test_downsampling_sees_four_by_four_pixels_with_one_of_padding(rng):
    layer, x = FrameDownsample(2), clip(rng, 1, 2, 4, 6, 3)
    layer(x)
    kernel, bias = clip(rng, 4, 4, 3, 2), clip(rng, 2)
    layer.conv.kernel.assign(kernel)
    layer.bias.assign(bias)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0)])
    expected = [
        [np.einsum("bfyxc,yxco->bfo", padded[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4], kernel) for j in range(3)]
        for i in range(2)
    ]
    np.testing.assert_allclose(layer(x), np.moveaxis(expected, (0, 1), (2, 3)) + bias, atol=1e-5)


def test_upsampling_is_the_transpose(rng):
    """<down x, y> = <x, up y> for one kernel."""
    down, up, x, y = FrameDownsample(2), FrameUpsample(3), clip(rng, 2, 2, 4, 6, 3), clip(rng, 2, 2, 2, 3, 2)
    down(x), up(y)
    kernel = clip(rng, 4, 4, 3, 2)
    down.conv.kernel.assign(kernel)
    up.conv.kernel.assign(kernel)
    there, back = (np.sum(np.asarray(a, np.float64) * b) for a, b in ((down(x), y), (up(y), x)))
    assert abs(there) > 1.0
    np.testing.assert_allclose(there, back, rtol=1e-5)
