"""LiteRT (TFLite) export of the denoiser: `denoiser.tflite` and its manifest."""

from __future__ import annotations

import importlib.util
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.diffusion.checks import check_choice
from kvdiff.export.manifest import staging, versions, write_manifest
from kvdiff.export.onnx import check_model, float32_twin
from kvdiff.export.parity import TOLERANCE, cases, check_parity, measure
from kvdiff.runtime.litert import FILE, KIND, SIGNATURE, LiteRtSampler

if TYPE_CHECKING:
    import keras

    from kvdiff.models.video_diffusion import VideoDiffusion

__all__ = ["PRECISIONS", "export_litert"]

PRECISIONS = ("float32", "float16", "int8")
_PACKAGES = ("keras", "tensorflow", "ai-edge-litert", "numpy")


def export_litert(
    model: VideoDiffusion,
    directory: str | os.PathLike[str],
    *,
    precision: str = "float32",
    overwrite: bool = False,
) -> pathlib.Path:
    """Write the denoiser as `directory/denoiser.tflite`, with its manifest, for `kvdiff.runtime.LiteRtSampler`.

    The graph has LiteRT's own operators only (conversion fails otherwise) and takes one clip of the training shape; the
    solver stays outside. Before the file takes its name it is loaded and compared with Keras.

    Args:
        model: the model to export, with the weights it has now.
        directory: where to; it may hold other artefacts.
        precision: "float32"; "float16" weights, half the size; or "int8" weights with float activations, a quarter. The
            difference from Keras is judged for float32 and recorded for all.
        overwrite: replace an artefact that is there.

    Returns:
        The path of `denoiser.tflite`.

    Raises:
        FileExistsError: there is an artefact already and `overwrite` is False.
        ParityError: a float32 network that does not answer as Keras does.
        ImportError: a converter is missing.
    """
    check_choice("precision", precision, PRECISIONS)
    if importlib.util.find_spec("ai_edge_litert") is None:
        raise ImportError('export_litert needs ai-edge-litert: pip install "keras-video-diffusion[export]"')
    check_model(model)
    directory = pathlib.Path(directory)
    with staging(directory, KIND, FILE, overwrite=overwrite) as stage:
        denoiser, spec = float32_twin(model.denoiser), model.clip_spec
        clip, label = [1, spec.num_frames, *spec.frame_shape], [1, spec.num_frames]
        (stage / FILE).write_bytes(_convert(denoiser, clip, label, stage / "saved_model", precision))
        sections: dict[str, Any] = {
            "inputs": {"noisy_clip": _tensor(clip), "noise_label": {**_tensor(label), "range": [0.0, 1.0]}},
            "outputs": {"raw_output": _tensor([*clip[:-1], denoiser.output.shape[-1]])},
            "sampler": model.sampler.config,
            "versions": versions(_PACKAGES),
        }
        write_manifest(stage / FILE, KIND, parity={}, **sections)
        parity = _parity(denoiser, LiteRtSampler(stage), precision)
        write_manifest(stage / FILE, KIND, parity=parity, **sections)
        LiteRtSampler(stage)
    return directory / FILE


def _convert(denoiser: keras.Model, clip: list[int], label: list[int], folder: pathlib.Path, precision: str) -> bytes:
    """By way of a SavedModel: converting a Keras model's functions directly can write uninitialised weights."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(denoiser)

    def call(noisy_clip: Any, noise_label: Any) -> dict[str, Any]:
        return {"raw_output": denoiser({"noisy_clip": noisy_clip, "noise_label": noise_label}, training=False)}

    signature = [
        tf.TensorSpec(clip, tf.float32, name="noisy_clip"),
        tf.TensorSpec(label, tf.float32, name="noise_label"),
    ]
    archive.add_endpoint(SIGNATURE, tf.function(call, autograph=False), input_signature=signature)
    archive.write_out(folder, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def _tensor(shape: list[int]) -> dict[str, Any]:
    return {"dtype": "float32", "shape": shape, "range": None}


def _parity(denoiser: keras.Model, sampler: LiteRtSampler, precision: str) -> dict[str, Any]:
    """Compare the file with Keras, print and return the figures."""
    import keras

    def in_keras(noisy_clip: np.ndarray, noise_label: np.ndarray) -> np.ndarray:
        with keras.device("cpu:0"):
            out = denoiser({"noisy_clip": noisy_clip, "noise_label": noise_label}, training=False)
            return keras.ops.convert_to_numpy(out)

    spec = sampler.clip_spec
    shapes = cases((spec.num_frames, *spec.frame_shape), [False] * 4)
    measured = measure(in_keras, sampler.denoise, shapes, spec.channels)
    print(f"{FILE}: LiteRT against Keras, {precision}", *measured, sep="\n  ")
    tolerance = TOLERANCE if precision == "float32" else np.inf
    return {**check_parity(measured, tolerance), "precision": precision}
