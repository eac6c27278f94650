"""The files of an autoencoder beside an exported denoiser: which they are, and what computes them."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.runtime.manifest import Artefact, ArtefactError, shortened

SIDES = ("encoder", "decoder")
"""The two networks, and the keys of a manifest's section `codec`, which names the file of each."""


def codec_file(artefact: str, side: str, digest: str) -> str:
    """The name of an encoder's or a decoder's file: `denoiser.encoder-0123456789abcdef.onnx`.

    It has the digest of its content, so that it never takes the place of an older export's.
    """
    path = pathlib.PurePath(artefact)
    return f"{path.stem}.{side}-{digest[:16]}{path.suffix}"


def codec_paths(artefact: Artefact) -> dict[str, pathlib.Path]:
    """Where encoder and decoder lie, by side; empty for a model without an autoencoder.

    Raises:
        ArtefactError: a manifest that does not name files of its own for both.
    """
    if not isinstance(artefact.spec.codec, Autoencoder):
        return {}
    files = artefact.manifest.get("codec")
    listed = artefact.manifest["files"]
    if not isinstance(files, Mapping) or set(files) != set(SIDES) or not set(map(str, files.values())) <= set(listed):
        raise ArtefactError(artefact.path, f"whose encoder and decoder are {shortened(files)}; it lists others")
    return {side: artefact.path.with_name(files[side]) for side in SIDES}


class PairCodec:
    """An autoencoder whose networks are functions of arrays, as `CodecNetwork` wants it.

    Args:
        encode, decode: x_0 [batch, frames, …] -> standardised latents, and back.
    """

    def __init__(self, encode: Callable[[np.ndarray], np.ndarray], decode: Callable[[np.ndarray], np.ndarray]) -> None:
        self._encode, self._decode = encode, decode

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """As in `CodecNetwork`, of arrays alone."""
        return self._encode(np.ascontiguousarray(clip, np.float32))

    def decode(self, latent: Any, xp: Any = np) -> Any:
        """As in `CodecNetwork`, of arrays alone."""
        return self._decode(np.ascontiguousarray(latent, np.float32))


def sampler_spec(artefact: Artefact, engine: Any) -> Any:
    """The spec of an artefact, whose autoencoder, where it has one, is computed by the engine's `codec`."""
    spec = artefact.spec
    return spec if not isinstance(spec.codec, Autoencoder) else spec.with_codec(spec.codec.bound(engine.codec))
