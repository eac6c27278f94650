"""What a clip is conditioned on, beside the noise level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kvdiff.diffusion.conditions import condition_from_config
from kvdiff.diffusion.conditions.condition import CONDITION_MASK, Condition, optional_names
from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class ConditionEmbedding(SavedLayer):
    """Adds each condition of the clip to every frame's noise embedding; float32 as that is.

    Each condition has a linear map of its own (see `Condition.embedding`) and a vector for its absence, so one
    network is conditional and unconditional (Ho & Salimans 2022, arXiv:2207.12598, section 3.2). A dense layer on the
    sum lets a condition mean something else at another noise level.

    Args:
        conditions: the conditions by name, or their configs.

    Inputs: embedding [batch, frames, units], and the denoiser's inputs by name, of which it reads the conditions' and
    the condition mask, float32 [batch, conditions]. Output: [batch, frames, units].
    """

    def __init__(self, conditions: Mapping[str, Condition | Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.conditions = {name: condition_from_config(config) for name, config in conditions.items()}
        self.joint: keras.layers.Dense | None = None

    def build(self, embedding_shape: Any, inputs_shape: Any = None) -> None:
        """Make a map a condition, and a vector of absence where it may be absent."""
        units = embedding_shape[-1]
        self.joint = keras.layers.Dense(units, activation="silu", dtype="float32", name="joint")
        self.joint.build(embedding_shape)
        self._maps, self._untold = {}, {}
        for name, condition in self.conditions.items():
            if not condition.num_features:
                continue
            shape = (condition.num_features, units)
            self._maps[name] = self.add_weight(shape=shape, initializer="glorot_uniform", name=f"{name}_map")
            if not condition.is_always_present:
                self._untold[name] = self.add_weight(shape=(units,), initializer="zeros", name=f"{name}_untold")

    def call(self, embedding: Any, inputs: Mapping[str, Any]) -> Any:
        """Add each condition's vector, or that of its absence, and mix."""
        columns = optional_names(self.conditions)
        for name, condition in self.conditions.items():
            if not condition.num_features:  # The network reads its pixels alone.
                continue
            vectors = condition.embedding(ops, inputs, name, self._maps[name])
            if name in columns:
                column = columns.index(name)
                present = ops.cast(inputs[CONDITION_MASK], "float32")[:, column : column + 1, None]
                vectors = present * vectors + (1.0 - present) * self._untold[name]
            embedding = embedding + vectors
        return embedding + self.joint(embedding)

    def compute_output_shape(self, embedding_shape: Any, inputs_shape: Any = None) -> Any:
        """[batch, frames, units]."""
        return embedding_shape
