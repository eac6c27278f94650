"""ONNX export of the denoiser: `denoiser.onnx` and its manifest."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.export.manifest import staging, versions, write_manifest
from kvdiff.export.parity import cases, check_parity, measure
from kvdiff.runtime.manifest import FORMAT, FORMAT_VERSION, canonical_json
from kvdiff.runtime.ort import FILE, KIND, METADATA, OrtSampler, open_session

if TYPE_CHECKING:
    import keras
    import onnx

    from kvdiff.models.video_diffusion import VideoDiffusion

__all__ = ["OPSET", "check_model", "export_onnx", "float32_twin"]

OPSET = 18  # The newest that tf2onnx writes.

_AXES = ("batch", "frames", "height", "width")
_OUTPUT = "raw_output"
_PACKAGES = ("keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime", "numpy")


def export_onnx(model: VideoDiffusion, directory: str | os.PathLike[str], *, overwrite: bool = False) -> pathlib.Path:
    """Write the denoiser as `directory/denoiser.onnx`, with its manifest, for `kvdiff.runtime.OrtSampler`.

    The graph is F(noisy_clip, noise_label) -> raw_output, float32, with any batch, number of frames and frame size that
    the denoiser divides; the solver stays outside, so one file serves every solver, number of steps and task. A network
    trained in mixed precision is exported as its float32 twin. Before the file takes its name it is checked, loaded by
    ONNX Runtime and compared with Keras at several batches, frame counts and sizes; the figures are printed and kept in
    the manifest.

    Args:
        model: the model to export, with the weights it has now.
        directory: where to; made if need be.
        overwrite: replace an artefact that is there. It stays whole until the new one is complete, even across a crash.

    Returns:
        The path of `denoiser.onnx`.

    Raises:
        FileExistsError: there is an artefact already and `overwrite` is False.
        OSError: `directory` cannot be written to.
        ParityError: the converted network does not answer as Keras does.
        ImportError: a converter is missing.
    """
    _check_tools()
    check_model(model)
    directory = pathlib.Path(directory)
    with staging(directory, KIND, FILE, overwrite=overwrite) as stage:
        denoiser = float32_twin(model.denoiser)
        made_with = versions(_PACKAGES)
        graph = _convert(denoiser, stage / "converted.onnx")
        _name_tensors(graph)
        _describe(graph, model.sampler.config, made_with)
        _save(graph, stage / FILE)
        parity = _parity(denoiser, stage / FILE, model.clip_spec)
        write_manifest(
            stage / FILE,
            KIND,
            inputs={tensor.name: _signature(tensor) for tensor in graph.graph.input},
            outputs={tensor.name: _signature(tensor) for tensor in graph.graph.output},
            sampler=model.sampler.config,
            versions=made_with,
            parity=parity,
        )
        # What a user does first must work before anything takes its name.
        OrtSampler(stage, providers=["CPUExecutionProvider"])
    return directory / FILE


def _check_tools() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f'export_onnx needs {", ".join(missing)}: pip install "keras-video-diffusion[export]"')


def check_model(model: Any) -> None:
    """Raise unless `model` is a `VideoDiffusion` that can be exported from this process."""
    import keras

    from kvdiff.models.video_diffusion import VideoDiffusion

    if not isinstance(model, VideoDiffusion):
        raise TypeError(f"`model`: expected a kvdiff.VideoDiffusion. Received: {type(model).__name__}")
    if set(model.denoiser.input) != {"noisy_clip", "noise_label"}:
        raise ValueError(
            "`model`: expected a denoiser of noisy_clip and noise_label; conditions are not exported. "
            f"Received: one of {sorted(model.denoiser.input)}"
        )
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"export: expected Keras on TensorFlow. Received: {keras.backend.backend()}. Save the model and "
            "export it from a process with KERAS_BACKEND=tensorflow."
        )


def float32_twin(denoiser: keras.Model) -> keras.Model:
    """`denoiser`, or a copy that computes in float32 where some of its layers do not."""
    import keras

    if all(layer.compute_dtype == "float32" for layer in denoiser.layers):
        return denoiser

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    twin = keras.models.clone_model(denoiser, clone_function=clone)
    twin.set_weights(denoiser.get_weights())
    return twin


def _convert(denoiser: keras.Model, path: pathlib.Path) -> onnx.ModelProto:
    """The denoiser as Keras and tf2onnx convert it."""
    import keras
    import onnx

    signature = {
        name: keras.InputSpec(dtype="float32", shape=tensor.shape, name=name) for name, tensor in denoiser.input.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Keras looks for `np.object` on behalf of tf2onnx.
        denoiser.export(path, format="onnx", verbose=False, input_signature=[signature], opset_version=OPSET)
    return onnx.load(path)


def _name_tensors(model: onnx.ModelProto) -> None:
    """Names for the output and the dynamic axes, in place of tf2onnx's `Identity:0` and `unk__7`; inputs in order."""
    graph = model.graph
    if sorted(tensor.name for tensor in graph.input) != ["noise_label", "noisy_clip"] or len(graph.output) != 1:
        found = [tensor.name for tensor in graph.input], [tensor.name for tensor in graph.output]
        raise RuntimeError(f"export_onnx: expected inputs noisy_clip and noise_label and one output. Received: {found}")
    graph.input.sort(key=lambda tensor: tensor.name != "noisy_clip")
    _rename(graph, graph.output[0].name, _OUTPUT)
    for tensor in (*graph.input, *graph.output):
        for axis, dim in zip(_AXES, tensor.type.tensor_type.shape.dim, strict=False):  # Channels keep their number.
            if not dim.HasField("dim_value"):
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
    model.doc_string = "F(noisy_clip, noise_label) -> raw_output of a video diffusion model; clips in [-1, 1]."
    properties = {
        "kvdiff.format": f"{FORMAT} {FORMAT_VERSION}",
        METADATA: canonical_json(config),
        "kvdiff.versions": canonical_json(made_with),
    }
    onnx.helper.set_model_props(model, properties)


