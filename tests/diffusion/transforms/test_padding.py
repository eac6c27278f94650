"""Frames are enlarged by their last row and column, and cut back exactly."""

import numpy as np
from keras import ops

from kvdiff.diffusion.transforms.padding import cropped, padded, whole


def test_whole_is_the_next_multiple():
    assert [whole(size, 4) for size in (1, 4, 5, 8)] == [4, 4, 8, 8]


def test_the_last_row_and_column_are_repeated(rng):
    clip = rng.standard_normal((2, 3, 5, 4, 2)).astype(np.float32)
    large = padded(clip, 4)
    assert large.shape == (2, 3, 8, 4, 2) and padded(large, 4) is large
    np.testing.assert_array_equal(large, clip[:, :, [0, 1, 2, 3, 4, 4, 4, 4]])
    np.testing.assert_array_equal(cropped(large, 5, 4), clip)
    np.testing.assert_array_equal(ops.convert_to_numpy(padded(ops.convert_to_tensor(clip), 8, ops)), padded(clip, 8))
