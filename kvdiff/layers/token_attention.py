"""Attention of a clip's pixels to the tokens of a text, and what makes those of a condition."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.conditions import Condition, condition_from_config
from kvdiff.layers.fused_norm import centred_norm
from kvdiff.layers.saved_layer import SavedLayer

_PADDING = -1e4
"""What is added to the score of a token that does not count: exp of it is 0 in float32, and float16 still has it."""


@keras.saving.register_keras_serializable(package="kvdiff")
class TokenAttention(SavedLayer):
    """Multi-head attention of every position to a sequence of tokens, added to its input.

    Queries and keys are normalised by their root mean square over a head's features, with a learned gain, as in
    `RotaryAttention`. A token that does not count changes nothing. The output map starts at zero.

    Args:
        heads: number of heads; must divide the channels.

    Inputs: features [batch, …, channels]; tokens [batch, tokens, units]; which of them count, float32 [batch, tokens],
    at least one in each row. Output: as the features.
    """

    def __init__(self, heads: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads = check_count("heads", heads)

    def build(self, x_shape: Any, tokens_shape: Any, valid_shape: Any) -> None:
        """Make the projections, and the gains [channels / heads]."""
        channels, units = x_shape[-1], tokens_shape[-1]
        if channels % self.heads:
            raise ValueError(f"`heads`: expected a divisor of the {channels} channels. Received: {self.heads}")
        self.head_size = channels // self.heads
        for name, inputs in (("query", channels), ("key", units), ("value", units), ("out", channels)):
            start = "zeros" if name == "out" else "glorot_uniform"
            layer = keras.layers.Dense(channels, kernel_initializer=start, dtype=self.dtype_policy, name=name)
            layer.build((None, inputs))
            setattr(self, name, layer)
        self.query_gain, self.key_gain = (
            self.add_weight(shape=(self.head_size,), initializer="ones", autocast=False, name=f"{name}_gain")
            for name in ("query", "key")
        )

    def call(self, x: Any, tokens: Any, valid: Any) -> Any:
        """Attend, and add the input."""
        shape = ops.shape(x)
        normed = centred_norm(ops.reshape(x, (-1, math.prod(shape[1:-1]), shape[-1])))
        q = self._normed(self.query(normed), self.query_gain)
        k, v = self._normed(self.key(tokens), self.key_gain), self._per_head(self.value(tokens))
        scores = ops.cast(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))), "float32")
        scores = scores + (_PADDING * (1.0 - ops.cast(valid, "float32")))[:, None, None, :]
        out = ops.transpose(ops.matmul(ops.cast(ops.softmax(scores, axis=-1), v.dtype), v), (0, 2, 1, 3))
        return x + ops.reshape(self.out(ops.reshape(out, ops.shape(normed))), shape)

    def _per_head(self, x: Any) -> Any:
        """[batch, tokens, channels] -> [batch, heads, tokens, channels / heads]."""
        x = ops.reshape(x, (-1, ops.shape(x)[1], self.heads, self.head_size))
        return ops.transpose(x, (0, 2, 1, 3))

    def _normed(self, x: Any, gain: Any) -> Any:
        """Per head, of root mean square `gain` over features, such that scores are products of unit vectors' size."""
        wide = ops.cast(self._per_head(x), "float32")
        scale = ops.rsqrt(ops.mean(ops.square(wide), axis=-1, keepdims=True) + 1e-6) * self.head_size**-0.25
        return ops.cast(wide * scale * gain, x.dtype)

    def compute_output_shape(self, x_shape: Any, tokens_shape: Any, valid_shape: Any) -> tuple[int | None, ...]:
        """The features' shape."""
        return x_shape


@keras.saving.register_keras_serializable(package="kvdiff")
class TokenEncoder(SavedLayer):
    """From a condition that is a sequence to what `TokenAttention` sees; float32, as all of a condition is.

    Each token is a vector by the condition's own map, plus one of its place. The condition's `blocks` of self-attention
    follow, pre-norm (Xiong et al. 2020, arXiv:2002.04745). A learned token that always counts stands before the others:
    where the condition is absent it is alone, so one network is conditional and unconditional (Ho & Salimans 2022,
    arXiv:2207.12598, section 3.2).

    Args:
        condition: one with `num_tokens`, or its config.
        units: features of a token.
        heads: of the self-attention; must divide `units`.

    Inputs: the condition's array [batch, tokens, …], and whether it is present, float32 [batch]. Output: tokens float32
    [batch, 1 + tokens, units], and which of them count, float32 [batch, 1 + tokens].
    """

    def __init__(self, condition: Condition | Mapping[str, Any], units: int, *, heads: int = 4, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.condition = condition_from_config(condition)
        self.units, self.heads = check_count("units", units), check_count("heads", heads)

    def build(self, value_shape: Any, present_shape: Any) -> None:
        """Make the map, the vectors of places and of absence, and the blocks."""
        tokens = 1 + self.condition.num_tokens

        def weight(name: str, size: int, start: str) -> Any:
            return self.add_weight(shape=(size, self.units), initializer=start, name=name)

        # By these names optimizers such as Muon know that they are looked up.
        self.map = weight("embedding", self.condition.num_features, "glorot_uniform")
        self.first = weight("first_embedding", 1, "zeros")
        self.places = weight("place_embedding", tokens, "glorot_uniform")
        self.attentions: list[TokenAttention] = []
        self.hidden: list[keras.layers.Dense] = []
        self.out: list[keras.layers.Dense] = []
        for number in range(getattr(self.condition, "blocks", 0)):
            attention = TokenAttention(self.heads, dtype="float32", name=f"attention{number}")
            attention.build((None, tokens, self.units), (None, tokens, self.units), (None, tokens))
            hidden = keras.layers.Dense(2 * self.units, activation="silu", dtype="float32", name=f"hidden{number}")
            hidden.build((None, self.units))
            out = keras.layers.Dense(self.units, kernel_initializer="zeros", dtype="float32", name=f"out{number}")
            out.build((None, 2 * self.units))
            self.attentions.append(attention)
            self.hidden.append(hidden)
            self.out.append(out)

    def call(self, value: Any, present: Any) -> tuple[Any, Any]:
        """The tokens, and which of them count."""
        x, valid = self.condition.tokens(ops, value, self.map)
        present = ops.cast(present, "float32")[:, None]
        x = ops.concatenate([self.first * ops.ones_like(x[:, :1]), x], axis=1) + self.places
        valid = ops.concatenate([ops.ones_like(present), valid * present], axis=1)
        for attention, hidden, out in zip(self.attentions, self.hidden, self.out, strict=True):
            x = attention(x, centred_norm(x), valid)
            x = x + out(hidden(centred_norm(x)))
        return centred_norm(x), valid

    def compute_output_shape(self, value_shape: Any, present_shape: Any) -> Any:
        """[batch, 1 + tokens, units] and [batch, 1 + tokens]."""
        tokens = 1 + self.condition.num_tokens
        return (value_shape[0], tokens, self.units), (value_shape[0], tokens)
