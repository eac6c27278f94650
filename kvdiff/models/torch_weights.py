"""Weights of `video-diffusion-pytorch`'s `Unet3D` for `FactorisedUNet3D`, from safetensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kvdiff.layers.condition_concatenation import ConditionConcatenation
from kvdiff.layers.factorised_attention import LinearSpaceAttention, SpaceAttention, TimeAttention
from kvdiff.layers.folded_conv3d import FoldedConv3D
from kvdiff.layers.post_norm_block import PostNormBlock3D
from kvdiff.layers.relative_position_bias import RelativePositionBias
from kvdiff.layers.strided_conv import FrameDownsample, FrameUpsample
from kvdiff.layers.timestep_embedding import TimestepEmbedding


def load_torch_weights(denoiser: keras.Model, path: str | os.PathLike[str]) -> None:
    """Fill a `FactorisedUNet3D` with the weights of `video-diffusion-pytorch` 0.7's `Unet3D`.

    Write them there with `safetensors.torch.save_model(unet, path)`; the names of a whole `GaussianDiffusion` begin
    with `denoise_fn.`, which is taken off. Pickles (`.pt`) are not read, since they run code.

    ```python
    denoiser = kvdiff.FactorisedUNet3D(3, width=64, multipliers=(1, 2, 4, 8))
    kvdiff.load_torch_weights(denoiser, "unet3d.safetensors")
    model = kvdiff.VideoDiffusion((10, 64, 64, 3), denoiser, prediction="eps")
    ```

    Its network sees pixels in [-1, 1] too. Its schedule is kvdiff's default but for the last of the 1000 timesteps,
    which is pure noise in both: `{"name": "cosine", "max_beta": 0.9999}`.

    Args:
        denoiser: with the width, multipliers, heads and conditions that the weights belong to.
        path: of the file.

    Raises:
        ValueError: `path` is no safetensors file, or its names or shapes differ from what `denoiser` takes. `denoiser`
            is left as it was.
    """
    if not any(isinstance(layer, RelativePositionBias) for layer in denoiser.layers):
        raise ValueError(f"`denoiser`: expected a FactorisedUNet3D. Received: {denoiser!r}")
    levels = sum(isinstance(layer, FrameDownsample) for layer in denoiser.layers) + 1
    wanted = [
        (f"{prefix}.{name}".lstrip("."), *rest)
        for prefix, layer in _homes(denoiser, levels)
        for name, *rest in _PARTS[type(layer)](layer)
    ]
    state = {name.removeprefix("denoise_fn."): value for name, value in read_safetensors(path).items()}
    values = _values(state, wanted)
    for (_, variable, _), value in zip(wanted, values, strict=True):
        variable.assign(value)


_Wanted = tuple[str, Any, Any]  # The peer's name, our variable, and the change from the peer's array to ours.


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """A file's arrays by name.

    Raises:
        ValueError: no safetensors file.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise ImportError('Reading safetensors needs: pip install "keras-video-diffusion[safetensors]"') from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"`path`: expected a safetensors file. Received: {path} ({error})") from error


def _values(state: Mapping[str, np.ndarray], wanted: list[_Wanted]) -> list[np.ndarray]:
    """The new values of the variables, all of them checked."""
    names = {name for name, _, _ in wanted}
    # The rotary frequencies are constants there, and in files of diffusion models so is the schedule.
    extra = [n for n in state if n not in names and n.split(".")[0] in _ROOTS and not n.endswith("rotary_emb.freqs")]
    if missing := sorted(names - set(state)):
        raise ValueError(f"`path`: expected weights of the denoiser's shape. Received: none named {missing[:3]}")
    if extra:
        raise ValueError(f"`path`: expected weights of the denoiser's shape. Received besides: {sorted(extra)[:3]}")
    values = []
    for name, variable, change in wanted:
        value = _changed(state[name], change)
        if value is None or value.shape != tuple(variable.shape):
            raise ValueError(
                f"`path`: expected {name} for a variable of shape {list(variable.shape)}. Received: "
                f"{list(state[name].shape)}"
            )
        values.append(value)
    return values


def _changed(value: np.ndarray, change: Any) -> np.ndarray | None:
    """None where the change cannot be made of this shape."""
    try:
        return change(value.astype(np.float32))
    except (ValueError, IndexError):
        return None


_ROOTS = (
    "time_rel_pos_bias", "init_conv", "init_temporal_attn", "time_mlp", "null_cond_emb", "downs", "mid_block1",
    "mid_spatial_attn", "mid_temporal_attn", "mid_block2", "ups", "final_conv",
)  # fmt: skip


