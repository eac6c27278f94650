"""What a denoiser says of itself: the little that the model, the samplers and the exports must know of a network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import keras

from kvdiff.diffusion.conditions.condition import CONDITION_MASK, Condition, noise_input, optional_names
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.padding import Padding
from kvdiff.layers.enlarge import Enlarge
from kvdiff.layers.still_pixels import StillPixels
from kvdiff.layers.token_attention import TokenEncoder

EXPORTS = {
    "onnx": "kvdiff.export.export_onnx and export_onnx_sampler",
    "litert": "kvdiff.export.export_litert",
    "tf_saved_model": "kvdiff.export.export_saved_model",
}
"""What writes a whole sampler where Keras' export of a format writes a network."""


@dataclasses.dataclass(frozen=True)
class DenoiserContract:
    """What a denoiser takes and returns.

    Attributes:
        conditions: what it may know besides known frames, by name.
        frame_multiple: what height and width of its clips must be multiples of.
        channels, out_channels: of the noisy clip and of the raw output.
        known_noise: the highest noise label of a frame that it takes for known; None where it makes no difference.
        prediction: the only kind of prediction that it is for; None where it is for any.
    """

    conditions: Mapping[str, Condition]
    frame_multiple: int
    channels: int
    out_channels: int
    known_noise: float | None
    prediction: str | None = None

    @classmethod
    def of(cls, denoiser: keras.Model) -> DenoiserContract:
        """The contract of a Keras model of `{"noisy_clip", "noise_label", …}`.

        A denoiser may have the fields as attributes of its own; what it does not have is read from its layers: their
        `conditions`, `known_noise`, `prediction` and `shrink`, the factor by which a layer divides height and width.

        Raises:
            TypeError: a denoiser whose inputs are not named so.
        """
        if not isinstance(denoiser, keras.Model):
            raise TypeError(f"`denoiser`: expected a Keras model. Received: {type(denoiser).__name__}")
        inputs = getattr(denoiser, "input", None)
        if not isinstance(inputs, Mapping) or not {"noisy_clip", "noise_label"} <= set(inputs):
            received = sorted(inputs) if isinstance(inputs, Mapping) else type(inputs).__name__
            raise TypeError(
                '`denoiser`: expected inputs by name, {"noisy_clip": …, "noise_label": …}, as `UNet3D` has them. '
                f"Received: {received}"
            )
        layers = denoiser.layers
        conditions = dict(_own(denoiser, layers, "conditions", {}))
        shrink = math.prod(getattr(layer, "shrink", 1) for layer in layers)
        scales = [condition.pixel_scale or 1 for condition in conditions.values()]
        return cls(
            conditions=conditions,
            frame_multiple=getattr(denoiser, "frame_multiple", math.lcm(shrink, *scales)),
            channels=inputs["noisy_clip"].shape[-1],
            out_channels=denoiser.output.shape[-1],
            known_noise=_own(denoiser, layers, "known_noise", None),
            prediction=_own(denoiser, layers, "prediction", None),
        )

    def padding(self, frame_shape: tuple[int, int, int]) -> Padding | None:
        """What makes frames (height, width, channels) divisible; None where they are, or where it cannot."""
        height, width, _ = frame_shape
        small = any(condition.pixel_scale > 1 for condition in self.conditions.values())
        divisible = height % self.frame_multiple == 0 and width % self.frame_multiple == 0
        return None if divisible or small else Padding(height, width, self.frame_multiple)

    def check(
        self, frame_shape: tuple[int, int, int], outputs: int, known_noise: float, prediction: str, of: str = ""
    ) -> None:
        """Raise unless the denoiser goes with a model: frames (height, width, channels) and its other arguments.

        An error of sizes names the nearest that fit; `of` is "latent " where the frames are latent ones.
        """
        for name, size in zip(("height", "width"), frame_shape[:2], strict=True):
            if size % self.frame_multiple:
                below, above = (
                    count * self.frame_multiple
                    for count in (size // self.frame_multiple, -(-size // self.frame_multiple))
                )
                nearest = f"{below} or {above}" if below else f"{above}"
                raise ValueError(
                    f"`clip_shape`: expected a {of}{name} divisible by {self.frame_multiple}, e.g. {nearest}. "
                    f"Received: {size}"
                )
        if self.channels != frame_shape[-1]:
            raise ValueError(
                f"`clip_shape`: expected the denoiser's {self.channels} {of}channels. Received: {frame_shape[-1]}"
            )
        if self.out_channels != outputs:
            raise ValueError(f"`denoiser`: expected {outputs} output channels. Received: {self.out_channels}")
        if self.known_noise not in (None, known_noise):
            raise ValueError(
                f"`known_noise`: expected the denoiser's, {self.known_noise}, to which it takes frames for known. "
                f"Received: {known_noise}. Make both the same, e.g. UNet3D(…, known_noise={known_noise})."
            )
        if self.prediction not in (None, prediction):
            raise ValueError(f"`prediction`: expected the denoiser's, {self.prediction!r}. Received: {prediction!r}")


def _own(denoiser: keras.Model, layers: list[Any], name: str, default: Any) -> Any:
    """The denoiser's attribute `name`, or that of the first layer that has one."""
    return next((getattr(part, name) for part in (denoiser, *layers) if hasattr(part, name)), default)


def checked_conditions(conditions: Any) -> dict[str, Condition]:
    """A denoiser's conditions by name; none of them where there is no argument."""
    kinds = dict(conditions) if isinstance(conditions, Mapping) else {"": conditions} if conditions else {}
    if wrong := [kind for name, kind in kinds.items() if not isinstance(kind, Condition) or not name]:
        raise TypeError(f"`conditions`: expected {{name: condition}}, e.g. ClassLabel(10). Received: {wrong[0]!r}")
    return kinds


def condition_inputs(conditions: Mapping[str, Condition], channels: int) -> dict[str, Any]:
    """A denoiser's Keras inputs for `conditions`, by name."""
    inputs = {}
    for name, condition in conditions.items():
        if name in ("noisy_clip", "noise_label", CONDITION_MASK):
            raise ValueError(f"`conditions`: expected names other than the denoiser's own. Received: {name!r}")
        shape = condition.shape(None, (None, None, channels))
        inputs[name] = keras.Input(shape, name=name, dtype=condition.dtype)
        if condition.has_noise:
            inputs[noise_input(name)] = keras.Input((), name=noise_input(name), dtype="float32")
    if names := optional_names(conditions):
        inputs[CONDITION_MASK] = keras.Input((len(names),), name=CONDITION_MASK, dtype="float32")
    return inputs


def with_clips(
    clip: Any, inputs: Mapping[str, Any], conditions: Mapping[str, Condition], *, has_mask: bool = False
) -> Any:
    """What a first layer sees: the noisy clip and, as channels, the conditions that are pictures or clips, of its size.

    Where `clip` `has_mask` of what is missing, that is not added again.
    """
    seen = [clip]
    for name, condition in conditions.items():
        if not condition.pixel_scale or (has_mask and condition.tells_missing):
            continue
        if condition.is_always_present:
            seen.append(inputs[name])
            continue
        present = inputs[CONDITION_MASK][:, optional_names(conditions).index(name)]
        if condition.is_still:
            seen.append(StillPixels(condition, name=f"{name}_pixels")(inputs[name], inputs["noisy_clip"], present))
        else:
            seen.append(Enlarge(condition.pixel_scale, name=f"{name}_enlarged")(inputs[name], present))
    return keras.layers.Concatenate(name="seen")(seen) if len(seen) > 1 else clip


def tokens_of(
    inputs: Mapping[str, Any], conditions: Mapping[str, Condition], units: int, heads: int
) -> tuple[Any, ...]:
    """What `TokenAttention` sees of the conditions that are sequences, one after the other; () where none is.

    Tokens float32 [batch, tokens, units] and which of them count, float32 [batch, tokens]; `units` is 0 of a network
    that attends to nothing.
    """
    read = []
    for column, name in enumerate(optional_names(conditions)):
        if conditions[name].num_tokens:
            if not units:
                raise ValueError(
                    f"`attention`: expected a level that attends to the tokens of {name!r}. Received: none"
                )
            encoder = TokenEncoder(conditions[name], units, heads=heads, name=f"{name}_tokens")
            read.append(encoder(inputs[name], inputs[CONDITION_MASK][:, column]))
    if len(read) < 2:
        return read[0] if read else ()
    parts = zip(("tokens", "tokens_valid"), zip(*read, strict=True), strict=True)
    return tuple(keras.layers.Concatenate(axis=1, dtype="float32", name=name)(list(part)) for name, part in parts)


def input_shapes(denoiser: keras.Model, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """The shapes of a denoiser's inputs for clips of `spec`, but for the batch, by name."""
    frames, frame_shape = spec.latent.num_frames, spec.latent.frame_shape
    shapes = {name: condition.shape(frames, frame_shape) for name, condition in spec.conditions.items()}
    shapes |= {"noisy_clip": spec.latent.shape, "noise_label": (frames,)}
    return {name: tuple(shapes.get(name, tensor.shape[1:])) for name, tensor in denoiser.input.items()}


def export_signature(denoiser: keras.Model, spec: ModelSpec, format: str) -> list[dict[str, keras.InputSpec]]:
    """What a denoiser takes, for Keras' export of a format; without it Keras asks for a call of the model first.

    LiteRT's converter wants sizes: those of one clip.
    """
    shapes = {name: tensor.shape for name, tensor in denoiser.input.items()}
    if format == "litert":
        shapes = {name: (1, *shape) for name, shape in input_shapes(denoiser, spec).items()}
    return [{name: keras.InputSpec(t.dtype, shapes[name], name=name) for name, t in denoiser.input.items()}]
