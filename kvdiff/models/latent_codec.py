"""An autoencoder as the codec of a model: taken as an argument, saved inside the model, and found there again."""

from __future__ import annotations

from typing import Any

import keras

from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.diffusion.transforms.codec import Codec, codec_from_config
from kvdiff.diffusion.transforms.values import Values
from kvdiff.models.latent_model import KerasCodec, LatentModel, freeze


def codec_of(codec: Any, clip: ClipSpec, values: Values) -> Codec | None:
    """The codec of a model of such clips, from what its argument `codec` may be.

    Raises:
        ValueError, TypeError: an autoencoder of other clips or values, one without weights, or no codec.
    """
    if isinstance(codec, LatentModel):
        if codec.values.config != values.config:
            raise ValueError(
                f"`codec`: expected an autoencoder of the model's values, {values.config}. "
                f"Received: one of {codec.values.config}"
            )
        return codec.codec(clip.frame_shape)
    found = codec_from_config(codec)
    if isinstance(found, Autoencoder) and found.network is None:
        raise ValueError("`codec`: expected a VideoAutoencoder, which has weights. Received: what JSON says of one")
    return found


def autoencoder_of(codec: Codec | None) -> Any:
    """The Keras model that computes a codec; None where there is none."""
    return getattr(getattr(codec, "network", None), "autoencoder", None)


def with_autoencoder(spec: ModelSpec, serialized: Any) -> ModelSpec:
    """A spec whose autoencoder is computed by a serialized one, where it has one.

    Its weights come afterwards; the digest in the spec is theirs.
    """
    if serialized is None or not isinstance(spec.codec, Autoencoder):
        return spec
    autoencoder = keras.saving.deserialize_keras_object(serialized)
    freeze(autoencoder)
    return spec.with_codec(spec.codec.bound(KerasCodec(autoencoder, spec.clip.frame_shape)))
