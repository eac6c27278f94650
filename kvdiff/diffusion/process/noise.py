"""Noise as a pure function of (seed, step, sample): no hidden state, the same on every runtime and in any batch.

A counter-based generator, Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2,
3"), written with the few uint32 operations that NumPy and `keras.ops` share. `xp` is that namespace: `numpy`, or
`keras.ops` inside a graph. Integers agree bit for bit everywhere; normals agree to float32 rounding of log, sqrt and
cos.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_count

# What a draw is for. Streams of one (seed, step, sample) are independent of each other.
EPS, TIMESTEP, MASK, SAMPLING, CONDITION, ORDER, CONTEXT, AUGMENTATION, WINDOW, REPLACEMENT = range(10)

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA

Seed = int | tuple[Any, Any]
"""One seed for all samples, 0 … 2^64 - 1; or one a sample, as its low and its high 32 bits: uint32 [batch] each."""


def threefry(xp: Any, key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Any, Any]:
    """Threefry-2x32-20: two uint32 words for every (key, counter) pair of uint32 words; shapes broadcast."""

    def u32(value: int) -> Any:
        return xp.array(value, dtype="uint32")

    # Computed once: in a graph each is an operation, and this is in every training step's.
    rotations = [[(u32(bits), u32(32 - bits)) for bits in four] for four in _ROTATIONS]
    keys = (key[0], key[1], xp.bitwise_xor(xp.bitwise_xor(key[0], key[1]), u32(_PARITY)))
    x0, x1 = counter[0] + keys[0], counter[1] + keys[1]
    for block in range(5):
        for left, right in rotations[block % 2]:
            x0 = x0 + x1
            x1 = xp.bitwise_xor(xp.bitwise_or(xp.left_shift(x1, left), xp.right_shift(x1, right)), x0)
        x0, x1 = x0 + keys[(block + 1) % 3], x1 + keys[(block + 2) % 3] + u32(block + 1)
    return x0, x1


def _words(xp: Any, seed: Seed, step: Any, sample: Any, stream: int, count: int) -> tuple[Any, Any]:
    """Two uint32 arrays [batch, count]. A sample's key is threefry(seed; sample, step), its counter (stream, i)."""
    if not isinstance(seed, tuple):
        check_count("seed", seed, at_least=0, at_most=2**64 - 1)
        seed = (seed & 0xFFFFFFFF, seed >> 32)

    def u32(value: Any) -> Any:
        return xp.cast(value, "uint32") if hasattr(xp, "cast") else np.asarray(value).astype(np.uint32)

    sample = u32(sample)
    key = threefry(xp, (u32(seed[0]), u32(seed[1])), (sample, u32(step) + xp.zeros_like(sample)))
    index = u32(xp.reshape(xp.arange(count, dtype="int32"), (1, count)))
    key = (xp.reshape(key[0], (-1, 1)), xp.reshape(key[1], (-1, 1)))
    return threefry(xp, key, (xp.zeros_like(index) + u32(stream), index))


def _open_unit(xp: Any, word: Any) -> Any:
    """uint32 -> float32 strictly inside (0, 1): the middle of one of 2^23 equal cells, exact in float32."""
    cell = xp.right_shift(word, xp.array(9, dtype="uint32"))
    cell = xp.cast(cell, "float32") if hasattr(xp, "cast") else cell.astype(np.float32)
    return (cell + np.float32(0.5)) * np.float32(2.0**-23)


def uniform(xp: Any, seed: Seed, step: Any, sample: Any, count: int, stream: int) -> Any:
    """float32 [batch, count], uniform in (0, 1), for the samples numbered `sample` (int [batch])."""
    return _open_unit(xp, _words(xp, seed, step, sample, stream, count)[0])


def normal(xp: Any, seed: Seed, step: Any, sample: Any, count: int, stream: int) -> Any:
    """float32 [batch, count], standard normal, for the samples numbered `sample` (int [batch]): Box & Muller 1958."""
    word_0, word_1 = _words(xp, seed, step, sample, stream, (count + 1) // 2)
    radius = xp.sqrt(np.float32(-2.0) * xp.log(_open_unit(xp, word_0)))
    angle = np.float32(2.0 * math.pi) * _open_unit(xp, word_1)
    return xp.concatenate([radius * xp.cos(angle), radius * xp.sin(angle)], axis=1)[:, :count]


def keep_mask(xp: Any, seed: Seed, step: Any, sample: Any, shape: tuple[Any, ...], rate: float, stream: int) -> Any:
    """Dropout's choice: bool [batch, *shape], shape (frames, height, width, channels); False with probability `rate`.

    Threefry on every feature would cost more than the network, so it draws one word a channel of a frame and one a
    pixel; their sum, mixed (C. Wellons' lowbias32, the best 32-bit hash of two multiplications that his search found),
    is a feature's word.
    """
    frames, height, width, channels = shape
    words = _words(xp, seed, step, sample, stream, frames * channels + height * width)[0]
    by_channel = xp.reshape(words[:, : frames * channels], (-1, frames, 1, 1, channels))
    by_pixel = xp.reshape(words[:, frames * channels :], (-1, 1, height, width, 1))
    word = by_channel + by_pixel
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        word = xp.bitwise_xor(word, xp.right_shift(word, xp.array(shift, dtype="uint32")))
        word = word * xp.array(factor, dtype="uint32")
    return _open_unit(xp, word) >= rate


def video_noise(
    seed: int, step: int, sample: np.ndarray, clip_shape: tuple[int, ...], stream: int = SAMPLING
) -> np.ndarray:
    """The noise of sampling step `step` for the videos numbered `sample`: float32 [batch, *clip_shape] (NumPy)."""
    sample = np.asarray(sample)
    return normal(np, seed, step, sample, math.prod(clip_shape), stream).reshape(len(sample), *clip_shape)
