import numpy as np

from kvdiff.layers.resample import PatchMerge, PatchSplit
from tests.layers.harness import check_layer


def test_merge_gathers_each_patch(rng):
    x = rng.normal(size=(2, 3, 4, 6, 2)).astype("float32")
    layer = PatchMerge(8, 2)
    check_layer(layer, x)
    layer.set_weights([np.eye(8), np.zeros(8)])
    patch = x[1, 2, 2:4, 4:6].reshape(-1)  # Rows, columns, channels of the patch at (1, 2).
    np.testing.assert_allclose(layer(x)[1, 2, 1, 2], patch, rtol=1e-6)


def test_split_undoes_merge(rng):
    x = rng.normal(size=(2, 3, 4, 6, 2)).astype("float32")
    merge, split = PatchMerge(8, 2), PatchSplit(2, 2)
    check_layer(split, np.asarray(merge(x)))
    merge.set_weights([np.eye(8), np.zeros(8)])
    split.set_weights([np.eye(8), np.zeros(8)])
    np.testing.assert_allclose(split(merge(x)), x, rtol=1e-6)
