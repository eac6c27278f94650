"""The parts of the peer's network as textbooks write them, against the layers that compute the same.

    python -m tests.benchmarks.formulations            # a few minutes; results/formulations.json

Each row is a layer at full resolution of size S, forwards alone and with its gradient: `ours` as it is in kvdiff,
`peer` the textbook's formula in Keras operations on the same TensorFlow, with and without XLA. In float32 they agree to
1e-4, or the run stops. The README's notes of predictions and outcomes refer to it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.layers.factorised_attention import LinearSpaceAttention, TimeAttention
from kvdiff.layers.fused_norm import modulated_norm
from kvdiff.system.environment import machine, versions
from tests.benchmarks.answering import Call, timed
from tests.benchmarks.results import RESULTS, Row, compared, load, write_document
from tests.benchmarks.rounds import Contestant, measure_rounds
from tests.benchmarks.sizes import SIZES

S = SIZES["S"]
SHAPE = (S.batch, S.frames, S.pixels, S.pixels, S.width)
HEADS, HEAD_SIZE = 8, 32
Function = Callable[..., Any]


def layer_norm(x: Any, gain: Any) -> Any:
    """Over channels."""
    mean = ops.mean(x, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(x - mean), axis=-1, keepdims=True)
    return (x - mean) / ops.sqrt(variance + 1e-5) * gain


def packed(layer: Any, x: Any) -> list[Any]:
    """Queries, keys and values from one packed projection, cut apart: each [..., heads, head_size]."""
    weight = ops.concatenate([layer.query, layer.key, layer.value], axis=1)
    qkv = ops.matmul(layer_norm(x, ops.cast(layer.gain, x.dtype)), ops.cast(weight, x.dtype))
    return [ops.reshape(t, (*t.shape[:-1], HEADS, HEAD_SIZE)) for t in ops.split(qkv, 3, axis=-1)]


def rotary(x: Any) -> Any:
    """Interleaved rotary positions: [pixels, heads, frames, head_size]."""
    frequencies = np.exp(-math.log(10_000.0) * np.arange(HEAD_SIZE // 2) / (HEAD_SIZE // 2))
    angle = np.repeat(np.arange(x.shape[2])[:, None] * frequencies, 2, axis=-1).astype("float32")
    turned = ops.reshape(ops.stack([-x[..., 1::2], x[..., ::2]], axis=-1), x.shape)
    return x * ops.cast(np.cos(angle), x.dtype) + turned * ops.cast(np.sin(angle), x.dtype)


def time_attention(layer: Any) -> Function:
    """Softmax attention over frames."""

    def attend(x: Any, bias: Any) -> Any:
        pixels = ops.reshape(ops.transpose(x, (0, 2, 3, 1, 4)), (-1, S.frames, S.width))
        q, k, v = (ops.transpose(t, (0, 2, 1, 3)) for t in packed(layer, pixels))
        q, k = rotary(q * HEAD_SIZE**-0.5), rotary(k)
        weights = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) + ops.cast(bias, x.dtype), axis=-1)
        out = ops.reshape(ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3)), (-1, S.frames, HEADS * HEAD_SIZE))
        out = ops.reshape(ops.matmul(out, ops.cast(layer.out, x.dtype)), (S.batch, S.pixels, S.pixels, S.frames, -1))
        return x + ops.transpose(out, (0, 3, 1, 2, 4))

    return attend


def space_attention(layer: Any) -> Function:
    """Linear attention over pixels."""

    def attend(x: Any) -> Any:
        q, k, v = packed(layer, ops.reshape(x, (S.batch * S.frames, -1, S.width)))
        q, k = ops.softmax(q, axis=-1) * HEAD_SIZE**-0.5, ops.softmax(k, axis=1)
        out = ops.einsum("nphd,nhde->nphe", q, ops.einsum("nphd,nphe->nhde", k, v))
        out = ops.matmul(ops.reshape(out, (-1, HEADS * HEAD_SIZE)), ops.cast(layer.out, x.dtype))
        return x + ops.reshape(out + ops.cast(layer.bias, x.dtype), x.shape)

    return attend


def norm_film_silu(x: Any, gain: Any, shift: Any) -> Any:
    """What stands between two convolutions."""
    rms = ops.sqrt(ops.maximum(ops.mean(ops.square(x), axis=-1, keepdims=True), 1e-24))
    return ops.silu(x / rms * gain + shift)


def pairs(dtype: str) -> dict[str, tuple[Function, Function, list[Any]]]:
    """By name: ours, the textbook's, and what both take besides the features."""
    rng = np.random.default_rng(0)

    def tensor(*shape: int) -> Any:
        return ops.convert_to_tensor(rng.standard_normal(shape), dtype=dtype)

    policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[dtype]
    keras.utils.set_random_seed(0)
    time, space = (kind(HEADS, HEAD_SIZE, dtype=policy) for kind in (TimeAttention, LinearSpaceAttention))
    bias = ops.cast(tensor(HEADS, S.frames, S.frames), "float32")
    time.build(SHAPE)
    space.build(SHAPE)
    frame = (S.batch * S.frames, S.pixels, S.pixels, S.width)

    def ours(x: Any, gain: Any, shift: Any) -> Any:
        return ops.reshape(
            modulated_norm(ops.reshape(x, frame), *(ops.reshape(t, (-1, 1, 1, S.width)) for t in (gain, shift))), SHAPE
        )

    film = [tensor(S.batch, S.frames, 1, 1, S.width) for _ in range(2)]
    return {
        "time_attention": (time, time_attention(time), [bias]),
        "linear_space_attention": (space, space_attention(space), []),
        "norm_film_silu": (ours, norm_film_silu, film),
    }


