import numpy as np
import pytest

from kvdiff.layers.rotary_attention import RotaryPositions
from kvdiff.layers.transformer_block import TransformerBlock3D
from tests.layers.harness import check_layer


@pytest.fixture
def inputs(rng):
    x = rng.normal(size=(2, 3, 2, 2, 12)).astype("float32")
    return x, rng.normal(size=(2, 3, 5)).astype("float32"), np.asarray(RotaryPositions(6)(x))


def test_a_new_block_changes_nothing(inputs):
    np.testing.assert_array_equal(check_layer(TransformerBlock3D(2), *inputs), inputs[0])


def test_is_the_formula_of_its_parts(inputs, rng):
    x, embedding, positions = inputs
    block = TransformerBlock3D(2, axes="time")
    block(x, embedding, positions)
    block.set_weights([rng.normal(0.0, 0.3, w.shape) for w in block.get_weights()])
    gates = np.asarray(block.gates(embedding))[:, :, None, None, :]
    after = x + gates[..., :12] * block.attention(block.norm_attention(x, embedding), positions)
    normed = np.asarray(block.norm_hidden(after, embedding))
    gate = np.asarray(block.hidden_gate(normed))
    hidden = gate / (1.0 + np.exp(-gate)) * block.hidden(normed)
    assert hidden.shape[-1] == 32
    expected = after + gates[..., 12:] * block.out(hidden)
    np.testing.assert_allclose(np.asarray(block(x, embedding, positions)), expected, atol=1e-5)
