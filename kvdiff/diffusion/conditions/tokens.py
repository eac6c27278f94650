"""Conditions that are sequences: the words of a text by their numbers, or the features that an encoder gives each."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import check_array, check_count, check_kind, received
from kvdiff.diffusion.conditions.condition import Condition, FrameShape, extremes
from kvdiff.diffusion.limits import MAX_FEATURES, MAX_TOKENS
from kvdiff.diffusion.transforms.values import Values

PADDING, UNKNOWN = "", "[UNK]"
"""Words that stand for no token, and for any word that a vocabulary lacks, as in `keras.layers.TextVectorization`."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclasses.dataclass(frozen=True)
class _Tokens(Condition):
    """What both kinds share: up to `max_tokens` of something, the rest being 0, which is padding.

    A network embeds the mean of the tokens, and its attention sees each.
    """

    max_tokens: int

    def __post_init__(self) -> None:
        check_count("max_tokens", self.max_tokens, at_most=MAX_TOKENS)

    @property
    def num_tokens(self) -> int:
        """`max_tokens`."""
        return self.max_tokens

    def check(self, name: str, value: Any, batch: int, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """As in `Condition`; shorter sequences are padded."""
        array, (most, *rest) = check_array(name, value), self.shape(frames, frame_shape)
        axis = array.ndim - 1 - len(rest)
        if axis in (0, 1) and array.shape[axis] > most:
            raise ValueError(f"`{name}`: expected at most {most} tokens. Received: {array.shape[axis]}")
        return super().check(
            name, _padded(np, array, axis, most) if axis in (0, 1) else array, batch, frames, frame_shape
        )

    def training_value(self, xp: Any, value: Any, x_0: Any, values: Values) -> Any:
        """The data's tokens, [batch, up to max_tokens, …], padded."""
        return _padded(xp, xp.cast(value, self.dtype), 1, self.max_tokens)

    def embedding(self, xp: Any, inputs: Mapping[str, Any], name: str, weights: Any) -> Any:
        """The mean over the tokens, whatever their order: [batch, 1, units]; 0 where there is none."""
        vectors, valid = self.tokens(xp, inputs[name], weights)
        total = xp.sum(vectors * valid[:, :, None], axis=1, keepdims=True)
        return total / xp.maximum(xp.sum(valid, axis=1), 1.0)[:, None, None]


@dataclasses.dataclass(frozen=True)
class TokenSequence(_Tokens):
    """A sequence of vectors, e.g. the features that a text encoder gives each token: float [batch, max_tokens, size].

    A token whose features are all 0 is padding, which changes nothing: multiply features by their encoder's mask.
    Shorter sequences are padded.

    Attributes:
        max_tokens: the longest sequence.
        size: features of a token.
        blocks: of self-attention, trained with the network, which a sequence passes before the network attends to it.
    """

    size: int
    blocks: int = 0

    name: ClassVar[str] = "token_sequence"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("size", self.size, at_most=MAX_FEATURES)
        check_count("blocks", self.blocks, at_least=0)

    def shape(self, frames: Any, frame_shape: FrameShape) -> tuple[Any, ...]:
        """A vector a token."""
        return (self.max_tokens, self.size)

    def tokens(self, xp: Any, value: Any, weights: Any) -> tuple[Any, Any]:
        """A linear map of each token's features, and which tokens are there."""
        features = xp.cast(value, "float32")
        return xp.matmul(features, weights), xp.sign(xp.max(xp.abs(features), axis=-1))


@dataclasses.dataclass(frozen=True)
class TokenIds(_Tokens):
    """A text as the numbers of its words, for an encoder that is trained with the network: int [batch, max_tokens].

    0 is padding. `keras.layers.TextVectorization` and tokenizers give such numbers; with its words as `vocabulary` the
    condition takes texts too, `conditions={"text": "a seven moves up"}`, on every runtime. Shorter ones are padded.

    Attributes:
        max_tokens: the longest text.
        vocabulary: how many numbers there are, or the words in their order, "" for padding first and perhaps "[UNK]"
            for any other word, as `TextVectorization.get_vocabulary()` has them.
        blocks: of self-attention that make the encoder, after a vector for each number and each place.
    """

    vocabulary: int | Sequence[str]
    blocks: int = 2

    name: ClassVar[str] = "token_ids"
    dtype: ClassVar[str] = "int32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("blocks", self.blocks, at_least=0)
        if isinstance(self.vocabulary, (list, tuple)):
            words = tuple(check_kind("vocabulary", word, str, "words") for word in self.vocabulary)
            if words[:1] != (PADDING,) or len(set(words)) < len(words):
                what = "another first word" if words[:1] != (PADDING,) else "a word twice"
                raise ValueError(f"`vocabulary`: expected different words, the first one '', padding. Received: {what}")
            object.__setattr__(self, "vocabulary", words)
        else:
            check_count("vocabulary", self.vocabulary, at_least=2, at_most=MAX_FEATURES)
        check_count("vocabulary", self.num_features, at_least=2, at_most=MAX_FEATURES)

    def shape(self, frames: Any, frame_shape: FrameShape) -> tuple[Any, ...]:
        """A number a token."""
        return (self.max_tokens,)

    @property
    def num_features(self) -> int:
        """A vector a word."""
        return self.vocabulary if isinstance(self.vocabulary, int) else len(self.vocabulary)

    def ids(self, texts: str | Sequence[str], name: str = "texts") -> np.ndarray:
        """The numbers of texts' words, int32 [max_tokens], or [texts, max_tokens] of several.

        In lower case and without punctuation, split at spaces, as `TextVectorization` does it.

        Raises:
            TypeError: no text, or a condition whose vocabulary is no list of words.
            ValueError: a text of too many words, or a word that the vocabulary lacks where "[UNK]" is not in it.
        """
        if isinstance(self.vocabulary, int):
            raise TypeError(f"`{name}`: expected ids, for the `vocabulary` is no list of words. Received: text")
        numbers = {word: number for number, word in enumerate(self.vocabulary)}
        one = isinstance(texts, str)
        found = np.zeros((1 if one else len(texts), self.max_tokens), self.dtype)
        for row, text in zip(found, [texts] if one else texts, strict=True):
            words = check_kind(name, text, str, "texts").lower().translate(_PUNCTUATION).split()
            if len(words) > self.max_tokens:
                raise ValueError(
                    f"`{name}`: expected at most {self.max_tokens} words. Received: {len(words)}, {text!r}"
                )
            if UNKNOWN not in numbers and (strange := [word for word in words if word not in numbers]):
                known = f"words of the vocabulary, such as {list(self.vocabulary[1:6])}"
                raise ValueError(f"`{name}`: expected {known}. Received: {received(strange)}")
            row[: len(words)] = [numbers.get(word, numbers.get(UNKNOWN, 0)) for word in words]
        return found[0] if one else found

    def check(self, name: str, value: Any, batch: int, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """As in `Condition`, of ids or of texts."""
        value = value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind in "OU" else value
        if isinstance(value, str) or (
            isinstance(value, (list, tuple)) and any(isinstance(each, str) for each in value)
        ):
            value = self.ids(value, name)
        return super().check(name, value, batch, frames, frame_shape)

    def training_value(self, xp: Any, value: Any, x_0: Any, values: Values) -> Any:
        """The data's ids, [batch, up to max_tokens], padded."""
        kind = str(getattr(value.dtype, "name", value.dtype))
        if "int" not in kind:
            wanted = "integers [batch, tokens], e.g. `ids(texts)` of the condition"
            raise TypeError(f"TokenIds: expected {wanted}. Received: dtype {kind}")
        return super().training_value(xp, value, x_0, values)

    def _check_values(self, name: str, value: np.ndarray) -> None:
        wanted = f"`{name}`: expected token ids from 0 to {self.num_features - 1}"
        if not np.issubdtype(value.dtype, np.integer):
            raise TypeError(f"{wanted}. Received: dtype {value.dtype}")
        if value.size and (value.min() < 0 or value.max() >= self.num_features):
            raise ValueError(f"{wanted}. Received: {extremes(value)}")

    def example(self, rng: np.random.Generator, batch: int, frames: int, frame_shape: FrameShape) -> np.ndarray:
        """Any words, fewer and fewer of them."""
        words = rng.integers(1, self.num_features, (batch, self.max_tokens))
        return words * (np.arange(self.max_tokens) < self.max_tokens - np.arange(batch)[:, None] % self.max_tokens)

    @property
    def limits(self) -> tuple[float, float]:
        """Padding and the last word."""
        return 0, self.num_features - 1

    def in_range(self, xp: Any, value: Any) -> Any:
        """The nearest number of a word: a row of none would be an error for every row of the batch."""
        return xp.clip(value, 0, self.num_features - 1)

    def tokens(self, xp: Any, value: Any, weights: Any) -> tuple[Any, Any]:
        """Each word's row of `weights`, and which words are there."""
        return xp.take(weights, value, axis=0), xp.cast(xp.minimum(value, 1), "float32")


def _padded(xp: Any, value: Any, axis: int, size: int) -> Any:
    """Zeros after the tokens of a shorter sequence; one of unknown or of another length stays as it is."""
    missing = size - (value.shape[axis] or size) if len(value.shape) > axis else 0
    if missing <= 0:
        return value
    return xp.pad(value, [(0, missing if each == axis else 0) for each in range(len(value.shape))])
