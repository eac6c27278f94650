"""The sampler as TensorFlow functions for a model server: every input and output has the batch on axis 0.

A server puts rows of different requests into one batch. So whatever a row depends on is the row's own: known frames,
step table, conditions, guidance, seed and sample number; its video is that of any other runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.diffusion.conditions.condition import CONDITION_MASK
from kvdiff.diffusion.solvers.rows import Row
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.diffusion.transforms.pixels import to_pixels
from kvdiff.diffusion.transforms.values import Pixels
from kvdiff.export.graph_sampler import GraphSampler, Tensors
from kvdiff.models.denoiser import input_shapes
from kvdiff.runtime.format import MEMORY, SERVED_COLUMNS
from kvdiff.runtime.saved_model import table_inputs

if TYPE_CHECKING:
    import keras

PIXELS = ("uint8", "float32", "png")

Shape = tuple[int | None, ...]


class Signatures:
    """The functions that a SavedModel serves, and the tensors that each takes.

    Args:
        denoiser: the network, in float32.
        spec: what it was trained for, with the frames of all clips.
        table: what `generate`, `predict` and `interpolate` do; with one noise level a row.
        max_calls: the most rows of a table that `sample` takes.
        pixels: how those three give frames: "uint8", "float32", in the numbers of the model's values, or "png", files.
            Known frames are uint8 or, with "float32", float32.

    Of a model with conditions every signature takes its further inputs, and all but `denoise` a `guidance` weight for
    each row.

    Raises:
        ValueError: a picture of values that are no pixels.
    """

    def __init__(
        self,
        denoiser: keras.Model,
        spec: ModelSpec,
        table: StepTable,
        *,
        max_calls: int,
        pixels: str,
    ) -> None:
        import tensorflow as tf
        from keras import ops

        if pixels != "float32" and not isinstance(spec.values, Pixels):
            raise ValueError(f"`pixels`: expected 'float32' for values {spec.values.name!r}. Received: {pixels!r}")
        self._tf, self._ops, self._denoiser, self._spec = tf, ops, denoiser, spec
        self._table, self._max_calls, self._pixels = table, max_calls, pixels
        self._frames = spec.clip.num_frames
        self._sampler = GraphSampler(denoiser, spec)
        self._constants = _constant_rows(table, self._frames)

    def concrete(self) -> Tensors:
        """The signatures by name, traced."""
        functions = {
            "denoise": self.denoise,
            "generate": self.generate,
            "predict": self.predict,
            "interpolate": self.interpolate,
            "sample": self.sample,
        }
        if isinstance(self._spec.codec, Autoencoder):
            functions |= {"encode": self.encode, "decode": self.decode}
        return {
            name: self._tf.function(function, autograph=False).get_concrete_function(**self.inputs(name))
            for name, function in functions.items()
        }

    def inputs(self, signature: str) -> Tensors:
        """The `tf.TensorSpec` of each input of a signature."""
        specs = self._own_inputs(signature)
        of_codec = signature in ("encode", "decode")
        others = {} if of_codec else self._condition_inputs(guided=signature != "denoise")
        if clashes := sorted(set(specs) & set(others)):
            raise ValueError(f"`model`: expected conditions of other names than the inputs served. Received: {clashes}")
        return {
            name: self._tf.TensorSpec([None, *shape], dtype, name=name)
            for name, (shape, dtype) in {**specs, **others}.items()
        }

    def _own_inputs(self, signature: str) -> dict[str, tuple[Shape, str]]:
        """(shape but for the batch, type) of each input that does not come from a condition."""
        clip, latent = self._spec.clip.shape, self._spec.latent.shape
        frames, rows = self._frames, self._max_calls
        given = "float32" if self._pixels == "float32" else "uint8"
        which: dict[str, tuple[Shape, str]] = {"seed": ((), "int64"), "sample": ((), "int64")}
        specs: dict[str, dict[str, tuple[Shape, str]]] = {
            "denoise": {"noisy_clip": (latent, "float32"), "noise_label": ((frames,), "float32")},
            "generate": which,
            "predict": {"clip": (clip, given), "num_past": ((), "int32"), **which},
            "interpolate": {"clip": (clip, given), "num_before": ((), "int32"), "num_after": ((), "int32"), **which},
            "sample": {
                "start": (latent, "float32"),
                "start_std": ((frames,), "float32"),
                "table": ((rows, len(SERVED_COLUMNS), frames), "float32"),
                "b": ((rows, MEMORY, frames), "float32"),
                "num_calls": ((), "int32"),
                "first_draw": ((), "int32"),
                **which,
            },
            "encode": {"clip": ((None, *clip[1:]), "float32")},  # Of any number of frames.
            "decode": {"latent": ((None, *latent[1:]), "float32")},
        }
        return specs[signature]

    def _condition_inputs(self, *, guided: bool) -> dict[str, tuple[Shape, str]]:
        """The same of the inputs of the denoiser's conditions."""
        specs: dict[str, tuple[Shape, str]] = {
            name: (shape, self._denoiser.input[name].dtype)
            for name, shape in input_shapes(self._denoiser, self._spec).items()
            if name not in ("noisy_clip", "noise_label")
        }
        return {**specs, "guidance": ((), "float32")} if guided and CONDITION_MASK in specs else specs

    def example(self, signature: str) -> dict[str, np.ndarray]:
        """Inputs for one row of a signature: no frame known, no condition, and the table chosen at export."""
        frames = self._frames
        example = {
            name: np.zeros([1, *(1 if size is None else size for size in spec.shape[1:])], spec.dtype.as_numpy_dtype)
            for name, spec in self.inputs(signature).items()
        }
        if "guidance" in example:
            example["guidance"] += 1
        if signature == "sample":
            example |= table_inputs(self._table.with_known(np.zeros(frames, bool)), 1, frames, self._max_calls)
            example["start_std"] = np.full((1, frames), self._table.init_std, np.float32)
        return example

    # The signatures. Each takes the tensors that `inputs` says and returns one, in a dictionary.

    def denoise(self, noisy_clip: Any, noise_label: Any, **given: Any) -> Tensors:
        """The network's raw output."""
        return {"raw_output": self._sampler.network(noisy_clip, noise_label, given)}

    def encode(self, clip: Any) -> Tensors:
        """The latent clip of x_0."""
        latent = self._spec.codec.encode(clip, self._ops)  # type: ignore[union-attr]
        return {"latent": self._tf.ensure_shape(latent, [None, None, *self._spec.latent.frame_shape])}

    def decode(self, latent: Any) -> Tensors:
        """x_0 of a latent clip."""
        clip = self._spec.codec.decode(latent, self._ops)  # type: ignore[union-attr]
        return {"clip": self._tf.ensure_shape(clip, [None, None, *self._spec.clip.frame_shape])}

    def generate(self, seed: Any, sample: Any, **given: Any) -> Tensors:
        """New clips, one a seed and sample number."""
        tf = self._tf
        batch = tf.shape(seed)[0]
        clip = tf.zeros([batch, *self._spec.clip.shape], tf.float32 if self._pixels == "float32" else tf.uint8)
        return self._filled(clip, tf.zeros([batch, self._frames], tf.bool), seed, sample, given)

    def predict(self, clip: Any, num_past: Any, seed: Any, sample: Any, **given: Any) -> Tensors:
        """`clip` with the frames after its first `num_past` generated; what it holds there does not matter."""
        index = self._tf.range(self._frames)
        return self._filled(clip, index < num_past[:, None], seed, sample, given)

    def interpolate(self, clip: Any, num_before: Any, num_after: Any, seed: Any, sample: Any, **given: Any) -> Tensors:
        """`clip` with the frames generated that lie between the first `num_before` and the last `num_after`."""
        frames = self._frames
        index = self._tf.range(frames)
        known = (index < num_before[:, None]) | (index >= frames - num_after[:, None])
        return self._filled(clip, known, seed, sample, given)

    def sample(self, start: Any, start_std: Any, table: Any, b: Any, num_calls: Any, **address: Any) -> Tensors:
        """Any solver, number of steps and task: the step table, known frames' rows included, is an input.

        Sampling starts from `start` with noise of the standard deviation `start_std` of each frame, 0 for known ones.
        Noise is numbered: draw `first_draw` for the start, one more for each row.
        """
        num_calls = self._tf.minimum(num_calls, self._max_calls)
        begin, rows = (start, start_std), (table, b, num_calls)
        return {"clip": self._sampler.make((Row, SERVED_COLUMNS), begin, rows, *_split(address))}

    def _filled(self, clip: Any, known: Any, seed: Any, sample: Any, given: Tensors) -> Tensors:
        """The frames of `clip` that are not `known`, by the table that was chosen at export."""
        tf, table = self._tf, self._table
        columns, free, fixed = self._constants
        rows = {name: tf.where(known[:, None, None, :], fixed[name], free[name]) for name in free}
        pixels = known[:, :, None, None, None]
        numbers = clip if self._pixels == "float32" else self._spec.values.encode(clip, self._ops)
        address = dict(first_draw=tf.zeros_like(seed, tf.int32), seed=seed, sample=sample)
        x_0 = self._sampler.make(
            (table.ROW, columns),
            (
                tf.where(pixels, self._spec.encode(numbers, self._ops), 0.0),
                tf.where(known, 0.0, np.float32(table.init_std)),
            ),
            (rows["table"], rows["b"], tf.fill(tf.shape(seed), table.num_steps)),
            address,
            self._sampler.with_noise(given, address),
        )
        return self._encoded(tf.where(pixels, numbers, self._spec.decode(x_0, self._ops)))

    def _encoded(self, clip: Any) -> Tensors:
        tf = self._tf
        if self._pixels == "float32":
            return {"frames": clip}
        pixels = to_pixels(clip, self._ops)
        if self._pixels == "uint8":
            return {"frames": pixels}
        return {"frames_bytes": tf.io.encode_png(pixels)}  # Of such a name a server's REST response is in base64.


def _split(address: Tensors) -> tuple[Tensors, Tensors]:
    """What numbers a row's noise, and the inputs of its conditions."""
    numbers = ("seed", "sample", "first_draw")
    given = {name: value for name, value in address.items() if name not in numbers}
    return {name: address[name] for name in numbers}, given


def _constant_rows(table: StepTable, frames: int) -> tuple[tuple[str, ...], Tensors, Tensors]:
    """(columns, rows of an unknown frame, rows of a known one): float32 [1, calls, columns or MEMORY, 1 or frames]."""
    if table.memory > MEMORY:
        raise ValueError(f"`solver`: expected one that remembers at most {MEMORY} calls. Received: {table.memory}")
    columns = tuple(name for name in table.COLUMNS if name != "b")

    def stacked(rows: StepTable) -> Tensors:
        b = np.pad(rows.b, [(0, 0), (0, MEMORY - rows.memory), (0, 0)])
        values = {"table": np.stack([getattr(rows, name) for name in columns], axis=1), "b": b}
        return {name: value[None].astype(np.float32) for name, value in values.items()}

    return columns, stacked(table), stacked(table.with_known(np.ones(frames, bool)))
