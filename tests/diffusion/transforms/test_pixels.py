"""Pixels and the floats that stand for them: the ends, the way back, and one arithmetic in NumPy and in Keras."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff import media
from kvdiff.diffusion.transforms.pixels import from_pixels, levels, to_pixels
from kvdiff.diffusion.transforms.values import PIXELS

PIXEL = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_pixel_comes_back(dtype: str) -> None:
    x = from_pixels(PIXEL, dtype=dtype)
    assert x.dtype == dtype and (x[0], x[-1]) == (-1.0, 1.0)
    np.testing.assert_allclose(x, (PIXEL.astype(float) - 127.5) / 127.5, atol=1e-7)
    np.testing.assert_array_equal(to_pixels(x), PIXEL)
    np.testing.assert_allclose(levels(x), PIXEL, atol=2e-5)


def test_floats_outside_are_clamped_and_between_go_to_the_nearest() -> None:
    np.testing.assert_array_equal(to_pixels(np.array([-3.0, -0.9961, 0.001, 7.0])), [0, 0, 128, 255])


def test_whoever_converts_does_it_so() -> None:
    np.testing.assert_array_equal(PIXELS.encode(PIXEL), from_pixels(PIXEL))
    floats = np.linspace(-1.1, 1.1, 999)
    np.testing.assert_array_equal(media.to_pixels(floats), to_pixels(floats))


def test_keras_has_the_same_bits() -> None:
    ops = pytest.importorskip("keras").ops
    x = np.linspace(-1.1, 1.1, 999, dtype=np.float32)
    np.testing.assert_array_equal(np.asarray(from_pixels(PIXEL, ops)), from_pixels(PIXEL))
    found = np.asarray(to_pixels(ops.convert_to_tensor(x), ops))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, to_pixels(x))
