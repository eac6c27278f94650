"""An autoencoder's two networks as files: what every export of a model that works in a latent writes too."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.export.parity import ParityError
from kvdiff.runtime.codec_files import SIDES, codec_file

if TYPE_CHECKING:
    import keras

CODEC_TOLERANCE = 1e-4
"""Of latents, which have unit variance, and of x_0, in [-1, 1], against Keras in float32."""

_NAMES = {"encoder": ("clip", "latent"), "decoder": ("latent", "clip")}


def float32_spec(model: Any) -> Any:
    """The model's spec, whose autoencoder computes in float32 and keeps its weights."""
    from kvdiff.models.latent_model import KerasCodec

    spec = model.spec
    if not isinstance(spec.codec, Autoencoder):
        return spec
    twin = model.autoencoder.frozen("float32")
    return spec.with_codec(spec.codec.bound(KerasCodec(twin, spec.clip.frame_shape)))


def codec_networks(model: Any) -> dict[str, keras.Model]:
    """Encoder and decoder as functional Keras models in float32; empty for a model without an autoencoder.

    They take x_0 [batch, frames, *frame_shape] and give standardised latents, and the other way round: padding and
    standardising are inside.
    """
    import keras

    from kvdiff.models.codec_side import CodecSide

    spec = float32_spec(model)
    if not isinstance(spec.codec, Autoencoder):
        return {}
    twin, shapes = spec.codec.network.autoencoder, (spec.clip.frame_shape, spec.latent.frame_shape)  # type: ignore
    networks = {}
    for side, given, made in zip(SIDES, shapes, reversed(shapes), strict=True):
        x = keras.Input((None, *given), name=_NAMES[side][0])
        networks[side] = keras.Model(x, CodecSide(twin, side, made, dtype="float32")(x), name=side)
    return networks


def save_codec(
    artefact: pathlib.Path,
    networks: Mapping[str, keras.Model],
    converted: Callable[[str, keras.Model, tuple[str, str]], bytes],
) -> dict[str, str]:
    """Write encoder and decoder beside `artefact`; the names of their files by side, for the manifest.

    Args:
        artefact: the model file that they belong to.
        networks: as `codec_networks` makes them; where there are none, nothing is written.
        converted: (side, network, names of its input and output) -> the file's content.
    """
    names = {}
    for side in SIDES if networks else ():
        content = converted(side, networks[side], _NAMES[side])
        names[side] = codec_file(artefact.name, side, hashlib.sha256(content).hexdigest())
        artefact.with_name(names[side]).write_bytes(content)
    return names


def check_codec_parity(model: Any, codec: Any, precision: str) -> dict[str, Any]:
    """Compare an exported pair with Keras, print and return the figures; empty for a model without an autoencoder.

    Args:
        model: the model that was exported.
        codec: the `CodecNetwork` of the exported files.
        precision: of the files; only float32 is judged.

    Raises:
        ParityError: a pair in float32 that does not agree with Keras.
    """
    spec = float32_spec(model)
    if not isinstance(spec.codec, Autoencoder):
        return {}
    rng = np.random.default_rng(0)
    differences: dict[str, float] = {}
    for frames in (1, 3):
        clip = rng.uniform(-1.0, 1.0, (1, frames, *spec.clip.frame_shape)).astype(np.float32)
        latent = rng.standard_normal((1, frames, *spec.latent.frame_shape)).astype(np.float32)
        exported = spec.codec.bound(codec)
        for side, found, expected in (
            ("encoder", exported.encode(clip), spec.codec.encode(clip)),
            ("decoder", exported.decode(latent), spec.codec.decode(latent)),
        ):
            scale = max(float(np.abs(expected).max()), 1.0)
            difference = float(np.abs(found - expected).max()) / scale
            differences[side] = max(difference, differences.get(side, 0.0))
    for side, difference in differences.items():
        print(f"  {side}: max |difference| {difference:.1e} of its output's scale")
    if precision == "float32" and not max(differences.values()) <= CODEC_TOLERANCE:
        raise ParityError(
            f"`model`: expected encoder and decoder within {CODEC_TOLERANCE:g} of Keras. Received: {differences}"
        )
    return {"codec": {"tolerance": CODEC_TOLERANCE, "max_relative_difference": differences}}
