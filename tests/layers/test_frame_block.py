"""The autoencoder's residual block: new ones change nothing, and time is looked at where it is asked for."""

import numpy as np
import pytest
from keras import ops

from kvdiff.layers.frame_block import FrameBlock
from tests.layers.harness import check_layer


def clip(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((2, 3, 4, 5, 6)).astype(np.float32)


@pytest.mark.parametrize("time", [False, True])
def test_a_new_block_is_the_identity(rng, time):
    x = clip(rng)
    np.testing.assert_array_equal(check_layer(FrameBlock(6, time=time), x), x)


def test_without_time_frames_know_nothing_of_each_other(rng):
    for time, reach in ((False, 0), (True, 1)):
        block, x = FrameBlock(6, time=time), clip(rng)
        block(x)
        block.set_weights([rng.normal(0.0, 0.3, weight.shape) for weight in block.get_weights()])
        changed = x.copy()
        changed[:, 0] += 1.0
        difference = np.abs(ops.convert_to_numpy(block(changed) - block(x))).max(axis=(0, 2, 3, 4))
        assert block.reach == reach
        assert (difference[: 1 + reach] > 0.01).all() and (difference[1 + reach :] == 0).all()
