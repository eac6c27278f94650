"""ONNX export of the denoiser: `denoiser.onnx` and its manifest."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_path
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.export.codec import check_codec_parity, codec_networks, save_codec
from kvdiff.export.denoiser import check_model, check_tools, float32_twin, in_keras
from kvdiff.export.how_to_sample import how_to_sample
from kvdiff.export.manifest import staging, write_manifest
from kvdiff.export.onnx_axes import AXES, Axes, check_static, input_axes, traced_shapes
from kvdiff.export.onnx_conversion import OPSET, network_to_onnx
from kvdiff.export.onnx_file import save_model
from kvdiff.export.onnx_precision import bfloat16_weights, float16, int8
from kvdiff.export.parity import cases, check_parity, measure
from kvdiff.runtime.manifest import FORMAT, FORMAT_VERSION, METADATA, canonical_json
from kvdiff.runtime.opening import OrtSampler
from kvdiff.runtime.ort import ONNX, open_session
from kvdiff.system.environment import versions

if TYPE_CHECKING:
    import keras
    import onnx

    from kvdiff.models.video_diffusion import VideoDiffusion

_OUTPUT = "raw_output"
_PACKAGES = ("keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime", "numpy")


def export_onnx(
    model: VideoDiffusion,
    directory: str | os.PathLike[str],
    *,
    precision: str = "float32",
    static: bool | str = False,
    overwrite: bool = False,
) -> pathlib.Path:
    """Write the denoiser as `directory/denoiser.onnx`, with its manifest, for `kvdiff.runtime.OrtSampler`.

    The graph is F(noisy_clip, noise_label) -> raw_output, float32, with any batch, number of frames and frame size that
    the denoiser divides; the solver stays outside, so one file serves every solver, number of steps and task. A network
    trained in mixed precision is exported as its float32 twin. Before the file takes its name it is checked, loaded by
    ONNX Runtime and compared with Keras at several batches, frame counts and sizes; the figures are printed and kept in
    the manifest.

    Args:
        model: the model to export, with the weights it has now.
        directory: where to; created if need be. It may hold other artefacts.
        precision: "float32"; "float16", for GPUs, with sums and angles in float32; "bfloat16" weights, computing in
            float32; or "int8" convolutions, calibrated on the model's own samples. All but float32 carry it in the
            file's name, e.g. `denoiser.float16.onnx`. Inputs and outputs are float32. The difference from Keras is
            judged before the precision is lowered, and recorded for the file.
        static: whether the file takes one clip of the training shape in a call and nothing else, which makes it smaller
            and quicker to open; samplers then send clip after clip. "size" fixes height and width alone. The inputs'
            shapes in the manifest say so. An autoencoder's files stay as they are.
        overwrite: replace an artefact that is there. It stays whole until the new one is complete, even across a crash.

    Returns:
        The path of the file.

    Raises:
        FileExistsError: there is an artefact of that name already and `overwrite` is False.
        OSError: `directory` cannot be written to.
        ParityError: the converted network does not agree with Keras.
        ImportError: a converter is missing.
    """
    check_choice("precision", precision, ONNX.precisions)
    check_static(static)
    check_tools("export_onnx", _PACKAGES)
    check_model(model)
    directory, file = check_path("directory", directory), ONNX.file_name(precision)
    with staging(directory, ONNX.kind, file, overwrite=overwrite) as stage:
        denoiser = float32_twin(model.denoiser)
        axes = input_axes(model.spec, denoiser, static)
        sections: dict[str, Any] = {"sampler": model.spec.config, "versions": versions(_PACKAGES)}
        graph = network_to_onnx(denoiser, traced_shapes(denoiser, axes))
        _name_tensors(graph, axes, {_OUTPUT: axes["noisy_clip"][:4]})  # Channels keep their number.
        _describe(graph, sections["sampler"], sections["versions"])
        sections |= {"inputs": _signatures(graph.graph.input), "outputs": _signatures(graph.graph.output)}
        sections["how_to_sample"] = how_to_sample(model.spec)
        pair = codec_networks(model)
        _write(stage / ONNX.file, graph, (denoiser, pair), model, {"precision": "float32", **sections})
        if precision != "float32":
            lowered = _lowered(stage / ONNX.file, precision)
            _write(stage / file, lowered, (denoiser, pair), model, {"precision": precision, **sections})
        # What a user does first must work before anything takes its name.
        OrtSampler(stage / file, providers=["CPUExecutionProvider"])
    return directory / file


def _write(
    path: pathlib.Path,
    graph: onnx.ModelProto,
    networks: tuple[keras.Model, Mapping[str, keras.Model]],
    model: VideoDiffusion,
    sections: dict[str, Any],
) -> None:
    """The file, those of an autoencoder, their parity with Keras, and the manifest."""
    (denoiser, pair), precision = networks, sections["precision"]
    files = save_model(graph, path)
    names = save_codec(path, pair, lambda side, network, named: _of_codec(network, named, precision))
    if names:
        sections, files = {**sections, "codec": names}, [*files, *names.values()]
    parity = _parity(denoiser, path, model.spec, precision)
    write_manifest(path, ONNX.kind, files, parity=parity, **sections)
    if names:
        engine: Any = OrtSampler(path, providers=["CPUExecutionProvider"]).engine
        parity |= check_codec_parity(model, engine.codec, precision)
        write_manifest(path, ONNX.kind, files, parity=parity, **sections)


def _of_codec(network: keras.Model, named: tuple[str, str], precision: str) -> bytes:
    """The file of an encoder or a decoder, of any batch and number of frames.

    In int8 it stays in float32: it runs once a frame, and rounds what everybody sees.
    """
    import onnx

    given, output = named
    graph = network_to_onnx(network)
    _name_tensors(graph, {given: ("batch", "frames", *network.input.shape[2:])}, {output: AXES})
    del graph.opset_import[:]
    graph.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    graph.graph.name = network.name
    lowered = {"float16": float16, "bfloat16": bfloat16_weights}.get(precision, lambda same: same)(graph)
    onnx.checker.check_model(lowered, full_check=True)
    return lowered.SerializeToString()


def _lowered(path: pathlib.Path, precision: str) -> onnx.ModelProto:
    """The file in a lower precision."""
    import onnx

    if precision == "float16":
        return float16(onnx.load(path))
    if precision == "bfloat16":
        return bfloat16_weights(onnx.load(path))
    quantised = path.with_name("quantised.onnx")
    int8(path, quantised, OrtSampler(path, providers=["CPUExecutionProvider"]))
    return onnx.load(quantised)


def _name_tensors(model: onnx.ModelProto, axes: Axes, output: Axes) -> None:
    """Names for the output and the dynamic axes, in place of tf2onnx's `Identity:0` and `unk__7`; inputs in order."""
    graph = model.graph
    if {tensor.name for tensor in graph.input} != set(axes) or len(graph.output) != 1:
        found = [tensor.name for tensor in graph.input], [tensor.name for tensor in graph.output]
        raise RuntimeError(f"export_onnx: expected inputs {list(axes)} and one output. Received: {found}")
    graph.input.sort(key=lambda tensor: list(axes).index(tensor.name))
    _rename(graph, graph.output[0].name, *output)
    for tensor in (*graph.input, *graph.output):
        for axis, dim in zip({**axes, **output}[tensor.name], tensor.type.tensor_type.shape.dim, strict=False):
            if isinstance(axis, int):
                dim.dim_value = axis
            elif not dim.HasField("dim_value"):
                dim.dim_param = axis


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    graph.output[0].name = new


