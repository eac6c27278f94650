"""What every export of a denoiser needs first: the tools, a model that can be exported, its float32 twin."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras


def check_tools(what: str, modules: Sequence[str]) -> None:
    """Raise ImportError where one of `modules` that `what` needs is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f'{what} needs {", ".join(missing)}: pip install "keras-video-diffusion[export]"')


def check_model(model: Any) -> None:
    """Raise unless `model` is a `VideoDiffusion` that can be exported from this process."""
    import keras

    from kvdiff.models.video_diffusion import VideoDiffusion

    if not isinstance(model, VideoDiffusion):
        raise TypeError(f"`model`: expected a kvdiff.VideoDiffusion. Received: {type(model).__name__}")
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"export: expected Keras on TensorFlow. Received: {keras.backend.backend()}. Save the model and "
            "export it from a process with KERAS_BACKEND=tensorflow."
        )


def float32_twin(denoiser: keras.Model) -> keras.Model:
    """`denoiser`, or a copy that computes in float32 where some of its layers do not; without LoRA, which is merged."""
    from kvdiff.models.lora import low_rank_layers, plain_copy

    if all(layer.compute_dtype == "float32" for layer in denoiser.layers) and not low_rank_layers(denoiser):
        return denoiser
    return plain_copy(denoiser, dtype="float32")


def in_keras(denoiser: keras.Model) -> Callable[..., np.ndarray]:
    """F(noisy_clip, noise_label, inputs) as Keras computes it on the CPU."""
    import keras

    def network(noisy_clip: np.ndarray, noise_label: np.ndarray, inputs: Any = None) -> np.ndarray:
        with keras.device("cpu:0"):  # GPUs may round float32 products to TF32.
            feed = {"noisy_clip": noisy_clip, "noise_label": noise_label, **(inputs or {})}
            return keras.ops.convert_to_numpy(denoiser(feed, training=False))

    return network
