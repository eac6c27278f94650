"""Shows every frame of a clip the same picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from kvdiff.diffusion.conditions import Condition, condition_from_config


@keras.saving.register_keras_serializable(package="kvdiff")
class StillPixels(keras.layers.Layer):
    """Repeats a condition's picture for every frame, and blanks one that is absent.

    Args:
        condition: one whose `is_still`, or its config.

    Inputs: pictures [batch, height, width, n], in their own units; a clip [batch, frames, height, width, channels]; and
    whether the picture is present, float32 [batch]. Output: [batch, frames, height, width, n], as the network sees it.
    """

    def __init__(self, condition: Condition | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.condition = condition_from_config(condition)

    def call(self, picture: Any, clip: Any, present: Any) -> Any:
        """Repeat."""
        seen = self.condition.seen(ops, ops.cast(picture, "float32"))
        seen = seen * ops.cast(present, "float32")[:, None, None, None]
        _, height, width, channels = ops.shape(seen)
        every = ops.ones_like(clip[:, :, 0, 0, :1], dtype="float32")  # [batch, frames, 1]
        flat = every * ops.reshape(seen, (-1, 1, height * width * channels))
        return ops.reshape(flat, (-1, ops.shape(clip)[1], height, width, channels))

    def compute_output_shape(self, picture_shape: Any, clip_shape: Any, present_shape: Any) -> tuple[int | None, ...]:
        """[batch, frames, height, width, n]."""
        return (*clip_shape[:-1], picture_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "condition": self.condition.config}
