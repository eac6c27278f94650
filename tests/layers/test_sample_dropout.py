import keras
import numpy as np
import pytest
from keras import ops

from kvdiff.layers.sample_dropout import SampleDropout, dropout_keys
from tests.layers.harness import check_layer

X = np.ones((3, 4, 6, 5, 8), "float32")


def dropped(samples=(0, 1, 2), seed=7, step=2, rate=0.25, stream="a", x=X):
    with dropout_keys(seed, step, ops.array(samples)):
        return ops.convert_to_numpy(SampleDropout(rate, stream=stream)(x, training=True))


def test_layer():
    np.testing.assert_array_equal(check_layer(SampleDropout(0.25, stream="a"), X), X)


def test_drops_a_share_and_keeps_the_mean():
    y = dropped(rate=0.25)
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 5 * (0.25 * 0.75 / y.size) ** 0.5
    for axis in range(1, 5):  # No frame, row, column or channel is dropped as a whole, or spared.
        shares = (y == 0).mean(axis=tuple(a for a in range(1, 5) if a != axis))
        assert np.abs(shares - 0.25).max() < 5 * (0.25 * 0.75 * X.shape[axis] / X[0].size) ** 0.5


def test_neighbours_are_dropped_independently():
    centred = (dropped(x=np.ones((3, 8, 16, 16, 24), "float32")) == 0) - 0.25
    for axes in ((1,), (2,), (3,), (4,), (2, 4), (1, 3)):
        product = centred * np.roll(centred, 1, axes)
        assert abs(product.mean()) < 5 * 0.25 * 0.75 / product.size**0.5
    corners = centred * np.roll(centred, 1, 2) * np.roll(centred, 1, 4) * np.roll(centred, 1, (2, 4))
    assert abs(corners.mean()) < 5 * corners.std() / corners.size**0.5


def test_a_sample_has_its_mask_in_any_batch_and_no_other_has_it():
    y = dropped()
    np.testing.assert_array_equal(dropped((2, 0), x=X[:2]), y[[2, 0]])
    others = [y[1], dropped(seed=8)[0], dropped(step=3)[0], dropped(stream="b")[0]]
    for other in others:
        n = X[0].size
        assert abs(np.corrcoef(y[0].ravel(), other.ravel())[0, 1]) < 5 / n**0.5


def test_agrees_with_numpy_bit_for_bit():
    import zlib

    from kvdiff.diffusion.process.noise import keep_mask

    number = zlib.crc32(b"a") >> 2 | 1 << 30
    np.testing.assert_array_equal(dropped() > 0, keep_mask(np, 7, 2, np.arange(3), X.shape[1:], 0.25, number))


def test_needs_keys_in_training_alone():
    layer = SampleDropout(0.5)
    np.testing.assert_array_equal(layer(X), X)
    with pytest.raises(RuntimeError, match="expected `dropout_keys"):
        layer(X, training=True)
    np.testing.assert_array_equal(SampleDropout(0.0)(X, training=True), X)


def test_stays_in_half_precision():
    with dropout_keys(0, 0, ops.arange(3)):
        y = SampleDropout(0.5, dtype="mixed_bfloat16")(X, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
