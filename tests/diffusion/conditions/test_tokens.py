"""Texts and sequences as conditions: numbers of words, padding, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion import TokenIds, TokenSequence
from kvdiff.diffusion.conditions import Condition, condition_from_config
from kvdiff.diffusion.conditions.conditioning import Conditioning
from tests.diffusion.conditions.test_condition import NumPy

WORDS = ["", "[UNK]", "a", "seven", "moves", "up", "left", "and"]
NO_UNKNOWN = ["", *WORDS[2:]]
FEATURES = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
SHAPE = (2, 4, 8, 8, 1)


def inputs(condition: Condition, value: Any) -> dict[str, np.ndarray]:
    return dict(Conditioning.of({"text": condition}, {"text": value}, SHAPE).inputs)


def test_words_are_numbered_as_keras_does() -> None:
    keras = pytest.importorskip("keras")
    texts = ["A seven moves up and left.", "  a SEVEN-moves (up), 'then' left ", "", "up"]
    layer = keras.layers.TextVectorization(vocabulary=WORDS[2:], output_sequence_length=7)
    condition = TokenIds(7, layer.get_vocabulary())
    assert condition.vocabulary == tuple(WORDS)
    np.testing.assert_array_equal(condition.ids(texts), np.asarray(layer(texts)))
    np.testing.assert_array_equal(condition.ids(texts[0]), np.asarray(layer(texts))[0])


@pytest.mark.parametrize("texts", [["a seven", "up"], ("a seven", "up"), np.array(["a seven", "up"])])
def test_a_sampler_takes_texts_and_ids(texts: Any) -> None:
    condition = TokenIds(4, NO_UNKNOWN)
    ids = [[1, 2, 0, 0], [4, 0, 0, 0]]
    for given in (texts, np.array(ids), np.array(ids)[:, :2]):
        found = inputs(condition, given)
        np.testing.assert_array_equal(found["text"], ids)
        assert found["text"].dtype == np.int32 and found["told"].tolist() == [[1.0], [1.0]]
    for one in ("a seven", [1, 2], [1, 2, 0, 0]):
        np.testing.assert_array_equal(inputs(condition, one)["text"], [ids[0]] * 2)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_shorter_sequences_are_padded(count: int) -> None:
    condition = TokenSequence(5, 4)
    whole = np.concatenate([FEATURES[:, :count], np.zeros((2, 5 - min(count, 3), 4))], axis=1)[:, :5]
    np.testing.assert_array_equal(inputs(condition, whole[:, :count])["text"], np.float32(whole))
    np.testing.assert_array_equal(inputs(condition, whole[0, :count])["text"], np.float32(whole[[0, 0]]))
    trained = condition.training_value(NumPy(), whole[:, :count], None, None)  # type: ignore[arg-type]
    np.testing.assert_array_equal(trained, np.float32(whole))


def test_a_network_embeds_the_mean_of_the_tokens_and_sees_each(rng: np.random.Generator) -> None:
    features = FEATURES * np.array([[1, 1, 0], [0, 0, 0]])[..., None]
    ids, weights, table = np.array([[3, 1, 0], [0, 0, 0]]), rng.normal(size=(4, 6)), rng.normal(size=(6, 6))
    for condition, value, each, w in (
        (TokenSequence(3, 4), features, features @ weights, weights),
        (TokenIds(3, 6), ids, table[ids], table),
    ):
        vectors, valid = condition.tokens(NumPy(), value, w)
        np.testing.assert_allclose(vectors, each, atol=1e-6)
        assert valid.tolist() == [[1, 1, 0], [0, 0, 0]]
        mean = condition.embedding(NumPy(), {"text": value}, "text", w)
        assert mean.shape == (2, 1, 6) and not mean[1].any()
        np.testing.assert_allclose(mean[0, 0], each[0, :2].mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("condition", [TokenIds(4, WORDS), TokenIds(4, 9, blocks=0), TokenSequence(4, 5, blocks=1)])
def test_a_stored_configuration_rebuilds_it(condition: Any) -> None:
    import json

    assert condition_from_config(json.loads(json.dumps(condition.config))) == condition
    example = condition.example(np.random.default_rng(0), 3, 4, (8, 8, 1))
    assert condition.check("text", example, 3, 4, (8, 8, 1)).shape == (3, *condition.shape(4, (8, 8, 1)))


@pytest.mark.parametrize(
    ("condition", "value", "error", "message"),
    [
        (TokenIds(3, WORDS), "a seven moves up", ValueError, "at most 3 words. Received: 4, 'a seven moves up'"),
        (TokenIds(3, 9), [[1, 2, 3, 4]] * 2, ValueError, "at most 3 tokens. Received: 4"),
        (TokenIds(3, 9), [1, 9], ValueError, "token ids from 0 to 8. Received: minimum 0, maximum 9"),
        (TokenIds(3, 9), [-1], ValueError, "token ids from 0 to 8. Received: minimum -1"),
        (TokenIds(3, 9), [1.0, 2.0], TypeError, "token ids from 0 to 8. Received: dtype float64"),
        (TokenIds(3, 9), [[[1]]] * 2, ValueError, r"shape \[2, 3\], or \[3\] for all clips. Received: \[2, 1, 1\]"),
        (TokenIds(3, 9), "a seven", TypeError, "ids, for the `vocabulary` is no list of words. Received: text"),
        (TokenIds(3, NO_UNKNOWN), ["a nine", "a"], ValueError, r"words of the vocabulary.*'seven'.* Received: .*nine"),
        (TokenIds(3, WORDS), ["a", 3], TypeError, "expected texts. Received: 3"),
        (TokenSequence(3, 4), np.zeros((2, 5, 4)), ValueError, "at most 3 tokens. Received: 5"),
        (TokenSequence(3, 4), np.zeros((2, 3, 5)), ValueError, r"shape \[2, 3, 4\], or .* Received: \[2, 3, 5\]"),
        (TokenSequence(3, 4), np.full((3, 4), np.nan), ValueError, "expected finite numbers"),
        (TokenSequence(3, 4), "a seven", TypeError, "expected real numbers. Received: 'a seven'"),
    ],
)
def test_what_is_refused(condition: Any, value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"`conditions\['text'\]`: .*{message}"):
        inputs(condition, value)


@pytest.mark.parametrize(
    ("vocabulary", "error", "message"),
    [
        (["a", "b"], ValueError, "the first one '', padding. Received: another first word"),
        (["", "b", "b"], ValueError, "Received: a word twice"),
        (["", 3], TypeError, "expected words. Received: 3"),
        ([""], ValueError, "expected an integer from 2"),
        (1, ValueError, "expected an integer from 2"),
        ("ab", TypeError, "expected an integer from 2"),
    ],
)
def test_a_vocabulary_is_a_number_or_words(vocabulary: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"`vocabulary`: .*{message}"):
        TokenIds(3, vocabulary)


def test_training_takes_whole_numbers_alone() -> None:
    for value in (np.zeros((2, 3), np.float32), np.array([["a"]])):
        with pytest.raises(TypeError, match=r"TokenIds: expected integers .batch, tokens., e.g. `ids\(texts\)`"):
            TokenIds(3, 9).training_value(NumPy(), value, None, None)  # type: ignore[arg-type]