def _homes(denoiser: keras.Model, levels: int) -> Iterator[tuple[str, keras.layers.Layer]]:
    """(the peer's prefix, our layer) for every layer with weights."""
    by_name = {
        "time_rel_pos_bias": "relative_position_bias", "init_conv": "stem", "init_temporal_attn.fn": "stem_time",
        "time_mlp": "timestep_embedding", "mid_block1": "middle_block0", "mid_spatial_attn.fn": "middle_space",
        "mid_temporal_attn.fn": "middle_time", "mid_block2": "middle_block1", "final_conv.0": "head_block",
        "final_conv.1": "head",
    }  # fmt: skip
    for level in range(levels):
        for peer, ours in ((f"downs.{level}", f"encoder{level}"), (f"ups.{levels - 1 - level}", f"decoder{level}")):
            parts = ("block0", "block1", "space", "time")
            by_name |= {f"{peer}.{k}{'.fn' * (k > 1)}": f"{ours}_{part}" for k, part in enumerate(parts)}
        if level:
            by_name |= {f"downs.{level - 1}.4": f"down{level}", f"ups.{levels - 1 - level}.4": f"up{level}"}
    yield from ((peer, denoiser.get_layer(ours)) for peer, ours in by_name.items())
    yield from (("", layer) for layer in denoiser.layers if isinstance(layer, ConditionConcatenation))


def _conv(layer: FoldedConv3D, name: str = "") -> list[_Wanted]:
    """[out, in, 1, height, width] -> [height · width · in, out]."""

    def folded(kernel: np.ndarray) -> np.ndarray:
        return kernel.transpose(3, 4, 2, 1, 0).reshape(-1, kernel.shape[0])

    return [(f"{name}weight", layer.kernel, folded), (f"{name}bias", layer.bias, _same)]


def _strided(layer: FrameDownsample | FrameUpsample) -> list[_Wanted]:
    """[a, b, 1, height, width] -> [height, width, b, a]; torch's a is the output, of a transposed one the input."""
    kernel = ("weight", layer.conv.kernel, lambda kernel: kernel[:, :, 0].transpose(2, 3, 1, 0))
    return [kernel, ("bias", layer.bias, _same)]


def _dense(layer: keras.layers.Dense, name: str) -> list[_Wanted]:
    return [(f"{name}.weight", layer.kernel, np.transpose), (f"{name}.bias", layer.bias, _same)]


def _block(layer: PostNormBlock3D) -> list[_Wanted]:
    found = _conv(layer.conv_in, "block1.proj.") + _conv(layer.conv_out, "block2.proj.")
    found += [("block1.norm.gamma", layer.gain_in, np.ravel), ("block2.norm.gamma", layer.gain_out, np.ravel)]
    if layer.film is not None:
        found += _dense(layer.film, "mlp.1")
    return found + (_conv(layer.project, "res_conv.") if layer.project is not None else [])


def _attention(layer: Any) -> list[_Wanted]:
    """The packed projection apart: [3 · hidden, channels] -> three of [channels, hidden]."""
    inner = "fn" if isinstance(layer, LinearSpaceAttention) else "fn.fn"

    def third(index: int) -> Any:
        return lambda packed: np.split(packed.reshape(packed.shape[:2]), 3)[index].T

    qkv = [
        (f"{inner}.to_qkv.weight", weight, third(index))
        for index, weight in enumerate((layer.query, layer.key, layer.value))
    ]
    out = (f"{inner}.to_out.weight", layer.out, lambda weight: weight.reshape(weight.shape[:2]).T)
    bias = [(f"{inner}.to_out.bias", layer.bias, _same)] if layer.bias is not None else []
    return [("norm.gamma", layer.gain, np.ravel), *qkv, out, *bias]


def _same(value: np.ndarray) -> np.ndarray:
    return value


_PARTS: Mapping[type, Any] = {
    FoldedConv3D: _conv,
    FrameDownsample: _strided,
    FrameUpsample: _strided,
    PostNormBlock3D: _block,
    LinearSpaceAttention: _attention,
    SpaceAttention: _attention,
    TimeAttention: _attention,
    RelativePositionBias: lambda layer: [("relative_attention_bias.weight", layer.table, _same)],
    TimestepEmbedding: lambda layer: _dense(layer.hidden, "1") + _dense(layer.out, "3"),
    ConditionConcatenation: lambda layer: [("null_cond_emb", value, np.ravel) for value in layer.untold.values()],
}
