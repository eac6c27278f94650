import numpy as np
import pytest

from kvdiff.layers.rotary_attention import RotaryAttention, RotaryPositions
from tests.layers.harness import check_layer

HEADS, CHANNELS = 2, 16


def inputs(rng, shape=(2, 3, 4, 2), times=None):
    x = rng.normal(size=(*shape, CHANNELS)).astype("float32")
    return x, np.asarray(RotaryPositions(CHANNELS // HEADS)(x, *([] if times is None else [np.float32(times)])))


def randomised(rng, axes, x, positions):
    layer = RotaryAttention(HEADS, axes=axes)
    layer(x, positions)
    layer.set_weights([rng.normal(0.0, 0.5, w.shape) for w in layer.get_weights()])
    return layer


def slowly(layer, x, axes, times):
    """Token by token, pairs of features as complex numbers; time turns two of a head's four pairs."""
    weights = {w.path.split("/", 1)[1]: np.asarray(w, np.float64) for w in layer.weights}
    x, size = x.astype(np.float64), CHANNELS // HEADS
    frequencies = np.array([1.0, 0.01])

    def turned(name, at, head):
        y = (x[at] @ weights[f"{name}/kernel"])[head * size : (head + 1) * size]
        y = y / np.sqrt(np.mean(y**2) + 1e-6) * weights[f"{name}_gain"]
        batch, frame, row, column = at
        angles = np.concatenate([times[batch][frame] * frequencies, [row, column]])
        return (y[: size // 2] + 1j * y[size // 2 :]) * np.exp(1j * angles)

    output = np.zeros_like(x)
    for at in np.ndindex(x.shape[:4]):
        seen = [
            other
            for other in np.ndindex(x.shape[:4])
            if other[0] == at[0] and (axes != "time" or other[2:] == at[2:]) and (axes != "space" or other[1] == at[1])
        ]
        mixed = []
        for head in range(HEADS):
            scores = [np.real(turned("query", at, head) @ np.conj(turned("key", other, head))) for other in seen]
            attention = np.exp(np.array(scores) / np.sqrt(size))
            values = [(x[other] @ weights["value/kernel"])[head * size : (head + 1) * size] for other in seen]
            mixed.append(attention @ values / attention.sum())
        output[at] = np.concatenate(mixed) @ weights["out/kernel"] + weights["out/bias"]
    return output


@pytest.mark.parametrize("axes", ["time", "space", "space_time"])
def test_turns_queries_and_keys_by_time_row_and_column(rng, axes):
    times = np.array([[0.0, 1.0, 4.0], [5.0, 5.5, 9.0]])
    x, positions = inputs(rng, times=times)
    layer = randomised(rng, axes, x, positions)
    np.testing.assert_allclose(np.asarray(layer(x, positions)), slowly(layer, x, axes, times), atol=2e-5)


@pytest.mark.parametrize("times", [None, [[0.0, 2.0, 3.0], [1.0, 4.0, 5.0]]])
def test_layers_like_any_other(rng, times):
    x, positions = inputs(rng, times=times)
    assert positions.shape == (1 if times is None else 2, 24, 1, 8)
    check_layer(RotaryPositions(8), x, *([] if times is None else [np.float32(times)]))
    check_layer(RotaryAttention(HEADS), x, positions)


def test_neighbouring_frames_are_the_times_that_are_not_given(rng):
    later = inputs(rng, times=np.arange(3)[None] + [[0], [7]])[1]
    np.testing.assert_allclose(later, np.tile(inputs(rng)[1], (2, 1, 1, 1)))


@pytest.mark.parametrize("start", [7.0, -3.0, 2.0**20])
def test_only_differences_of_times_count(rng, start):
    """Also where clips begin late, whose times have few digits behind the point."""
    times = np.array([[0.0, 0.5, 2.0], [0.0, 1.0, 9.0]])
    np.testing.assert_array_equal(inputs(rng, times=times + start)[1], inputs(rng, times=times)[1])


def test_only_differences_of_rows_and_columns_count(rng):
    """Positions a row and a column further on give the same output."""
    x, positions = inputs(rng, (1, 1, 3, 3))
    layer = randomised(rng, "space", x, positions)
    whole = np.asarray(layer(x[:, :, :2, :2], inputs(rng, (1, 1, 2, 2))[1]))
    lower = np.asarray(positions).reshape(1, 3, 3, 1, 8)[:, 1:, 1:].reshape(1, 4, 1, 8)
    np.testing.assert_allclose(np.asarray(layer(x[:, :, :2, :2], lower)), whole, atol=1e-5)


def test_bad_arguments(rng):
    with pytest.raises(ValueError, match="`axes`: expected .* Received: 'colour'"):
        RotaryAttention(axes="colour")
    with pytest.raises(ValueError, match="`heads`: expected an integer >= 1"):
        RotaryAttention(0)
    with pytest.raises(ValueError, match="`head_size`: expected an even number. Received: 7"):
        RotaryPositions(7)
    with pytest.raises(ValueError, match="`head_size`: expected an integer >= 6"):
        RotaryPositions(4)
    x, positions = inputs(rng)
    with pytest.raises(ValueError, match="expected 4 heads of 8 features, which the positions are for. Received: 16"):
        RotaryAttention(4)(x, positions)
