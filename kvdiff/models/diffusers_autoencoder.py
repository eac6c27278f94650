"""Stable Diffusion's autoencoders as the codec of a model, with weights from diffusers' safetensors."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kvdiff.diffusion.checks import check_path
from kvdiff.layers.per_frame import PictureAttention
from kvdiff.models.diffusers_networks import DiffusersShape, peer_name
from kvdiff.models.frame_autoencoder import FrameAutoencoder
from kvdiff.models.torch_weights import read_safetensors


def load_diffusers_autoencoder(
    path: str | os.PathLike[str], config: Mapping[str, Any] | None = None
) -> FrameAutoencoder:
    """Open an autoencoder that diffusers saved: `save_pretrained` writes both files.

    ```python
    autoencoder = kvdiff.load_diffusers_autoencoder("vae/diffusion_pytorch_model.safetensors")
    model = kvdiff.VideoDiffusion((16, 256, 256, 3), kvdiff.UNet3D(4), codec=autoencoder)
    ```

    Args:
        path: of the safetensors file. Pickles (`.bin`, `.pt`) are not read, since they run code.
        config: the content of diffusers' `config.json`; by default that of the file beside `path`.

    Raises:
        ValueError: another file, another class of autoencoder, or weights of another shape. An autoencoder that
            compresses time is refused: a frame of its latent is not a frame of the clip.
    """
    path = check_path("path", path)
    shape = DiffusersShape.of(_config(path) if config is None else config)
    model = FrameAutoencoder(
        shape.encoder(), shape.decoder(), factor=shape.factor, scaling=shape.scaling, shift=shape.shift
    )
    state = read_safetensors(path)
    wanted = list(_wanted(model))
    used = {name for names, _, _ in wanted for name in names}
    if extra := sorted(set(state) - used):
        raise ValueError(f"`path`: expected weights of the shape that `config` says. Received besides: {extra[:3]}")
    values = []
    for names, variable, change in wanted:
        found = next((name for name in names if name in state), None)
        if found is None:
            raise ValueError(
                f"`path`: expected weights of the shape that `config` says. Received: none named {names[0]}"
            )
        value = change(state[found].astype(np.float32))
        if value.shape != tuple(variable.shape):
            raise ValueError(
                f"`path`: expected {found} for a variable of shape {list(variable.shape)}. Received: "
                f"{list(state[found].shape)}"
            )
        values.append(value)
    for (_, variable, _), value in zip(wanted, values, strict=True):
        variable.assign(value)
    return model


def _config(path: pathlib.Path) -> Any:
    beside = path.with_name("config.json")
    try:
        return json.loads(beside.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"`config`: expected diffusers' config.json beside {path}. Received: {error}") from error


_Wanted = tuple[tuple[str, ...], Any, Any]
"""The names that diffusers had for it, our variable, and the change from its array to ours."""
_OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def _wanted(model: FrameAutoencoder) -> Iterator[_Wanted]:
    for side in (model.encoder, model.decoder):
        for layer in side.network.layers:
            yield from _of_layer(layer, peer_name(layer))


def _of_layer(layer: Any, name: str) -> Iterator[_Wanted]:
    if isinstance(layer, keras.layers.Conv2D):
        yield (f"{name}.weight",), layer.kernel, lambda kernel: kernel.transpose(2, 3, 1, 0)
        if layer.use_bias:
            yield (f"{name}.bias",), layer.bias, np.asarray
    elif isinstance(layer, keras.layers.GroupNormalization):
        yield (f"{name}.weight",), layer.gamma, np.asarray
        yield (f"{name}.bias",), layer.beta, np.asarray
    elif isinstance(layer, PictureAttention):
        yield from _of_layer(layer.norm, f"{name}.group_norm")
        for dense, peer in zip((layer.query, layer.key, layer.value, layer.out), _OLD, strict=True):
            names = [f"{name}.{peer}", f"{name}.{_OLD[peer]}"]
            # Old files have convolutions of 1 × 1 there.
            yield tuple(f"{each}.weight" for each in names), dense.kernel, lambda w: w.reshape(w.shape[:2]).T
            yield tuple(f"{each}.bias" for each in names), dense.bias, np.asarray
