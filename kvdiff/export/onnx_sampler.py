"""The whole sampling loop as one ONNX graph: `sampler.onnx`, made from an exported denoiser.

The step table is an *input* of the graph, so one file runs every solver, every number of steps and every task, chosen
when it is called. The loop's body is equation (7) of `kvdiff.diffusion`, `step` transcribed once into ONNX nodes,
around the denoiser's own; its weights stay initialisers of the outer graph.
"""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.export.manifest import staging, write_manifest
from kvdiff.export.parity import TOLERANCE, ParityError
from kvdiff.runtime.manifest import canonical_json
from kvdiff.runtime.ort import METADATA, OrtSampler
from kvdiff.runtime.ort_sampler import COLUMNS, FILE, KIND, FusedOrtSampler

if TYPE_CHECKING:
    import onnx

__all__ = ["export_onnx_sampler"]

_ENDS = (("inputs", "noisy_clip"), ("outputs", "raw_output"))
_CLIP_AXES = ("batch", "frames", "height", "width")
_CONSTANTS = {
    "zero": np.array([0], np.int64),
    "one": np.array([1], np.int64),
    "two": np.array([2], np.int64),
    "minus_one": np.array([-1], np.int64),
    "pixels_2": np.array([2, 3, 4], np.int64),  # Where to put axes of 1 so that [batch, frames] meets clips,
    "pixels_3": np.array([3, 4, 5], np.int64),  # and [memory, batch, frames] meets histories.
    "low": np.array(-1.0, np.float32),
    "high": np.array(1.0, np.float32),
    "always": np.array(True),
    "nothing": np.array(0.0, np.float32),
}


def export_onnx_sampler(
    denoiser: str | os.PathLike[str], directory: str | os.PathLike[str], *, overwrite: bool = False
) -> pathlib.Path:
    """Write `directory/sampler.onnx`, with its manifest, for `kvdiff.runtime.FusedOrtSampler`. Needs no Keras.

    Before the file takes its name it is checked, loaded by ONNX Runtime and compared with the same denoiser in a loop
    on the host, for a solver with memory and one with fresh noise.

    Args:
        denoiser: what `export_onnx` wrote, the file or its directory.
        directory: where to; it may hold other artefacts.
        overwrite: replace an artefact that is there.

    Returns:
        The path of `sampler.onnx`.

    Raises:
        FileExistsError: `directory` holds an artefact and `overwrite` is False.
        ArtefactError: `denoiser` is missing, foreign or changed.
        ParityError: the fused loop does not answer as the loop on the host does.
    """
    import onnx

    host = OrtSampler(denoiser, providers=["CPUExecutionProvider"])
    channels = {host.manifest[section][name]["shape"][-1] for section, name in _ENDS}
    if len(channels) != 1:
        raise ValueError(
            f"`denoiser`: expected as many channels out as in. Received: {sorted(channels)} (learned variance)"
        )
    directory = pathlib.Path(directory)
    with staging(directory, KIND, FILE, overwrite=overwrite) as stage:
        source = onnx.load(host.path)
        model = _fused(source)
        onnx.helper.set_model_props(model, {METADATA: canonical_json(host.manifest["sampler"])})
        onnx.save(model, stage / FILE)
        onnx.checker.check_model(stage / FILE, full_check=True)
        sections = {"sampler": host.manifest["sampler"], "versions": host.manifest["versions"]}
        sections |= {"inputs": _signature(model.graph.input), "outputs": _signature(model.graph.output)}
        write_manifest(stage / FILE, KIND, parity={}, **sections)
        parity = _parity(host, FusedOrtSampler(stage, providers=["CPUExecutionProvider"]))
        write_manifest(stage / FILE, KIND, parity=parity, **sections)
    return directory / FILE


