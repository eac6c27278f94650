import numpy as np
import pytest

from kvdiff.layers.enlarge import Enlarge


def test_every_pixel_is_repeated_and_the_untold_are_blank():
    clip = np.random.default_rng(0).normal(size=(2, 3, 2, 4, 2)).astype(np.float32)
    out = np.asarray(Enlarge(3)(clip, np.float32([1, 0])))
    np.testing.assert_array_equal(out[0], clip[0].repeat(3, axis=1).repeat(3, axis=2))
    assert (out[1] == 0).all()
    assert Enlarge(3).compute_output_shape((2, 3, 2, None, 2), (2,)) == (2, 3, 6, None, 2)
    assert Enlarge.from_config(Enlarge(3).get_config()).scale == 3


def test_a_scale_is_a_count():
    with pytest.raises(ValueError, match="`scale`: expected an integer >= 1. Received: 0"):
        Enlarge(0)
