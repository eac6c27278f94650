"""LiteRT (TFLite) export of the denoiser: `denoiser.tflite` and its manifest."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_path
from kvdiff.diffusion.solvers.by_name import DEFAULT_NUM_STEPS, step_table
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.export.codec import check_codec_parity, codec_networks, save_codec
from kvdiff.export.denoiser import check_model, check_tools, float32_twin, in_keras
from kvdiff.export.how_to_sample import how_to_sample
from kvdiff.export.litert_file import at_most_4d, signatures, with_metadata
from kvdiff.export.manifest import staging, write_manifest
from kvdiff.export.parity import cases, check_parity, measure
from kvdiff.models.denoiser import input_shapes
from kvdiff.runtime.litert import LITERT, SIGNATURE
from kvdiff.runtime.manifest import METADATA, canonical_json
from kvdiff.runtime.opening import LiteRtSampler
from kvdiff.system.environment import versions

if TYPE_CHECKING:
    import keras

    from kvdiff.models.video_diffusion import VideoDiffusion

_PACKAGES = ("keras", "tensorflow", "ai-edge-litert", "ai-edge-quantizer", "numpy")
_RECIPES = ("ddim", "dpmpp_2m")


def export_litert(
    model: VideoDiffusion,
    directory: str | os.PathLike[str],
    *,
    precision: str = "float32",
    overwrite: bool = False,
) -> pathlib.Path:
    """Write the denoiser as `directory/denoiser.tflite`, with its manifest, for `kvdiff.runtime.LiteRtSampler`.

    The graph has LiteRT's own operators only (conversion fails otherwise), all of which XNNPACK runs, and no tensor
    of more than four axes. It takes one clip of the training shape, [frames, height, width, channels], and its noise
    labels [1, frames]; the solver stays outside. The file's metadata hold the sampler's configuration and a recipe
    with step tables, so that a host in any language can sample. Before the file takes its name it is loaded and
    compared with Keras.

    Args:
        model: the model to export, with the weights it has now.
        directory: where to; it may hold other artefacts.
        precision: "float32"; "float16" weights, half the size; "int8" weights with activations that are quantised as
            they come, a quarter of the size and the fastest; or "int8-weights", which computes in float32. All but
            float32 carry it in the file's name, e.g. `denoiser.int8.tflite`. The difference from Keras is judged for
            float32 and recorded for all.
        overwrite: replace an artefact that is there.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: there is an artefact of that name already and `overwrite` is False.
        ParityError: a float32 network that does not agree with Keras.
        ImportError: a converter is missing.
    """
    check_choice("precision", precision, LITERT.precisions)
    check_tools("export_litert", ("ai_edge_litert", "ai_edge_quantizer"))
    check_model(model)
    directory, file = check_path("directory", directory), LITERT.file_name(precision)
    with staging(directory, LITERT.kind, file, overwrite=overwrite) as stage:
        denoiser, config = float32_twin(model.denoiser), model.spec.config
        content = _quantised(at_most_4d(_convert(model, denoiser, stage / "saved_model", precision)), precision)
        metadata = {METADATA: canonical_json(config), "kvdiff.recipe": canonical_json(_recipe(model.spec))}
        (stage / file).write_bytes(with_metadata(content, metadata))
        pair = save_codec(stage / file, _codec_networks(model), lambda *of: _of_codec(of, stage, precision))
        files = [file, *pair.values()]
        sections: dict[str, Any] = {
            "precision": precision,
            **signatures(content),
            "sampler": config,
            "how_to_sample": how_to_sample(model.spec),
            "versions": versions(_PACKAGES),
            **({"codec": pair} if pair else {}),
        }
        write_manifest(stage / file, LITERT.kind, files, parity={}, **sections)
        engine: Any = LiteRtSampler(stage / file).engine
        parity = _parity(denoiser, engine, model.spec, precision)
        parity |= check_codec_parity(model, engine.codec, precision)
        write_manifest(stage / file, LITERT.kind, files, parity=parity, **sections)
        LiteRtSampler(stage / file)
    return directory / file


def _convert(model: VideoDiffusion, denoiser: keras.Model, folder: pathlib.Path, precision: str) -> bytes:
    """The denoiser of one clip."""
    import tensorflow as tf

    signature = {
        name: tf.TensorSpec([1, *shape], denoiser.input[name].dtype, name=name)
        for name, shape in input_shapes(denoiser, model.spec).items()
    }

    def call(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"raw_output": denoiser(inputs, training=False)}

    return _converted(denoiser, call, signature, folder, precision)


def _codec_networks(model: VideoDiffusion) -> dict[str, keras.Model]:
    """Those of a decoder that takes single frames, as the file does.

    Raises:
        ValueError: a decoder with convolutions over time.
    """
    if getattr(model.spec.codec, "reach", 0):
        raise ValueError(
            "`model`: expected an autoencoder without `time`, for LiteRT decodes frame by frame. Received: one with it"
        )
    return codec_networks(model)


def _of_codec(of: tuple[Any, ...], stage: pathlib.Path, precision: str) -> bytes:
    """The file of an encoder or a decoder, (side, network, names of its input and output), of one frame."""
    import tensorflow as tf

    side, network, (given, output) = of
    signature = {given: tf.TensorSpec([1, 1, *network.input.shape[2:]], tf.float32, name=given)}

    def call(inputs: dict[str, Any]) -> dict[str, Any]:
        return {output: network(inputs[given], training=False)}

    return _quantised(at_most_4d(_converted(network, call, signature, stage / side, precision)), precision)


def _converted(
    network: keras.Model, call: Callable[..., Any], signature: dict[str, Any], folder: pathlib.Path, precision: str
) -> bytes:
    """By way of a SavedModel: converting a Keras model's functions directly can write uninitialised weights."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(SIGNATURE, tf.function(call, autograph=False), input_signature=[signature])
    archive.write_out(folder, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def _quantised(content: bytes, precision: str) -> bytes:
    """The file with int8 weights, where that is asked for."""
    if not precision.startswith("int8"):
        return content
    from ai_edge_quantizer import qtyping, quantizer, recipe

    chosen = recipe.weight_only_wi8_afp32() if precision == "int8-weights" else recipe.dynamic_wi8_afp32()
    quantising = quantizer.Quantizer(bytearray(content), chosen)
    # LiteRT multiplies no int8 constant on the left with floats on the right; the quantiser does not look which it is.
    quantising.update_quantization_recipe(".*", qtyping.TFLOperationName.BATCH_MATMUL, algorithm_key="no_quantize")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # It draws bars.
        return bytes(quantising.quantize().quantized_model)


def _recipe(spec: ModelSpec) -> dict[str, Any]:
    """How to sample with the file, for hosts that have no kvdiff: the loop in words, and tables for it."""
    tables = {}
    num_steps = min(DEFAULT_NUM_STEPS, spec.schedule.num_timesteps)
    for solver in _RECIPES:
        table = step_table(spec.schedule, spec.prediction, solver=solver, num_steps=num_steps)
        columns = {name: getattr(table, name).tolist() for name in table.COLUMNS}
        tables[f"{solver}, {num_steps} steps"] = {**columns, "init_std": table.init_std}
    return {
        "start": "x: a known frame as x_0, by `values` and `codec`; init_std times normal noise in frames to make",
        "row": f"D = c_skip x + c_out F(c_in x; c_noise), clamped to {spec.bounds}; "
        "x = a x + b[0] D + b[1] (the D of the row before) + … + std (fresh noise)",
        "known": "a known frame's columns are c_in = c_skip = a = 1 and c_noise = c_out = b = std = 0, in every row",
        "tables": tables,
    }


def _parity(denoiser: keras.Model, engine: Any, spec: ModelSpec, precision: str) -> dict[str, Any]:
    """Compare the file with Keras, print and return the figures."""
    shapes = cases(spec.latent.shape, [False] * 4)
    measured = measure(in_keras(denoiser), engine.denoise, shapes, spec.latent.channels, spec.conditions)
    print(f"{engine.artefact.path.name}: LiteRT against Keras, {precision}", *measured, sep="\n  ")
    return check_parity(measured, LITERT.tolerance if precision == "float32" else np.inf)
