"""The inputs and outputs that a manifest describes: read with bounds, compared with what a sampler sends and takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kvdiff.diffusion.conditions.condition import CONDITION_MASK, Condition, noise_input, optional_names
from kvdiff.diffusion.process.clip_spec import ClipSpec

_MAX_TENSORS, _MAX_NAME, _MAX_AXES, _MAX_SIZE = 1024, 256, 8, 2**31

Shapes = Mapping[str, list[str | int]]

_TABLE = {"start", "start_std", "table", "b", "seed", "sample", "first_draw"}


def shapes_of(section: str, tensors: Mapping[str, Any]) -> Shapes:
    """The shape of each tensor by name: sizes, or names of axes of any size.

    Raises:
        ValueError, KeyError, TypeError: something else.
    """
    if len(tensors) > _MAX_TENSORS:
        raise ValueError(f"`{section}`: expected at most {_MAX_TENSORS} tensors. Received: {len(tensors)}")
    shapes: dict[str, list[str | int]] = {}
    for name, tensor in tensors.items():
        shape = tensor["shape"]
        if not (0 < len(name) <= _MAX_NAME and isinstance(shape, list) and len(shape) <= _MAX_AXES):
            wanted = f"names of 1 to {_MAX_NAME} characters and lists of at most {_MAX_AXES} sizes"
            raise ValueError(f"`{section}`: expected {wanted}. Received: {name[:80]!r}")
        for size in shape:
            named = isinstance(size, str) and 0 < len(size) <= 2 * _MAX_NAME
            if not named and not (type(size) is int and 0 < size < _MAX_SIZE):
                raise ValueError(f"`{section}`: expected sizes above 0 or names of axes. Received: {name[:80]!r}")
        shapes[name] = list(shape)
    return shapes


def check_tensors(
    kind: str,
    inputs: Shapes,
    outputs: Shapes,
    clip: ClipSpec,
    conditions: Mapping[str, Condition],
    pixels: bool = False,
) -> None:
    """Raise unless an artefact of this kind takes and gives what its sampler needs, for clips of its shape.

    Raises:
        ValueError: a tensor that is missing, not known, or of other clips.
    """
    further = {*conditions, *(noise_input(name) for name, each in conditions.items() if each.has_noise)}
    guided = {"guidance"} if optional_names(conditions) else set()
    further |= {CONDITION_MASK} if guided else set()
    network, table = {"noisy_clip", "noise_label", *further}, _TABLE | further | guided
    if kind in ("onnx-denoiser", "litert-denoiser"):
        _check("", "noisy_clip", "raw_output", network, inputs, outputs, clip)
    elif kind in ("onnx-sampler", "web"):
        rescale = {"guidance_rescale"} if guided else set()
        given, made = ({"pixels", "pixels_known"}, {"pixels_out"}) if pixels else (set(), set())
        wanted = table | {"history", "noise"} | rescale | given
        _check("", "start", "clip", wanted, inputs, outputs, clip, {"history_out"} | made)
    elif kind == "saved-model":
        _check("denoise/", "noisy_clip", "raw_output", network, inputs, outputs, clip)
        _check("sample/", "start", "clip", table | {"num_calls"}, inputs, outputs, clip)


def _check(
    prefix: str,
    clip_in: str,
    clip_out: str,
    wanted: set[str],
    inputs: Shapes,
    outputs: Shapes,
    clip: ClipSpec,
    more: Collection[str] = (),
) -> None:
    """Of the tensors whose names begin with `prefix`: `wanted` inputs, and the outputs `clip_out` and `more`."""
    found_in, found_out = (
        {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
        for shapes in (inputs, outputs)
    )
    for what, found, names in (("inputs", found_in, wanted), ("outputs", found_out, {clip_out, *more})):
        if set(found) != names:
            raise ValueError(f"`{what}`: expected {sorted(names)} by its sampler. Received: {sorted(found)[:32]}")
    own = (clip.num_frames, *clip.frame_shape)
    channels = {clip.channels, 2 * clip.channels} if clip_out == "raw_output" else {clip.channels}  # With a variance.
    for what, shape, last in (
        ("inputs", found_in[clip_in], {clip.channels}),
        ("outputs", found_out[clip_out], channels),
    ):
        sizes = shape[-4:]
        other = any(isinstance(size, int) and size != wanted for size, wanted in zip(sizes[:3], own[:3], strict=False))
        if len(sizes) < 4 or sizes[3] not in last or other:
            raise ValueError(f"`{what}`: expected clips of {list(own)}, as its sampler. Received: {shape}")
