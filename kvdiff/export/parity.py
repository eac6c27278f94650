"""How far an exported network is from Keras: measured before the file takes its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.conditions.condition import CONDITION_MASK, Condition
from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.transforms.values import Values

Network = Callable[..., np.ndarray]
"""F(noisy_clip, noise_label), or F(noisy_clip, noise_label, inputs) of a network of conditions."""
Shape = tuple[int, int, int, int]


class ParityError(RuntimeError):
    """The converted network does not agree with Keras; nothing was written."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        batch, frames, height, width: the shape of the noisy clip.
        max_abs_difference: the largest |exported - Keras| over the raw output.
        output_scale: the largest |Keras|.
    """

    batch: int
    frames: int
    height: int
    width: int
    max_abs_difference: float
    output_scale: float

    @property
    def relative(self) -> float:
        """The difference as a share of the output's scale, or as it is where the scale is below 1."""
        return self.max_abs_difference / max(self.output_scale, 1.0)

    def __str__(self) -> str:
        shape = f"batch {self.batch}, frames {self.frames}, height {self.height}, width {self.width}"
        return f"{shape}: max |difference| {self.max_abs_difference:.1e} of an output up to {self.output_scale:.2g}"


def cases(clip_shape: Sequence[int], dynamic: Sequence[bool]) -> list[Shape]:
    """(batch, frames, height, width) to compare at: a clip as trained, then several of each axis that is dynamic.

    Args:
        clip_shape: (frames, height, width, channels) of training.
        dynamic: of (batch, frames, height, width), which the network leaves open.
    """
    frames, height, width = clip_shape[:3]
    wanted = [
        (1, frames, height, width),
        (2, frames, height, width),
        (5, 1, height, width),
        (1, frames + 3, height, width),
        (1, 2, 2 * height, 2 * width),
    ]
    # An axis that the network fixes keeps its trained size; shapes that then coincide are compared once.
    shapes = np.where(dynamic, wanted, wanted[0]).tolist()
    return list(dict.fromkeys((b, f, h, w) for b, f, h, w in shapes))


def measure(
    keras_network: Network,
    exported: Network,
    shapes: Sequence[Shape],
    channels: int,
    conditions: Mapping[str, Condition] | None = None,
) -> list[Case]:
    """Run both networks on the same noise; labels from 0 to 1, a third of them exactly 0, which says "known".

    `conditions` have random values.
    """
    rng = np.random.default_rng(0)
    measured = []
    for shape in shapes:
        noisy_clip = rng.standard_normal((*shape, channels)).astype(np.float32)
        noise_label = np.maximum(rng.uniform(-0.5, 1.0, shape[:2]), 0.0).astype(np.float32)
        inputs = (example_inputs(conditions, noisy_clip.shape, rng),) if conditions else ()
        expected, found = keras_network(noisy_clip, noise_label, *inputs), exported(noisy_clip, noise_label, *inputs)
        difference = float(np.abs(found - expected).max())
        measured.append(Case(*shape, difference, float(np.abs(expected).max())))
    return measured


def example_inputs(
    conditions: Mapping[str, Condition], clip_shape: tuple[int, ...], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Random inputs for a network of `conditions` besides clips of `clip_shape` and their labels."""
    batch, frames, height, width, channels = clip_shape
    shape = (batch, frames, (height, width, channels))
    given = {name: condition.example(rng, *shape) for name, condition in conditions.items()}
    inputs = dict(Conditioning.of(conditions, given, clip_shape).inputs)
    if CONDITION_MASK in inputs:
        inputs[CONDITION_MASK] = rng.integers(0, 2, inputs[CONDITION_MASK].shape).astype(np.float32)
    return inputs


def check_parity(measured: Sequence[Case], tolerance: float) -> dict[str, Any]:
    """What the manifest records of the comparison; an infinite tolerance judges nothing but numbers that are none.

    Raises:
        ParityError: a case is over the tolerance, or not a number.
    """
    failed = [str(case) for case in measured if not case.relative <= tolerance]  # NaN fails too.
    if failed:
        raise ParityError(
            f"`model`: expected the exported network within {tolerance:g} of Keras, relative to the output's scale. "
            f"Received: {'; '.join(failed)}"
        )
    return {
        "reference": "Keras, float32, CPU",
        "tolerance": tolerance if np.isfinite(tolerance) else None,
        "max_relative_difference": max(case.relative for case in measured),
        "cases": [dataclasses.asdict(case) for case in measured],
    }


def sample_differences(values: Values, found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Differences of whole samples as x_0 has them, in [-1, 1] where the values have bounds: float64.

    Users' numbers may be of any size; where x_0 has no bounds either, differences are a share of its largest.
    """
    ours, theirs = (np.asarray(values.encode(clip), np.float64) for clip in (found, expected))
    scale = 1.0 if values.bounds is not None else max(float(np.abs(theirs).max()), 1.0)
    return (ours - theirs) / scale
