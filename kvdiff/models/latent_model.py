"""What every autoencoder of frames does besides training: encode, decode, and be the codec of a model."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.diffusion.transforms.padding import cropped, padded
from kvdiff.diffusion.transforms.values import Values
from kvdiff.layers.latent_moments import LatentMoments
from kvdiff.sampling import compiled


class LatentModel:
    """Methods that autoencoders share; a class has them beside those of `keras.Model`.

    Attributes:
        shape: of its networks: `channels`, `factor`, `latent_channels`, `reach`; its `repr` tells networks apart.
        values: what the numbers of a clip mean.
        encoder, decoder: functional models of clips; the encoder's first `latent_channels` are the latent.
        moments: the latent's mean and deviation of each channel.
    """

    shape: Any
    values: Values
    encoder: keras.Model
    decoder: keras.Model
    moments: LatentMoments
    trainable: bool

    def encode(self, clip: Any) -> Any:
        """Standardised latents of x_0 [batch, frames, height, width, channels], on tensors; see `codec` for clips."""
        return self.moments.standardised(self.means(clip))

    def means(self, clip: Any) -> Any:
        """Latents of x_0 before they are standardised."""
        raw = self._raw(clip)
        if raw.shape[-1] == self.shape.latent_channels:
            return raw
        folded = _folded(raw)[..., : self.shape.latent_channels]
        return ops.reshape(folded, (-1, *ops.shape(raw)[1:4], self.shape.latent_channels))

    def decode(self, latent: Any, height: int, width: int) -> Any:
        """x_0 of standardised latents, cut to height and width, on tensors."""
        return self._decoded(self.moments.restored(latent), height, width)

    # At most four dimensions around the networks: edge runtimes cut no others.

    def _raw(self, clip: Any, training: bool | None = False) -> Any:
        """The encoder's output, float32."""
        if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(clip.dtype)):
            raise TypeError(f"`clip`: expected x_0, floats, as `values.encode(clip)` returns. Received: {clip.dtype}")
        if clip.shape[2] % self.shape.factor or clip.shape[3] % self.shape.factor:
            large = padded(_folded(clip), self.shape.factor, ops)
            clip = ops.reshape(large, (-1, ops.shape(clip)[1], *large.shape[1:]))
        return ops.cast(self.encoder(clip, training=training), "float32")

    def _decoded(self, latent: Any, height: int, width: int, training: bool | None = False) -> Any:
        """The decoder's output, float32, cut to height and width."""
        clip = ops.cast(self.decoder(latent, training=training), "float32")
        if tuple(clip.shape[2:4]) == (height, width):
            return clip
        return ops.reshape(
            cropped(_folded(clip), height, width), (-1, ops.shape(clip)[1], height, width, clip.shape[-1])
        )

    @property
    def digest(self) -> str:
        """Of networks and weights: 32 hexadecimal digits."""
        digest = hashlib.sha256(repr(self.shape).encode())
        for variable in (*self.encoder.variables, *self.decoder.variables, *self.moments.variables):
            digest.update(np.ascontiguousarray(ops.convert_to_numpy(variable), np.float32).tobytes())
        return digest.hexdigest()[:32]

    def frozen(self, dtype: Any = None) -> Any:
        """A copy with weights of its own that no training changes; it computes in `dtype`, or as this one does."""
        config = self.get_config()  # type: ignore[attr-defined]
        copy: Any = type(self).from_config(  # type: ignore[attr-defined]
            config if dtype is None else {**config, "dtype": dtype}
        )
        raw = getattr(self, "_raw_weights", None)  # Of one in training.
        with contextlib.nullcontext() if raw is None else raw.delivered():
            copy.set_weights(self.get_weights())  # type: ignore[attr-defined]
        freeze(copy)
        return copy

    def codec(self, frame_shape: tuple[int, int, int]) -> Autoencoder:
        """The codec of clips with frames (height, width, channels), with a copy of the weights as they are now.

        ```python
        codec = autoencoder.codec((64, 64, 1))
        latent = codec.encode(x_0)             # float32 [batch, frames, 16, 16, 4]
        ```

        Raises:
            ValueError: frames of another number of channels.
        """
        if len(frame_shape) != 3 or frame_shape[-1] != self.shape.channels:
            raise ValueError(
                f"`clip_shape`: expected frames of the autoencoder's channels, {self.shape.channels}. "
                f"Received: {tuple(frame_shape)}"
            )
        copy = self.frozen()
        shape = self.shape
        return Autoencoder(
            shape.factor,
            (int(frame_shape[0]), int(frame_shape[1]), int(frame_shape[2])),
            shape.latent_channels,
            copy.digest,
            shape.reach,
            KerasCodec(copy, frame_shape),
        )

    def reconstruct(self, clips: np.ndarray) -> np.ndarray:
        """Clips as they come out again, in the values' numbers: float32 [batch, frames, height, width, channels]."""
        clips = np.asarray(clips)
        if clips.ndim != 5:
            raise ValueError(f"`clips`: expected [batch, frames, height, width, channels]. Received: {clips.shape}")
        codec = self.codec(clips.shape[2:])
        x_0 = codec.decode(codec.encode(self.values.encode(self.values.checked("clips", clips, clips.shape[2:]))))
        return self.values.decode(x_0 if self.values.bounds is None else np.clip(x_0, *self.values.bounds))


def freeze(autoencoder: Any) -> None:
    """Let no training change a model's weights.

    By way of True: of one that was made with `trainable=False`, as a saved copy is, Keras' layers do not know.
    """
    autoencoder.trainable = True
    autoencoder.trainable = False


def _folded(clip: Any) -> Any:
    """Frames of all clips: [batch · frames, height, width, channels]."""
    return ops.reshape(clip, (-1, *ops.shape(clip)[2:]))


class KerasCodec:
    """Computes an autoencoder in Keras: what binds it to an `Autoencoder` codec."""

    def __init__(self, autoencoder: LatentModel, frame_shape: tuple[int, int, int]) -> None:
        self.autoencoder, self._size = autoencoder, tuple(frame_shape[:2])
        self._encode, self._decode = compiled(autoencoder.encode), compiled(self._decoded)

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """As in `CodecNetwork`; tensors of a graph where `xp` is `keras.ops`."""
        if xp is not np:
            return self.autoencoder.encode(clip)
        return ops.convert_to_numpy(self._encode(ops.convert_to_tensor(clip)))

    def decode(self, latent: Any, xp: Any = np) -> Any:
        """As in `CodecNetwork`."""
        if xp is not np:
            return self._decoded(latent)
        return ops.convert_to_numpy(self._decode(ops.convert_to_tensor(latent)))

    def _decoded(self, latent: Any) -> Any:
        return self.autoencoder.decode(latent, *self._size)
