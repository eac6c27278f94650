"""From clips as users have them to what the network sees, and back: values, then perhaps a codec."""

from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.diffusion.transforms.codec import CODECS, AveragePool, Codec, codec_from_config
from kvdiff.diffusion.transforms.values import VALUES, Linear, Pixels, Unbounded, Values, values_from_config

__all__ = [
    "CODECS",
    "VALUES",
    "Autoencoder",
    "AveragePool",
    "Codec",
    "Linear",
    "Pixels",
    "Unbounded",
    "Values",
    "codec_from_config",
    "values_from_config",
]
