import numpy as np
import pytest
from keras import ops

from kvdiff.layers.known_context import KnownContext
from kvdiff.layers.moved_frames import MovedFrames
from tests.layers.harness import check_layer


def inputs(rng, known, *, channels=2, size=4, per_side=1, extra=0):
    """A prediction, features on 2×2 patches, and the context of clips of which the frames `known` are clean."""
    known = np.asarray(known, bool)[None]
    shape = (1, known.shape[1], size, size)
    clip = rng.normal(size=(*shape, channels)).astype("float32")
    context = KnownContext(per_side=per_side)(clip, np.where(known, 0.0, 0.5).astype("float32"))
    prediction = rng.normal(size=(*shape, channels + extra)).astype("float32")
    features = rng.normal(size=(*shape[:2], size // 2, size // 2, 3)).astype("float32")
    return clip, prediction, features, np.array(context)


def trained(layer, rng, *tensors):
    layer(*tensors)
    layer.set_weights([rng.normal(0.0, 0.3, w.shape) for w in layer.get_weights()])
    return layer


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("per_side", [1, 2])
def test_adds_the_known_frames_weighed_around_every_pixel(rng, per_side, passes):
    _, prediction, features, context = inputs(rng, [1, 0, 0, 1], per_side=per_side)
    layer = trained(MovedFrames(1, channels=2, passes=passes), rng, prediction, features, context)
    wanted = ops.convert_to_numpy(layer.split(features))[0]
    nearness = context[0, ..., 2 + 4 * per_side :]
    expected = prediction[0].copy()
    kernels = wanted[..., :12].reshape(4, 4, 4, 4, 3)  # [frame, row, column, kernel, tap]
    kernels = kernels - kernels.mean(-1, keepdims=True) + [0.0, 1.0, 0.0]
    for t, y, x in np.ndindex(4, 4, 4):
        share = nearness[t, y, x, :2] ** 2 * np.exp(4.0 * np.tanh(wanted[t, y, x, 12:]))
        for side in range(2):
            picture = np.pad(
                context[0, t, ..., 2 + 2 * side : 4 + 2 * side], ((1, 1), (1, 1), (0, 0)), constant_values=-1
            )
            moved = 0.0
            for i, tap in enumerate(kernels[t, y, x, 2 * side]):
                # Of one pass, this pixel's own kernel of columns on every line; of two, the line's own.
                line = y + i - 1 if passes == 2 else y
                columns = kernels[t, line, x, 2 * side + 1] if 0 <= line < 4 else [0.0, 1.0, 0.0]
                moved += tap * np.einsum("j,jc->c", columns, picture[y + i, x : x + 3])
            expected[t, y, x] += share[side] / share.sum() * moved
    np.testing.assert_allclose(ops.convert_to_numpy(layer(prediction, features, context))[0], expected, atol=1e-5)


def test_is_a_layer_like_any_other(rng):
    check_layer(MovedFrames(2, channels=2), *inputs(rng, [0, 1, 0])[1:])


@pytest.mark.parametrize(
    ("known", "nearest"), [([1, 1, 0, 0], [0, 1, 1, 1]), ([0, 0, 1, 0], [2, 2, 2, 2]), ([0, 0, 0, 0], None)]
)
def test_nothing_moves_before_training(rng, known, nearest):
    clip, prediction, features, context = inputs(rng, known)
    output = ops.convert_to_numpy(MovedFrames(1, channels=2)(prediction, features, context))
    added = 0.0 if nearest is None else clip[:, nearest]
    np.testing.assert_allclose(output, prediction + added, atol=1e-6)


def test_an_even_picture_stays_even_whatever_moves(rng):
    _, prediction, features, context = inputs(rng, [1, 0], channels=1, size=8)
    context[..., 1:3] = 0.25
    layer = trained(MovedFrames(1, channels=1), rng, prediction, features, context)
    output = ops.convert_to_numpy(layer(np.zeros_like(prediction), features, context))
    np.testing.assert_allclose(output[:, :, 1:-1, 1:-1], 0.25, atol=1e-5)


def test_what_is_no_clip_passes_through(rng):
    """The variance that a network learns besides."""
    _, prediction, features, context = inputs(rng, [1, 0], extra=2)
    output = ops.convert_to_numpy(MovedFrames(1, channels=2)(prediction, features, context))
    np.testing.assert_array_equal(output[..., 2:], prediction[..., 2:])


def test_files_from_before_two_passes_have_one():
    config = MovedFrames(2, passes=1).get_config()
    del config["passes"]
    assert MovedFrames.from_config(config).passes == 1 and MovedFrames(2).passes == 2


@pytest.mark.parametrize("name", ["reach", "patch_size", "channels", "passes"])
def test_refuses_what_is_no_count(name):
    with pytest.raises(ValueError, match=f"`{name}`: expected"):
        MovedFrames(**{"reach": 1, name: 0})
