"""The sampling loop as a TensorFlow graph: `step` over the rows of a table that is an input, one for each clip.

Every clip of a batch depends on its own inputs alone. The noise is the counter-based one of
`kvdiff.diffusion.process.noise`, drawn inside the graph, and a row is applied by `kvdiff.diffusion.step`: nothing of
the mathematics is written again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from kvdiff.diffusion.conditions.condition import noise_input
from kvdiff.diffusion.conditions.conditioning import Conditioning, augmented, guided_output
from kvdiff.diffusion.process.noise import AUGMENTATION, SAMPLING, normal
from kvdiff.diffusion.solvers.rows import Row
from kvdiff.diffusion.solvers.step_table import step
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.clamps import clamp_to
from kvdiff.runtime.format import MEMORY

if TYPE_CHECKING:
    import keras

Tensors = dict[str, Any]


class GraphSampler:
    """`network`, one call of the denoiser, and `make`, the loop around it: TensorFlow functions, traced on first use.

    Args:
        denoiser: the network, in float32.
        spec: what it was trained for.
    """

    def __init__(self, denoiser: keras.Model, spec: ModelSpec) -> None:
        import tensorflow as tf
        from keras import ops

        self._tf, self._ops, self._denoiser, self._conditions = tf, ops, denoiser, spec.conditions
        self._clamp = clamp_to(spec.bounds, ops)
        self.network = tf.function(self._call, autograph=False)
        self.make = tf.function(self._sampled, autograph=False)

    def _sampled(
        self,
        of: tuple[type[Row], tuple[str, ...]],
        begin: tuple[Any, Any],
        rows: tuple[Any, Any, Any],
        address: Tensors,
        given: Tensors,
    ) -> Any:
        """The clips after all rows; where one's rows have ended before another's, it waits unchanged.

        Args:
            of: the type of rows, and the columns of the table by name.
            begin: what is there before the first row, and the standard deviation of the noise that comes to it.
            rows: the table, b, and how many of their rows count.
            address: what numbers the noise of a clip: seed, sample, first_draw.
            given: the inputs of conditions, and `guidance`.
        """
        (row_type, columns), (start, start_std), (table, b, num_calls) = of, begin, rows
        tf, shape = self._tf, tuple(start.shape[1:])

        def row_at(i: Any) -> Row:
            fields = dict(zip(columns, tf.unstack(_pixelwise(tf.gather(table, i, axis=1)), axis=1), strict=True))
            return row_type(**fields, b=tf.unstack(_pixelwise(tf.gather(b, i, axis=1)), axis=1))

        def body(i: Any, x: Any, history: tuple[Any, ...]) -> tuple[Any, Any, tuple[Any, ...]]:
            row = row_at(i)
            out = self._answer(row.c_in * x, row.c_noise[..., 0, 0, 0], given)
            drawn = tf.reduce_any(row.std != 0.0)
            fresh = tf.cond(drawn, lambda: self._noise(i + 1, shape, address), lambda: tf.zeros_like(x))
            moved, history = step(row, x, out, history, fresh, self._clamp, tf.exp)
            return i + 1, tf.where((i < num_calls)[:, None, None, None, None], moved, x), history

        x = start + start_std[:, :, None, None, None] * self._noise(0, shape, address)
        history = tuple(tf.zeros_like(start) for _ in range(MEMORY))
        last = tf.reduce_max(num_calls)
        return tf.while_loop(lambda i, *_: i < last, body, (0, x, history))[1]

    def _answer(self, noisy_clip: Any, noise_label: Any, given: Tensors) -> Any:
        """F, guided where the weight of any row asks for it."""
        inputs = {name: value for name, value in given.items() if name != "guidance"}
        if "guidance" not in given:
            return self.network(noisy_clip, noise_label, inputs)
        guided = Conditioning(self._conditions, inputs, given["guidance"])
        return self._tf.cond(
            self._tf.reduce_any(given["guidance"] != 1.0),
            lambda: guided_output(self._ops, self.network, noisy_clip, noise_label, guided),
            lambda: self.network(noisy_clip, noise_label, inputs),
        )

    def _call(self, noisy_clip: Any, noise_label: Any, inputs: Tensors) -> Any:
        inputs = {"noisy_clip": noisy_clip, "noise_label": noise_label, **inputs}
        for name, condition in self._conditions.items():
            inputs[name] = condition.in_range(self._ops, inputs[name])
        return self._tf.cast(self._denoiser(inputs, training=False), self._tf.float32)

    def with_noise(self, given: Tensors, address: Tensors) -> Tensors:
        """As `Conditioning.with_noise`: conditions with the noise that their label says."""
        noisy, address = {}, {**address, "first_draw": 0}
        for number, (name, condition) in enumerate(self._conditions.items()):
            if condition.has_noise:
                clip = given[name]
                noise = self._noise(number, clip.shape[1:], address, AUGMENTATION)
                noisy[name] = augmented(self._ops, clip, given[noise_input(name)], noise)
        return {**given, **noisy}

    def _noise(self, draw: Any, shape: tuple[int, ...], address: Tensors, stream: int = SAMPLING) -> Any:
        """As `video_noise`, with a seed (its 64 bits as an int64) and a first draw for each row."""
        words = tuple(_word(self._tf, address["seed"], shift) for shift in (0, 32))
        draw += address["first_draw"]
        drawn = normal(self._ops, words, draw, address["sample"], math.prod(shape), stream)
        return self._tf.reshape(drawn, [-1, *shape])


def _word(tf: Any, seed: Any, shift: int) -> Any:
    """32 bits of an int64, as uint32."""
    shifted = tf.bitwise.right_shift(seed, tf.constant(shift, tf.int64))
    return tf.cast(tf.bitwise.bitwise_and(shifted, tf.constant(0xFFFFFFFF, tf.int64)), tf.uint32)


def _pixelwise(row: Any) -> Any:
    """[batch, columns, frames] -> [batch, columns, frames, 1, 1, 1]."""
    return row[..., None, None, None]
