"""Tells the network which class a clip is of, or nothing."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["ClassEmbedding"]


@keras.saving.register_keras_serializable(package="kvdiff")
class ClassEmbedding(keras.layers.Layer):
    """Adds a learned vector of the clip's class to every frame's noise embedding; float32 as that is.

    Class `num_classes` stands for "not told" and has a vector of its own, so one network is conditional and
    unconditional (Ho & Salimans 2022, arXiv:2207.12598, section 3.2).

    Args:
        num_classes: the number of classes.

    Inputs: embedding [batch, frames, units] and class_id, int [batch], 0 … num_classes.
    Output: [batch, frames, units].
    """

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_classes = num_classes

    def build(self, embedding_shape: tuple[int | None, ...], class_id_shape: tuple[int | None, ...]) -> None:
        """Make the table [num_classes + 1, units]."""
        shape = (self.num_classes + 1, embedding_shape[-1])
        self.table = self.add_weight(shape=shape, initializer="random_normal", name="table")

    def call(self, embedding: Any, class_id: Any) -> Any:
        """Add the class' vector."""
        return embedding + ops.take(self.table, class_id, axis=0)[:, None, :]

    def compute_output_shape(self, embedding_shape: Any, class_id_shape: Any) -> tuple[int | None, ...]:
        """[batch, frames, units]."""
        return embedding_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_classes": self.num_classes}
