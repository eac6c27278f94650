"""Dropout without hidden state: a pure function of (seed, step, sample), as all noise here."""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from kvdiff.diffusion.checks import check_real
from kvdiff.diffusion.process.noise import keep_mask
from kvdiff.layers.saved_layer import SavedLayer

_keys = threading.local()  # Replicas of `tf.distribute` are traced in threads of their own.


@contextlib.contextmanager
def dropout_keys(seed: int, step: Any, samples: Any) -> Iterator[None]:
    """Inside the block, `SampleDropout` draws for training step `step` and the samples of these numbers (int [batch]).

    The block must hold the backward pass too: with rematerialisation layers are called again there.
    """
    before = getattr(_keys, "current", None)
    _keys.current = (seed, step, samples)
    try:
        yield
    finally:
        _keys.current = before


@keras.saving.register_keras_serializable(package="kvdiff")
class SampleDropout(SavedLayer):
    """Sets features to 0 with probability `rate` and scales the others by 1 / (1 - rate), in training only.

    Keras' Dropout draws from a hidden counter: the same mask on every replica, another after a resume, and another when
    a rematerialised layer is called again for its gradient. This one reads seed, step and sample numbers from the
    `dropout_keys` that `VideoDiffusion` trains in, so a sample's mask is the same however a batch is spread.

    Args:
        rate: in [0, 1).
        stream: tells a network's dropout layers apart, e.g. the name of the block that holds one.

    Input and output: [batch, frames, height, width, channels].
    """

    def __init__(self, rate: float, *, stream: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = check_real("rate", rate, above=0.0, below=0.999, closed=True)
        self.stream = stream

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Drop features where `training`."""
        if not training or not self.rate:
            return x
        where = getattr(_keys, "current", None)
        if where is None:
            raise RuntimeError(
                f"{self.name}: expected `dropout_keys(seed, step, samples)` around a training step with dropout, as "
                "`VideoDiffusion` has. Received: none"
            )
        number = zlib.crc32(self.stream.encode()) >> 2 | 1 << 30  # Beyond the streams of `noise`, within int32.
        seed, step, samples = where
        keep = keep_mask(ops, seed, step, samples, ops.shape(x)[1:], self.rate, number)
        return ops.where(keep, x / (1.0 - self.rate), ops.zeros_like(x))

    def compute_output_shape(self, x_shape: Any) -> tuple[int | None, ...]:
        """The input's shape."""
        return x_shape