def _save(model: onnx.ModelProto, path: pathlib.Path) -> None:
    """Write and check: tf2onnx only logs what it could not convert."""
    import onnx

    onnx.save(model, path)
    onnx.checker.check_model(path, full_check=True)


def _parity(denoiser: keras.Model, path: pathlib.Path, clip_spec: Any) -> dict[str, Any]:
    """Compare the file with Keras, print and return the figures."""
    import keras

    session = open_session(path, ["CPUExecutionProvider"])

    def in_keras(noisy_clip: np.ndarray, noise_label: np.ndarray) -> np.ndarray:
        with keras.device("cpu:0"):  # GPUs may round float32 products to TF32.
            out = denoiser({"noisy_clip": noisy_clip, "noise_label": noise_label}, training=False)
            return keras.ops.convert_to_numpy(out)

    def in_onnxruntime(noisy_clip: np.ndarray, noise_label: np.ndarray) -> np.ndarray:
        return session.run([_OUTPUT], {"noisy_clip": noisy_clip, "noise_label": noise_label})[0]

    dynamic = [size is None for size in denoiser.input["noisy_clip"].shape[:4]]
    shapes = cases((clip_spec.num_frames, *clip_spec.frame_shape), dynamic)
    measured = measure(in_keras, in_onnxruntime, shapes, clip_spec.channels)
    print(f"{FILE}: ONNX Runtime against Keras, opset {OPSET}", *measured, sep="\n  ")
    return check_parity(measured)


def _signature(tensor: onnx.ValueInfoProto) -> dict[str, Any]:
    """What the manifest says of an input or output."""
    shape = [dim.dim_param or dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
    # The label is an angle in quarter turns; a noisy clip or a raw output has no bounds.
    return {"dtype": "float32", "shape": shape, "range": [0.0, 1.0] if tensor.name == "noise_label" else None}
