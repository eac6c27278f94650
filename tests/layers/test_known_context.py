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


def test_several_frames_a_side_are_the_nearest_first(rng):
    clip = rng.normal(size=(1, 6, 2, 3, 2)).astype("float32")
    known = np.array([1, 1, 0, 0, 1, 0], bool)
    label = np.where(known, 0.0, 0.7).astype("float32")[None]
    output = check_layer(KnownContext(per_side=2), clip, label)

    first = {2: (1, 4), 3: (1, 4), 5: (4, None), 0: (0, 0)}
    second = {2: (0, None), 3: (0, None), 5: (1, None), 0: (None, 1)}
    for rank, neighbours in enumerate((first, second)):
        for frame, sides in neighbours.items():
            for side, neighbour in enumerate(sides):
                pick = 2 * rank + side
                pixels, nearness = output[0, frame, ..., 2 + 2 * pick : 4 + 2 * pick], output[0, frame, ..., 10 + pick]
                expected = 0.0 if neighbour is None else clip[0, neighbour]
                np.testing.assert_allclose(pixels, np.broadcast_to(expected, pixels.shape), rtol=1e-6)
                near = 0.0 if neighbour is None else 1.0 / (1.0 + abs(frame - neighbour))
                np.testing.assert_allclose(nearness, near, rtol=1e-6)


def test_one_frame_a_side_is_what_it_was(rng):
    clip = rng.normal(size=(2, 4, 2, 2, 1)).astype("float32")
    label = np.array([[0.0, 0.5, 0.5, 0.0], [0.5, 0.0, 0.5, 0.5]], "float32")
    two = np.asarray(KnownContext(per_side=2)(clip, label))
    np.testing.assert_array_equal(np.asarray(KnownContext()(clip, label))[..., :3], two[..., :3])


def test_refuses_no_frames_a_side():
    with pytest.raises(ValueError, match="`per_side`: expected"):
        KnownContext(per_side=0)
