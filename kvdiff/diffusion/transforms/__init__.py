"""From clips as users have them to what the network sees, and back: values, then perhaps a codec."""

from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.diffusion.transforms.codec import CODECS, AveragePool, Codec, codec_from_config
from kvdiff.diffusion.transforms.fitting import FITTED, Summary, fitted
from kvdiff.diffusion.transforms.padding import Padding
from kvdiff.diffusion.transforms.values import (
    DBZ,
    VALUES,
    Asinh,
    Linear,
    Log1p,
    PerChannel,
    Pixels,
    Quantile,
    SquareRoot,
    Standardised,
    Unbounded,
    Values,
    values_from_config,
)

__all__ = [
    "CODECS",
    "DBZ",
    "FITTED",
    "VALUES",
    "Asinh",
    "Autoencoder",
    "AveragePool",
    "Codec",
    "Linear",
    "Log1p",
    "Padding",
    "PerChannel",
    "Pixels",
    "Quantile",
    "SquareRoot",
    "Standardised",
    "Summary",
    "Unbounded",
    "Values",
    "codec_from_config",
    "fitted",
    "values_from_config",
]
