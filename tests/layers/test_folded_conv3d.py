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


def test_with_lora_it_is_the_convolution_of_the_changed_kernel() -> None:
    rng = np.random.default_rng(3)
    clip = rng.normal(size=(2, 4, 5, 6, 3)).astype(np.float32)
    layer, plain = (FoldedConv3D(7, (3, 3, 3)) for _ in range(2))
    for each in (layer, plain):
        each.build(clip.shape)
    plain.set_weights(layer.get_weights())
    layer.enable_lora(2, lora_alpha=3.0)
    np.testing.assert_array_equal(layer(clip), plain(clip))
    a, b = (rng.normal(size=factor.shape).astype(np.float32) for factor in (layer.lora_kernel_a, layer.lora_kernel_b))
    layer.lora_kernel_a.assign(a)
    layer.lora_kernel_b.assign(b)
    kernel, bias = plain.get_weights()
    plain.set_weights([kernel + 1.5 * a @ b, bias])
    np.testing.assert_allclose(layer(clip), plain(clip), rtol=1e-4, atol=1e-4)
    assert [weight.name for weight in layer.trainable_weights] == ["bias", "lora_kernel_a", "lora_kernel_b"]
    for refused in (layer, FoldedConv3D(7)):
        with pytest.raises(ValueError, match="enable_lora: expected a built layer without LoRA. Received: one"):
            refused.enable_lora(2)