def _describe(model: onnx.ModelProto, config: Any, made_with: dict[str, str]) -> None:
    """Say in the file itself what it is, so that a file parted from its manifest still tells."""
    import onnx

    del model.opset_import[:]  # tf2onnx also declares ai.onnx.ml, of which no node is used.
    model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    model.graph.name = "denoiser"
    model.doc_string = "F(noisy_clip, noise_label) -> raw_output of a video diffusion model."
    properties = {
        "kvdiff.format": f"{FORMAT} {FORMAT_VERSION}",
        METADATA: canonical_json(config),
        "kvdiff.versions": canonical_json(made_with),
    }
    onnx.helper.set_model_props(model, properties)


def _parity(denoiser: keras.Model, path: pathlib.Path, spec: ModelSpec, precision: str) -> dict[str, Any]:
    """Compare the file with Keras, print and return the figures."""
    session = open_session(path, ["CPUExecutionProvider"])

    def in_onnxruntime(noisy_clip: np.ndarray, noise_label: np.ndarray, inputs: Any = None) -> np.ndarray:
        return session.run([_OUTPUT], {"noisy_clip": noisy_clip, "noise_label": noise_label, **(inputs or {})})[0]

    sizes = next(tensor.shape for tensor in session.get_inputs() if tensor.name == "noisy_clip")
    dynamic = [isinstance(size, str) for size in sizes[:4]]
    shapes = cases(spec.latent.shape, dynamic)
    measured = measure(in_keras(denoiser), in_onnxruntime, shapes, spec.latent.channels, spec.conditions)
    print(f"{path.name}: ONNX Runtime against Keras, opset {OPSET}, {precision}", *measured, sep="\n  ")
    return check_parity(measured, ONNX.tolerance if precision == "float32" else np.inf)


def _signatures(tensors: Any) -> dict[str, Any]:
    """What the manifest says of inputs or outputs."""
    import onnx

    def described(tensor: onnx.ValueInfoProto) -> dict[str, Any]:
        shape = [dim.dim_param or dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
        # The label is an angle in quarter turns; a noisy clip or a raw output has no bounds.
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type).name
        return {"dtype": dtype, "shape": shape, "range": [0.0, 1.0] if tensor.name == "noise_label" else None}

    return {tensor.name: described(tensor) for tensor in tensors}
