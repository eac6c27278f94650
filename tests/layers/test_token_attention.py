import keras
import numpy as np
import pytest

from kvdiff.diffusion import TokenIds, TokenSequence
from kvdiff.layers.token_attention import TokenAttention, TokenEncoder
from tests.layers.harness import check_layer

HEADS, CHANNELS, UNITS = 2, 8, 6


@pytest.fixture
def given(rng):
    x = rng.normal(size=(2, 3, 2, 2, CHANNELS)).astype("float32")
    tokens = rng.normal(size=(2, 4, UNITS)).astype("float32")
    return x, tokens, np.float32([[1, 0, 1, 1], [1, 1, 0, 0]])


def randomised(layer, rng, *inputs):
    layer(*inputs)
    layer.set_weights([rng.normal(0.0, 0.5, weight.shape) for weight in layer.get_weights()])
    return layer


def slowly(layer, x, tokens, valid):
    """Position by position, over the tokens that count."""
    weights = {w.path.split("/", 1)[1]: np.asarray(w, np.float64) for w in layer.weights}
    size, out = CHANNELS // HEADS, np.array(x, np.float64)

    def part(name, value, head):
        y = (value @ weights[f"{name}/kernel"] + weights[f"{name}/bias"])[head * size : (head + 1) * size]
        return y if name == "value" else y / np.sqrt(np.mean(y**2) + 1e-6) * weights[f"{name}_gain"]

    for at in np.ndindex(x.shape[:-1]):
        pixel = x[at].astype(np.float64)
        normed = (pixel - pixel.mean()) / np.sqrt(pixel.var() + 1e-5)
        seen = [token.astype(np.float64) for token, counts in zip(tokens[at[0]], valid[at[0]], strict=True) if counts]
        mixed = []
        for head in range(HEADS):
            scores = [part("query", normed, head) @ part("key", token, head) / np.sqrt(size) for token in seen]
            attention = np.exp(scores - np.max(scores))
            values = [part("value", token, head) for token in seen]
            mixed.append(attention @ values / attention.sum())
        out[at] += np.concatenate(mixed) @ weights["out/kernel"] + weights["out/bias"]
    return out


def test_every_position_attends_to_the_tokens_that_count(rng, given):
    layer = randomised(TokenAttention(HEADS), rng, *given)
    np.testing.assert_allclose(np.asarray(layer(*given)), slowly(layer, *given), atol=2e-5)


def test_padding_changes_no_bit(rng, given):
    x, tokens, valid = given
    layer = randomised(TokenAttention(HEADS), rng, *given)
    others = np.where(valid[..., None] > 0, tokens, 1e3 * rng.normal(size=tokens.shape)).astype("float32")
    np.testing.assert_array_equal(np.asarray(layer(x, others, valid)), np.asarray(layer(x, tokens, valid)))


def test_a_layer_like_any_other_that_changes_nothing_at_first(given):
    np.testing.assert_array_equal(check_layer(TokenAttention(HEADS), *given), given[0])


CONDITIONS = {"ids": TokenIds(4, 7, blocks=2), "features": TokenSequence(4, 3), "both": TokenSequence(4, 3, blocks=1)}
VALUES = {
    "ids": np.int32([[3, 1, 0, 0], [1, 3, 6, 2]]),
    "features": np.cos(np.arange(24, dtype="float32")).reshape(2, 4, 3)
    * np.float32([[1, 1, 0, 0], [1] * 4])[..., None],
}
VALUES["both"] = VALUES["features"]


@pytest.mark.parametrize("kind", list(CONDITIONS))
def test_what_attention_sees_of_a_condition(rng, kind):
    given = VALUES[kind], np.float32([1, 0])
    layer = randomised(TokenEncoder(CONDITIONS[kind], UNITS, heads=HEADS), rng, *given)
    tokens, valid = map(np.asarray, layer(*given))
    assert layer.compute_output_shape(*(each.shape for each in given)) == (tokens.shape, valid.shape)
    assert valid.tolist() == [[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]
    np.testing.assert_allclose(tokens.std(axis=-1), 1.0, atol=1e-3)
    # Of a clip without text nothing but one learned token counts, whatever the text would be.
    other = np.asarray(layer(VALUES[kind][[0, 0]], given[1])[0])
    np.testing.assert_array_equal(other[1, 0], tokens[1, 0])
    # Tokens know their places and, after blocks, each other.
    turned = np.asarray(layer(VALUES[kind][:, [1, 0, 2, 3]], given[1])[0])
    assert np.abs(turned[0, 1:3] - tokens[0, [2, 1]]).max() > 0.01
    assert (np.abs(turned[0, 0] - tokens[0, 0]).max() > 0.01) == (kind != "features")


@pytest.mark.parametrize("kind", list(CONDITIONS))
def test_an_encoder_is_saved_whole_and_learns_whole(rng, kind, tmp_path):
    import tensorflow as tf

    inputs = {
        "value": keras.Input(VALUES[kind].shape[1:], dtype=str(VALUES[kind].dtype), name="value"),
        "present": keras.Input((), name="present"),
    }
    encoder = TokenEncoder(CONDITIONS[kind], UNITS, heads=HEADS)
    model = keras.Model(inputs, encoder(inputs["value"], inputs["present"]))
    model.set_weights([rng.normal(0.0, 0.5, weight.shape) for weight in model.get_weights()])
    given = {"value": VALUES[kind], "present": np.ones(2, "float32")}
    model.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    for found, expected in zip(twin(given), model(given), strict=True):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(given)[0] ** 3)
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert all(gradient is not None for gradient in gradients)


def test_heads_divide_the_channels(given):
    with pytest.raises(ValueError, match="`heads`: expected a divisor of the 8 channels. Received: 3"):
        TokenAttention(3)(*given)
