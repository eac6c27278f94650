"""What a clip is conditioned on, as further numbers of the embedding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kvdiff.diffusion.conditions import condition_from_config
from kvdiff.diffusion.conditions.condition import CONDITION_MASK, Condition
from kvdiff.diffusion.conditions.kinds import ClipVector
from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class ConditionConcatenation(SavedLayer):
    """Appends vectors, or what was learned to stand for their absence, to every frame's embedding; float32.

    Where `ConditionEmbedding` adds a linear map of any condition, this appends the numbers of a `ClipVector`.

    Args:
        conditions: `ClipVector`s by name, or their configs.

    Inputs: embedding [batch, frames, units], and the denoiser's inputs by name, of which it reads the conditions' and
    the condition mask, float32 [batch, conditions]. Output: [batch, frames, units + the vectors' sizes].
    """

    def __init__(self, conditions: Mapping[str, Condition | Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.conditions = {name: _clip_vector(name, config) for name, config in conditions.items()}

    def build(self, embedding_shape: Any, inputs_shape: Any = None) -> None:
        """Make a vector of absence a condition."""
        self.untold = {
            name: self.add_weight(shape=(condition.size,), initializer="random_normal", name=f"{name}_untold")
            for name, condition in self.conditions.items()
        }

    def call(self, embedding: Any, inputs: Mapping[str, Any]) -> Any:
        """Append each condition's vector, or that of its absence."""
        ones, parts = ops.ones_like(embedding[..., :1]), [embedding]
        for column, name in enumerate(self.conditions):
            present = ops.cast(inputs[CONDITION_MASK], "float32")[:, column : column + 1]
            vector = present * ops.cast(inputs[name], "float32") + (1.0 - present) * self.untold[name]
            parts.append(ones * vector[:, None, :])
        return ops.concatenate(parts, axis=-1)

    def compute_output_shape(self, embedding_shape: Any, inputs_shape: Any = None) -> Any:
        """[batch, frames, units + the vectors' sizes]."""
        return (*embedding_shape[:-1], embedding_shape[-1] + sum(c.size for c in self.conditions.values()))


def _clip_vector(name: str, config: Condition | Mapping[str, Any]) -> ClipVector:
    condition = condition_from_config(config)
    if condition.name != ClipVector.name:
        raise ValueError(f"`conditions`: expected a ClipVector for {name!r}. Received: {condition!r}")
    return condition  # type: ignore[return-value]