def compiled(function: Function, *, gradient: bool, jit: bool) -> Function:
    """`function` as a graph; with the gradient of its sum of squares by the features."""
    import tensorflow as tf

    def both(x: Any, *rest: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([x, *rest])
            total = tf.reduce_sum(tf.square(tf.cast(function(x, *rest), tf.float32)))
        return tape.gradient(total, [x, *rest])

    return tf.function(both if gradient else function, autograph=False, jit_compile=jit)


def rows(rounds: int) -> list[Row]:
    """Forwards and with the gradient, in two precisions."""
    found = []
    for dtype in ("float32", "bfloat16"):
        for name, (ours, textbook, rest) in pairs(dtype).items():
            difference = _difference(ours, textbook, _features(dtype), rest)
            if dtype == "float32" and difference > 1e-4:
                raise RuntimeError(f"{name}: ours and the textbook's differ by {difference:.2g}, more than 1e-4")
            modes = [("ours", "graph", ours), ("peer", "graph", textbook), ("peer", "XLA", textbook)]
            for part, gradient in (("forward", False), ("gradient", True)):
                contestants = [
                    _contestant(system, mode, compiled(function, gradient=gradient, jit=mode == "XLA"), dtype, rest)
                    for system, mode, function in modes
                ]
                times = measure_rounds(contestants, rounds, warm_ups=2)
                row = compared(f"{name}, {part}", dtype, times, parity={"max_difference": difference})
                print(f"{row.name:34s} {dtype:9s} {row.ours:.4f} s, textbook's {row.peer:.4f} s ({row.peer_mode})")
                found.append(row)
    return found


def _features(dtype: str) -> Any:
    """New ones."""
    return ops.convert_to_tensor(np.random.default_rng().standard_normal(SHAPE, "float32"), dtype=dtype)


def _difference(ours: Function, textbook: Function, x: Any, rest: list[Any]) -> float:
    first, second = (ops.convert_to_numpy(ops.cast(function(x, *rest), "float32")) for function in (ours, textbook))
    return float(np.abs(first - second).max())


def _contestant(system: str, mode: str, function: Function, dtype: str, rest: list[Any]) -> Contestant:
    call = Call(lambda: _features(dtype), lambda x: function(x, *rest))
    return Contestant(system, mode, lambda: timed(call))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    before = load()
    found = rows(arguments.rounds)
    about = {"machine": machine(), "versions": versions(), "load": {"before": before, "after": load()}}
    write_document(RESULTS / "formulations.json", found, about)


if __name__ == "__main__":
    main()
