"""Tells the network what a clip is conditioned on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.conditions.kinds import (
    TOLD,
    ClassLabel,
    ClipVector,
    Condition,
    FrameTimes,
    FrameVectors,
    LowResolution,
    condition_from_config,
    noise_input,
    told_names,
)
from kvdiff.layers.condition_concatenation import ConditionConcatenation

__all__ = ["ConditionEmbedding", "conditions_of"]


@keras.saving.register_keras_serializable(package="kvdiff")
class ConditionEmbedding(keras.layers.Layer):
    """Adds what is told of the clip to every frame's noise embedding; float32 as that is.

    Each condition has a linear map of its own (a table of vectors for classes) and a vector for "not told", so one
    network is conditional and unconditional (Ho & Salimans 2022, arXiv:2207.12598, section 3.2). A dense layer on the
    sum lets a condition mean something else at another noise level. Of a `LowResolution` clip this layer tells the
    noise label; its pixels enter the network beside the noisy clip.

    Args:
        conditions: the conditions by name, or their configs.

    Inputs: embedding [batch, frames, units], and the denoiser's inputs by name, of which it reads the conditions' and
    `told`, float32 [batch, conditions]. Output: [batch, frames, units].
    """

    def __init__(self, conditions: Mapping[str, Condition | Mapping[str, Any]], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.conditions = {name: condition_from_config(config) for name, config in conditions.items()}
        self.joint: keras.layers.Dense | None = None

    def build(self, embedding_shape: Any, inputs_shape: Any = None) -> None:
        """Make a map and a "not told" vector a condition."""
        units = embedding_shape[-1]
        self.joint = keras.layers.Dense(units, activation="silu", dtype="float32", name="joint")
        self.joint.build(embedding_shape)
        self._maps, self._untold = {}, {}
        for name, condition in self.conditions.items():
            shape = (self._features(condition), units)
            self._maps[name] = self.add_weight(shape=shape, initializer="glorot_uniform", name=f"{name}_map")
            if not isinstance(condition, FrameTimes):
                self._untold[name] = self.add_weight(shape=(units,), initializer="zeros", name=f"{name}_untold")

    def call(self, embedding: Any, inputs: Mapping[str, Any]) -> Any:
        """Add each condition's vector, or that of its absence, and mix."""
        columns = told_names(self.conditions)
        for name, condition in self.conditions.items():
            vectors = self._vectors(name, condition, inputs)
            if name in columns:
                column = columns.index(name)
                told = ops.cast(inputs[TOLD], "float32")[:, column : column + 1, None]
                vectors = told * vectors + (1.0 - told) * self._untold[name]
            embedding = embedding + vectors
        return embedding + self.joint(embedding)

    def _vectors(self, name: str, condition: Condition, inputs: Mapping[str, Any]) -> Any:
        """[batch, frames or 1, units]."""
        if isinstance(condition, ClassLabel):
            return ops.take(self._maps[name], inputs[name], axis=0)[:, None, :]
        if isinstance(condition, LowResolution):
            features = _waves(inputs[noise_input(name)], np.pi * np.arange(1, _LEVEL_WAVES + 1))
        elif isinstance(condition, FrameTimes):
            times = ops.cast(inputs[name], "float32")
            features = _waves(times - times[:, :1], 2.0 ** -np.arange(_TIME_WAVES))
        else:
            features = ops.cast(inputs[name], "float32")
        vectors = ops.matmul(features, self._maps[name])
        return vectors if condition.per_frame and not isinstance(condition, LowResolution) else vectors[:, None, :]

    @staticmethod
    def _features(condition: Condition) -> int:
        """How many numbers the linear map reads."""
        if isinstance(condition, ClassLabel):
            return condition.num_classes
        if isinstance(condition, LowResolution):
            return 2 * _LEVEL_WAVES
        if isinstance(condition, FrameTimes):
            return 2 * _TIME_WAVES
        assert isinstance(condition, (ClipVector, FrameVectors))
        return condition.size

    def compute_output_shape(self, embedding_shape: Any, inputs_shape: Any = None) -> Any:
        """[batch, frames, units]."""
        return embedding_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "conditions": {name: c.config for name, c in self.conditions.items()}}


_LEVEL_WAVES = 8  # Angular frequencies pi … 8 pi of a noise label in [0, 1].
_TIME_WAVES = 10  # Angular frequencies 1 … 1/512 of a distance in frames.


def _waves(value: Any, frequencies: np.ndarray) -> Any:
    angle = ops.expand_dims(ops.cast(value, "float32"), -1) * frequencies.astype(np.float32)
    return ops.concatenate([ops.sin(angle), ops.cos(angle)], axis=-1)


def conditions_of(denoiser: keras.Model) -> dict[str, Condition]:
    """What `denoiser` may be told, by name; empty for an unconditional one."""
    found = [layer for layer in denoiser.layers if isinstance(layer, (ConditionEmbedding, ConditionConcatenation))]
    return dict(found[0].conditions) if found else {}
