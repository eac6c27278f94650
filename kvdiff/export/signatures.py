"""The sampler as TensorFlow functions for a model server: every input and output has the batch on axis 0.

A server puts rows of different requests into one batch. So whatever a row is made from is the row's own: known frames,
step table, seed and sample number; and a row never looks at another. The noise is the counter-based one of
`kvdiff.diffusion.noise`, drawn inside the graph, and a step is `kvdiff.diffusion.step`: the row's video is the one that
any other runtime makes of the same seed and sample number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.diffusion.noise import SAMPLING, normal
from kvdiff.diffusion.sampler import ClipSpec
from kvdiff.diffusion.steps import Row, StepTable, step
from kvdiff.runtime.saved_model import COLUMNS, MEMORY, table_inputs

if TYPE_CHECKING:
    import keras

__all__ = ["PIXELS", "Signatures"]

PIXELS = ("uint8", "float32", "png")

Tensors = dict[str, Any]


class Signatures:
    """The functions that a SavedModel serves, and the tensors that each takes.

    Args:
        denoiser: the network, in float32.
        clip_spec: the shape of all clips.
        clamp: what keeps the predicted x_0 in range, on tensors.
        table: what `generate`, `predict` and `interpolate` do; with one noise level a row.
        max_calls: the most rows of a table that `sample` takes.
        pixels: how those three give frames: "uint8", "float32" in [-1, 1] or "png", files. Known frames are given as
            uint8 or, with "float32", as float32.
    """

    def __init__(
        self,
        denoiser: keras.Model,
        clip_spec: ClipSpec,
        clamp: Callable[[Any], Any],
        table: StepTable,
        *,
        max_calls: int,
        pixels: str,
    ) -> None:
        import tensorflow as tf

        self._tf, self._denoiser, self._clip_spec, self._clamp = tf, denoiser, clip_spec, clamp
        self._table, self._max_calls, self._pixels = table, max_calls, pixels
        self._clip_shape = (clip_spec.num_frames, *clip_spec.frame_shape)
        self._network = tf.function(self._answer, autograph=False)
        self._make = tf.function(self._sampled, autograph=False)
        self._constants = _constant_rows(table, clip_spec.num_frames)

    def concrete(self) -> Tensors:
        """The signatures by name, traced."""
        functions = {
            "denoise": self.denoise,
            "generate": self.generate,
            "predict": self.predict,
            "interpolate": self.interpolate,
            "sample": self.sample,
        }
        return {
            name: self._tf.function(function, autograph=False).get_concrete_function(**self.inputs(name))
            for name, function in functions.items()
        }

    def inputs(self, signature: str) -> Tensors:
        """The `tf.TensorSpec` of each input of a signature."""
        tf, frames, rows = self._tf, self._clip_spec.num_frames, self._max_calls
        given = "float32" if self._pixels == "float32" else "uint8"
        which: dict[str, tuple[list[int], str]] = {"seed": ([], "int64"), "sample": ([], "int64")}
        specs: dict[str, dict[str, tuple[list[int], str]]] = {
            "denoise": {
                "noisy_clip": ([*self._clip_shape], "float32"),
                "noise_label": ([frames], "float32"),
            },
            "generate": which,
            "predict": {"clip": ([*self._clip_shape], given), "num_past": ([], "int32"), **which},
            "interpolate": {
                "clip": ([*self._clip_shape], given),
                "num_before": ([], "int32"),
                "num_after": ([], "int32"),
                **which,
            },
            "sample": {
                "clip": ([*self._clip_shape], "float32"),
                "known": ([frames], "bool"),
                "table": ([rows, len(COLUMNS), frames], "float32"),
                "b": ([rows, MEMORY, frames], "float32"),
                "num_calls": ([], "int32"),
                "init_std": ([], "float32"),
                **which,
            },
        }
        return {
            name: tf.TensorSpec([None, *shape], dtype, name=name) for name, (shape, dtype) in specs[signature].items()
        }

    def example(self, signature: str) -> dict[str, np.ndarray]:
        """Inputs for one row of a signature: black clips of which nothing is known, by the table chosen at export."""
        frames = self._clip_spec.num_frames
        example = {
            name: np.zeros([1, *spec.shape[1:]], spec.dtype.as_numpy_dtype)
            for name, spec in self.inputs(signature).items()
        }
        if signature == "sample":
            example |= table_inputs(self._table.with_known(np.zeros((1, frames), bool)), self._max_calls)
            example["init_std"] = np.full(1, self._table.init_std, np.float32)
        return example

    # The signatures. Each takes the tensors that `inputs` says and returns one, in a dictionary.

    def denoise(self, noisy_clip: Any, noise_label: Any) -> Tensors:
        """The network's raw output."""
        return {"raw_output": self._network(noisy_clip, noise_label)}

    def generate(self, seed: Any, sample: Any) -> Tensors:
        """New clips, one a seed and sample number."""
        tf = self._tf
        batch = tf.shape(seed)[0]
        clip = tf.zeros([batch, *self._clip_shape], tf.float32 if self._pixels == "float32" else tf.uint8)
        return self._filled(clip, tf.zeros([batch, self._clip_spec.num_frames], tf.bool), seed, sample)

    def predict(self, clip: Any, num_past: Any, seed: Any, sample: Any) -> Tensors:
        """`clip` with the frames after its first `num_past` made; what it holds there does not matter."""
        index = self._tf.range(self._clip_spec.num_frames)
        return self._filled(clip, index < num_past[:, None], seed, sample)

    def interpolate(self, clip: Any, num_before: Any, num_after: Any, seed: Any, sample: Any) -> Tensors:
        """`clip` with the frames made that lie between the first `num_before` and the last `num_after`."""
        frames = self._clip_spec.num_frames
        index = self._tf.range(frames)
        known = (index < num_before[:, None]) | (index >= frames - num_after[:, None])
        return self._filled(clip, known, seed, sample)

    def sample(
        self,
        clip: Any,
        known: Any,
        table: Any,
        b: Any,
        num_calls: Any,
        init_std: Any,
        seed: Any,
        sample: Any,
    ) -> Tensors:
        """Any solver, number of steps and task: the step table, known frames' rows included, is an input."""
        num_calls = self._tf.minimum(num_calls, self._max_calls)
        return {"clip": self._make(Row, COLUMNS, clip, known, table, b, num_calls, init_std, seed, sample)}

    def _filled(self, given: Any, known: Any, seed: Any, sample: Any) -> Tensors:
        """The frames of `given` that are not `known`, by the table that was chosen at export."""
        tf, table = self._tf, self._table
        columns, free, held = self._constants
        here = known[:, None, None, :]
        rows = {name: tf.where(here, held[name], free[name]) for name in free}
        batch = tf.shape(known)[:1]
        num_calls, init_std = tf.fill(batch, table.num_steps), tf.fill(batch, np.float32(table.init_std))
        clip = given if self._pixels == "float32" else tf.cast(given, tf.float32) / 127.5 - 1.0
        made = self._make(table.ROW, columns, clip, known, rows["table"], rows["b"], num_calls, init_std, seed, sample)
        if self._pixels == "float32":
            return {"frames": made}
        pixels = tf.cast(tf.round((tf.clip_by_value(made, -1.0, 1.0) + 1.0) * 127.5), tf.uint8)
        if self._pixels == "uint8":
            return {"frames": pixels}
        return {"frames_bytes": tf.io.encode_png(pixels)}  # Of such a name a server's REST answer is in base64.

    # The loop.

    def _answer(self, noisy_clip: Any, noise_label: Any) -> Any:
        inputs = {"noisy_clip": noisy_clip, "noise_label": noise_label}
        return self._tf.cast(self._denoiser(inputs, training=False), self._tf.float32)

    def _sampled(
        self,
        row_type: type[Row],
        columns: tuple[str, ...],
        clip: Any,
        known: Any,
        table: Any,
        b: Any,
        num_calls: Any,
        init_std: Any,
        seed: Any,
        sample: Any,
    ) -> Any:
        """The clips after all rows; where one's rows have ended before another's, it waits unchanged."""
        tf = self._tf
        held = known[:, :, None, None, None]

        def row_at(i: Any) -> Row:
            fields = dict(zip(columns, tf.unstack(_pixelwise(tf.gather(table, i, axis=1)), axis=1), strict=True))
            return row_type(**fields, b=tf.unstack(_pixelwise(tf.gather(b, i, axis=1)), axis=1))

        def body(i: Any, x: Any, history: tuple[Any, ...]) -> tuple[Any, Any, tuple[Any, ...]]:
            row = row_at(i)
            out = self._network(row.c_in * x, row.c_noise[..., 0, 0, 0])
            drawn = tf.reduce_any(row.std != 0.0)
            fresh = tf.cond(drawn, lambda: self._noise(seed, i + 1, sample), lambda: tf.zeros_like(x))
            moved, history = step(row, x, out, history, fresh, self._clamp, tf.exp)
            return i + 1, tf.where((i < num_calls)[:, None, None, None, None], moved, x), history

        start = init_std[:, None, None, None, None] * self._noise(seed, 0, sample)
        x, history = tf.where(held, clip, start), tuple(tf.zeros_like(clip) for _ in range(MEMORY))
        last = tf.reduce_max(num_calls)
        _, x, _ = tf.while_loop(lambda i, *_: i < last, body, (0, x, history))
        return tf.where(held, clip, x)

    def _noise(self, seed: Any, step: Any, sample: Any) -> Any:
        """`kvdiff.diffusion.noise.video_noise`, with a seed (its 64 bits as an int64) for each row."""
        from keras import ops

        tf = self._tf
        words = tuple(
            tf.cast(
                tf.bitwise.bitwise_and(tf.bitwise.right_shift(seed, tf.constant(shift, tf.int64)), 0xFFFFFFFF),
                tf.uint32,
            )
            for shift in (0, 32)
        )
        drawn = normal(ops, words, step, sample, math.prod(self._clip_shape), SAMPLING)
        return tf.reshape(drawn, [-1, *self._clip_shape])


def _pixelwise(row: Any) -> Any:
    """[batch, columns, frames] -> [batch, columns, frames, 1, 1, 1]."""
    return row[..., None, None, None]


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
