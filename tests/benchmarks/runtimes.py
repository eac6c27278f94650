"""One denoiser on each of our runtimes, as a function from NumPy arrays to a NumPy array."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable
from typing import Any

from tests.benchmarks.networks import build_model
from tests.benchmarks.sizes import Size

__all__ = ["denoise_on", "forget_models", "sampler_on"]

Denoise = Callable[[Any, Any], Any]


@functools.cache
def _model(network: str, size: Size, precision: str, weights: str | None) -> Any:
    return build_model(network, size, precision, weights=weights)


@functools.cache
def _folder(network: str, size: Size, weights: str | None) -> tempfile.TemporaryDirectory[str]:
    """Where exported files of a model lie, until this process ends."""
    return tempfile.TemporaryDirectory()


def forget_models() -> None:
    """Free models and delete exported files."""
    _model.cache_clear()
    _folder.cache_clear()


def denoise_on(mode: str, network: str, size: Size, weights: str | None = None) -> Denoise:
    """F(noisy_clip, noise_label) in a mode such as "tensorflow bfloat16", "xla float32" or "litert int8"."""
    runtime, precision = mode.split()[:2]
    if runtime == "xla":
        return _on_xla(_model(network, size, precision, weights).denoiser)
    import numpy as np

    sampler = sampler_on(mode, network, size, weights)
    return lambda noisy_clip, noise_label: np.asarray(sampler.engine.denoise(noisy_clip, noise_label))


def sampler_on(mode: str, network: str, size: Size, weights: str | None = None) -> Any:
    """The `Sampler` of a mode."""
    runtime, precision = mode.split()[:2]
    if runtime == "tensorflow":
        return _model(network, size, precision, weights).sampler
    model, folder = _model(network, size, "float32", weights), _folder(network, size, weights).name
    return {"onnxruntime": _in_onnxruntime, "litert": _in_litert}[runtime](model, folder, precision)


def _on_xla(denoiser: Any) -> Denoise:
    import tensorflow as tf

    @functools.partial(tf.function, jit_compile=True, autograph=False)
    def call(noisy_clip: Any, noise_label: Any) -> Any:
        return denoiser({"noisy_clip": noisy_clip, "noise_label": noise_label}, training=False)

    return lambda noisy_clip, noise_label: call(tf.constant(noisy_clip), tf.constant(noise_label)).numpy()


def _in_onnxruntime(model: Any, folder: str, precision: str) -> Any:
    from kvdiff.export import export_onnx
    from kvdiff.runtime import OrtSampler

    path = export_onnx(model, folder, precision=precision, overwrite=True)
    return OrtSampler(path, providers=["CPUExecutionProvider"], threads=threads())


def _in_litert(model: Any, folder: str, precision: str) -> Any:
    from kvdiff.export import export_litert
    from kvdiff.runtime import LiteRtSampler

    return LiteRtSampler(export_litert(model, folder, precision=precision, overwrite=True), threads=threads())


def threads() -> int:
    """How many both systems may use."""
    return int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0))))
