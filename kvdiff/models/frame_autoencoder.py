"""An autoencoder of pictures that others have trained, as the codec of a model."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from kvdiff.diffusion.checks import check_choice, check_kind, check_real
from kvdiff.diffusion.transforms.autoencoder import FACTORS
from kvdiff.diffusion.transforms.values import PIXELS
from kvdiff.layers.latent_moments import LatentMoments
from kvdiff.layers.per_frame import PerFrame
from kvdiff.models.latent_model import LatentModel


@dataclasses.dataclass(frozen=True)
class _Shape:
    """Of an autoencoder's networks."""

    channels: int
    factor: int
    latent_channels: int
    encoder: str
    reach: int = 0


@keras.saving.register_keras_serializable(package="kvdiff")
class FrameAutoencoder(LatentModel, keras.Model):
    """Two Keras models of pictures, applied to every frame of a clip.

    ```python
    autoencoder = kvdiff.FrameAutoencoder(encoder, decoder, scaling=0.18215)
    model = kvdiff.VideoDiffusion((16, 256, 256, 3), kvdiff.UNet3D(4), codec=autoencoder)
    ```

    Latents are standardised as (latent - shift) · scaling, as diffusers and KerasHub write it. It is not trained here.

    Args:
        encoder: functional, of pictures [batch, height, width, channels] in [-1, 1], any height and width that it
            divides. Where it gives more channels than `decoder` takes, the first are the latent and the others its
            variance, which is not used.
        decoder: functional, of latents [batch, height / factor, width / factor, latent channels].
        factor: by how much height and width shrink: 2, 4 or 8.
        scaling, shift: of the latents.

    Raises:
        TypeError, ValueError: networks that do not fit together.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        factor: int = 8,
        scaling: float = 1.0,
        shift: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.autocast, self.values = False, PIXELS
        for name, network in (("encoder", encoder), ("decoder", decoder)):
            check_kind(name, network, keras.Model, "a functional Keras model of pictures")
            if len(network.input.shape) != 4:
                raise ValueError(
                    f"`{name}`: expected pictures [batch, height, width, channels]; one that looks at time has no "
                    f"latent frame for a frame of the clip. Received: {list(network.input.shape)}"
                )
        check_choice("factor", str(factor), map(str, FACTORS))
        channels, latent = encoder.input.shape[-1], decoder.input.shape[-1]
        if encoder.output.shape[-1] < latent or decoder.output.shape[-1] != channels:
            raise ValueError(
                f"`decoder`: expected latents of at most {encoder.output.shape[-1]} channels to pictures of "
                f"{channels}. Received: {latent} to {decoder.output.shape[-1]}"
            )
        self.scaling, self.shift = check_real("scaling", scaling, above=0.0), check_real("shift", shift)
        names = ",".join(type(layer).__name__ for layer in (*encoder.layers, *decoder.layers))
        self.shape = _Shape(channels, factor, latent, names)
        self.encoder, self.decoder = PerFrame(encoder, name="encoder"), PerFrame(decoder, name="decoder")
        self.moments = LatentMoments(latent, name="moments")
        self.moments.mean.assign(np.full(latent, shift, np.float32))
        self.moments.power.assign(np.full(latent, shift**2 + scaling**-2, np.float32))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        networks = {"encoder": self.encoder.network, "decoder": self.decoder.network}
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(network) for name, network in networks.items()},
            "factor": self.shape.factor,
            "scaling": self.scaling,
            "shift": self.shift,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FrameAutoencoder:
        """Rebuild from `get_config`."""
        networks = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("encoder", "decoder")}
        return cls(**{**config, **networks})
