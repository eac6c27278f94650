"""A network of pictures, applied to every frame of a clip."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="kvdiff")
class PerFrame(keras.layers.Layer):
    """Folds frames into the batch for a Keras model of pictures, and back.

    Args:
        network: a functional model of [batch, height, width, channels].

    Input: [batch, frames, height, width, channels]. Output: [batch, frames, …].
    """

    def __init__(self, network: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = network
        self.built = True

    def call(self, clip: Any) -> Any:
        """Apply it to every frame."""
        shape = ops.shape(clip)
        made = self.network(ops.reshape(clip, (-1, *shape[2:])), training=False)
        return ops.reshape(made, (-1, shape[1], *ops.shape(made)[1:]))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The network's, with the frames."""
        made = self.network.compute_output_shape((None, *input_shape[2:]))
        return (*input_shape[:2], *made[1:])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PerFrame:
        """Rebuild from `get_config`."""
        return cls(**{**config, "network": keras.saving.deserialize_keras_object(config["network"])})


@keras.saving.register_keras_serializable(package="kvdiff")
class PictureAttention(keras.layers.Layer):
    """Attention of one head over all places of a picture, on normalised features, added to the input.

    Args:
        groups, epsilon: of the group normalisation.

    Input and output: [batch, height, width, channels].
    """

    def __init__(self, groups: int = 32, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups, self.epsilon = groups, epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Build the normalisation and the four linear maps."""
        channels, dtype = input_shape[-1], self.dtype_policy
        self.norm = keras.layers.GroupNormalization(self.groups, epsilon=self.epsilon, dtype=dtype, name="norm")
        self.query, self.key, self.value, self.out = (
            keras.layers.Dense(channels, dtype=dtype, name=name) for name in ("query", "key", "value", "out")
        )
        self.norm.build(input_shape)
        for dense in (self.query, self.key, self.value, self.out):
            dense.build((None, None, channels))

    def call(self, x: Any) -> Any:
        """Attend."""
        _, height, width, channels = ops.shape(x)
        flat = ops.reshape(self.norm(x), (-1, height * width, channels))
        scores = ops.matmul(self.query(flat), ops.transpose(self.key(flat), (0, 2, 1))) * float(x.shape[-1]) ** -0.5
        mixed = self.out(ops.matmul(ops.softmax(ops.cast(scores, "float32"), axis=-1), self.value(flat)))
        return x + ops.reshape(mixed, (-1, height, width, channels))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "groups": self.groups, "epsilon": self.epsilon}
