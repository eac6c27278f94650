import numpy as np
import pytest

from kvdiff.layers.attention import VideoAttention
from tests.layers.harness import check_layer


def _reach(axes, rng):
    """Which pixels change when the input at frame 1, row 2, column 0 does: bool [frames, height, width]."""
    layer = VideoAttention(2, axes=axes, groups=3)
    x = rng.normal(size=(1, 3, 4, 2, 12)).astype("float32")
    check_layer(layer, x)
    layer.set_weights([rng.normal(0.0, 0.5, w.shape) for w in layer.get_weights()])
    moved = x.copy()
    # Opposite moves in one normalisation group leave the frame's moments, so only attention carries the change.
    moved[0, 1, 2, 0] = moved[0, 1, 2, 0, [1, 0, *range(2, 12)]]
    return np.abs(np.asarray(layer(moved)) - np.asarray(layer(x))).max(axis=(0, -1)) > 1e-6


def test_time_reaches_the_same_pixel_of_every_frame(rng):
    expected = np.zeros((3, 4, 2), bool)
    expected[:, 2, 0] = True
    np.testing.assert_array_equal(_reach("time", rng), expected)


def test_space_reaches_every_pixel_of_the_same_frame(rng):
    expected = np.zeros((3, 4, 2), bool)
    expected[1] = True
    np.testing.assert_array_equal(_reach("space", rng), expected)


def test_space_time_reaches_everything(rng):
    assert _reach("space_time", rng).all()


def test_knows_where_and_when(rng):
    """Without positions, reversing the frames of the input would only reverse the output."""
    layer = VideoAttention(2, axes="time", groups=3)
    x = rng.normal(size=(1, 3, 2, 2, 12)).astype("float32")
    layer(x)
    layer.set_weights([rng.normal(0.0, 0.5, w.shape) for w in layer.get_weights()])
    assert np.abs(np.asarray(layer(x[:, ::-1]))[:, ::-1] - np.asarray(layer(x))).max() > 1e-3


def test_bad_arguments():
    with pytest.raises(ValueError, match="`axes`: expected one of .* Received: 'colour'"):
        VideoAttention(axes="colour")
    with pytest.raises(ValueError, match="divisible by heads.*Received: 16"):
        VideoAttention(4).build((None, 2, 2, 2, 16))