def _fused(source: onnx.ModelProto) -> onnx.ModelProto:
    """The denoiser's graph inside a Loop over the rows of a table."""
    from onnx import TensorProto, helper, numpy_helper

    channels = source.graph.input[0].type.tensor_type.shape.dim[-1].dim_value
    clip = [*_CLIP_AXES, channels]

    def tensor(name: str, shape: list[str | int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [
        tensor("start", clip),
        tensor("table", ["calls", len(COLUMNS), "batch", "frames"]),
        tensor("b", ["calls", "memory", "batch", "frames"]),
        tensor("noise", ["calls", *(f"noise_{axis}" for axis in (*_CLIP_AXES, "channels"))]),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items()]
    nodes = [
        helper.make_node("Shape", ["b"], ["b_shape"]),
        helper.make_node("Slice", ["b_shape", "zero", "one", "zero"], ["calls_1"]),
        helper.make_node("Squeeze", ["calls_1"], ["calls"]),
        helper.make_node("Slice", ["b_shape", "one", "two", "zero"], ["memory_1"]),
        helper.make_node("Shape", ["start"], ["start_shape"]),
        helper.make_node("Concat", ["memory_1", "start_shape"], ["history_shape"], axis=0),
        helper.make_node("Expand", ["nothing", "history_shape"], ["history_0"]),
        helper.make_node(
            "Loop", ["calls", "always", "start", "history_0"], ["clip", "history"], body=_body(source, clip)
        ),
    ]
    graph = helper.make_graph(nodes, "sampler", inputs, [tensor("clip", clip)], [*source.graph.initializer, *constants])
    model = helper.make_model(graph, opset_imports=source.opset_import, ir_version=source.ir_version)
    model.doc_string = "start, table, b, noise -> clip: equation (7) of kvdiff.diffusion for every row of the table."
    return model


def _body(source: onnx.ModelProto, clip: list[str | int]) -> onnx.GraphProto:
    """One row: the denoiser's nodes, then `kvdiff.diffusion.step`."""
    from onnx import TensorProto, helper

    def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(kind, inputs.split(), [output], **attributes)

    split = helper.make_node("Split", ["row"], [f"{name}_1" for name in COLUMNS], axis=0, num_outputs=len(COLUMNS))
    before = [node("Gather", "table i", "row", axis=0), split]
    before += [node("Squeeze", f"{name}_1 zero", f"{name}_2") for name in COLUMNS]
    before += [node("Unsqueeze", f"{name}_2 pixels_2", name) for name in COLUMNS]
    before += [node("Mul", "c_in x", "noisy_clip"), node("Identity", "c_noise_2", "noise_label")]
    after = [
        node("Mul", "c_skip x", "skipped"),
        node("Mul", "c_out raw_output", "answered"),
        node("Add", "skipped answered", "unclamped"),
        node("Clip", "unclamped low high", "predicted"),
        node("Unsqueeze", "predicted zero", "newest"),
        node("Slice", "history_in zero minus_one zero", "older"),
        node("Concat", "newest older", "history_out", axis=0),
        node("Gather", "b i", "b_row", axis=0),
        node("Unsqueeze", "b_row pixels_3", "b_pixels"),
        node("Mul", "b_pixels history_out", "weighted"),
        node("ReduceSum", "weighted zero", "remembered", keepdims=0),
        node("Mul", "a x", "kept"),
        node("Add", "kept remembered", "moved"),
        node("Gather", "noise i", "fresh", axis=0),
        node("Mul", "std fresh", "scaled"),
        node("Add", "moved scaled", "x_out"),
        node("Identity", "go_on", "go_on_out"),
    ]
    history = ["memory", *clip]
    scalar = [helper.make_tensor_value_info("i", TensorProto.INT64, [])]
    flags = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go_on", "go_on_out")]
    states = [helper.make_tensor_value_info(name, TensorProto.FLOAT, clip) for name in ("x", "x_out")]
    memories = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, history) for name in ("history_in", "history_out")
    ]
    inputs, outputs = [*scalar, flags[0], states[0], memories[0]], [flags[1], states[1], memories[1]]
    return helper.make_graph([*before, *source.graph.node, *after], "row", inputs, outputs)


def _signature(tensors: Any) -> dict[str, Any]:
    """What the manifest says of inputs or outputs."""
    return {
        tensor.name: {
            "dtype": "float32",
            "shape": [d.dim_param or d.dim_value for d in tensor.type.tensor_type.shape.dim],
        }
        for tensor in tensors
    }


def _parity(host: OrtSampler, fused: FusedOrtSampler) -> dict[str, Any]:
    """Compare the two loops on whole samples; what the manifest records.

    Raises:
        ParityError: they differ by more than the tolerance allows.
    """
    measured = {}
    for solver, num_steps in (("dpmpp_2m", 8), ("ddpm", 8)):
        clips = [sampler.generate(2, num_steps=num_steps, solver=solver) for sampler in (host, fused)]
        measured[f"{solver}, {num_steps} steps"] = float(np.abs(clips[0] - clips[1]).max())
    print(f"{FILE}: the fused loop against the loop on the host")
    for what, difference in measured.items():
        print(f"  {what}: max |difference| {difference:.1e} in [-1, 1]")
    if not max(measured.values()) <= TOLERANCE:
        raise ParityError(
            f"`denoiser`: expected fused samples within {TOLERANCE:g} of the host's. Received: {measured}"
        )
    return {"reference": "OrtSampler", "tolerance": TOLERANCE, "max_abs_difference": measured}
