import numpy as np
import pytest

from kvdiff.layers.known_context import KnownContext
from tests.layers.harness import check_layer


@pytest.mark.parametrize(
    ("known", "before", "after"),
    [
        ([0, 1, 0, 0, 1], [None, 1, 1, 1, 4], [1, 1, 4, 4, 4]),
        ([1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, None, None, None, None]),
        ([0, 0, 0, 0, 0], [None] * 5, [None] * 5),
    ],
)
def test_picks_the_nearest_known_frames(rng, known, before, after):
    clip = rng.normal(size=(1, 5, 2, 3, 2)).astype("float32")
    label = np.where(np.array([known], bool), 0.0, rng.uniform(0.1, 1.0, (1, 5))).astype("float32")
    output = check_layer(KnownContext(), clip, label)

    np.testing.assert_array_equal(output[..., :2], clip)
    for side, neighbours in enumerate((before, after)):
        for frame, neighbour in enumerate(neighbours):
            pixels, nearness = output[0, frame, ..., 2 + 2 * side : 4 + 2 * side], output[0, frame, ..., 6 + side]
            expected = 0.0 if neighbour is None else clip[0, neighbour]
            np.testing.assert_allclose(pixels, np.broadcast_to(expected, pixels.shape), rtol=1e-6)
            near = 0.0 if neighbour is None else 1.0 / (1.0 + abs(frame - neighbour))
            np.testing.assert_allclose(nearness, near, rtol=1e-6)
