"""The axes of an exported network: which of them a file leaves open, and which have the sizes of training.

A network that is traced at fixed sizes computes no shapes: its graph is smaller, is opened sooner and runs a little
faster, and takes no other clips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvdiff.diffusion.conditions.condition import CONDITION_MASK, noise_input, optional_names
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.models.denoiser import input_shapes

if TYPE_CHECKING:
    import keras

AXES = ("batch", "frames", "height", "width")

Axes = dict[str, tuple[str | int, ...]]

_FIXED: dict[bool | str, tuple[str, ...]] = {False: (), "size": ("height", "width"), True: AXES}


def check_static(static: Any) -> bool | str:
    """Return `static` where it is a boolean or "size", else raise ValueError."""
    if not isinstance(static, bool) and static != "size":
        raise ValueError(f'`static`: expected True, False or "size". Received: {static!r}')
    return static


def input_axes(spec: ModelSpec, denoiser: keras.Model, static: bool | str) -> Axes:
    """The denoiser's inputs in order: of each axis its size where that is fixed, else a name.

    Args:
        spec: what the network was trained for.
        denoiser: the network.
        static: True for one clip of the training shape; "size" for the training height and width alone; False for any.
    """
    fixed = _FIXED[static]
    channels = spec.latent.channels
    named: dict[str, tuple[Any, ...]] = {"noisy_clip": (*AXES, channels), "noise_label": AXES[:2]}
    for name, condition in spec.conditions.items():
        sizes = condition.shape("frames", (None, None, channels))
        named[name] = (
            "batch",
            *(_Picture(name, index) if size is None else size for index, size in enumerate(sizes, 1)),
        )
        named[noise_input(name)] = ("batch",)
    named[CONDITION_MASK] = ("batch", len(optional_names(spec.conditions)))
    trained = {name: (1, *shape) for name, shape in input_shapes(denoiser, spec).items()}
    return {
        name: tuple(
            size if axis in fixed or (isinstance(axis, _Picture) and "height" in fixed) else axis
            for axis, size in zip(axes, trained[name], strict=True)
        )
        for name, axes in named.items()
        if name in denoiser.input
    }


def traced_shapes(denoiser: keras.Model, axes: Axes) -> dict[str, list[int | None]]:
    """The shapes that a denoiser is traced for, by name; None is any size."""
    return {
        name: [
            axis if size is None and isinstance(axis, int) else size
            for size, axis in zip(tensor.shape, axes[name], strict=True)
        ]
        for name, tensor in denoiser.input.items()
    }


class _Picture(str):
    """The name of an axis of a condition's pictures, which are as large as clips or smaller."""

    def __new__(cls, condition: str, index: int) -> _Picture:
        return super().__new__(cls, f"{condition}_axis{index}")
