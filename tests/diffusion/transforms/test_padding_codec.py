"""Padding as the codec of a model: edges are repeated and cut back exactly, and a mask says which."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kvdiff.diffusion.transforms import Padding, codec_from_config

CLIP = np.arange(2 * 3 * 5 * 7 * 2, dtype=np.float32).reshape(2, 3, 5, 7, 2)


@pytest.mark.parametrize("multiple", [1, 2, 4, 8])
def test_edges_are_repeated_and_cut_back(multiple: int) -> None:
    padding = Padding(5, 7, multiple)
    padded = padding.encode(CLIP)
    height, width, channels = padding.latent_shape((5, 7, 2))
    assert padded.shape == (2, 3, height, width, channels) and height % multiple == width % multiple == 0
    assert height - 5 < multiple and width - 7 < multiple
    rows, columns = -5 % multiple, -7 % multiple
    sides = ((0, rows), (0, columns))
    np.testing.assert_array_equal(padded, np.pad(CLIP, ((0, 0), (0, 0), *sides, (0, 0)), mode="edge"))
    np.testing.assert_array_equal(padding.decode(padded), CLIP)
    mask = padding.blank(np.ones_like(CLIP))
    assert mask.sum() == CLIP.size and (padding.decode(mask) == 1).all()
    assert codec_from_config(padding.config) == padding


def test_tensors_are_padded_as_arrays_are() -> None:
    padding, tensor = Padding(5, 7, 4), keras.ops.convert_to_tensor(CLIP)
    for function, array in ((padding.encode, padding.encode(CLIP)), (padding.blank, padding.blank(CLIP))):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(function(tensor, keras.ops)), array)
    with pytest.raises(ValueError, match="`clip_shape`: expected 5 × 7 pixels. Received: 6 × 7"):
        padding.latent_shape((6, 7, 2))
