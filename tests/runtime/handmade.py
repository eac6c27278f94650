"""Artefacts made by hand, without TensorFlow: raw_output = noisy_clip / 2 + noise_label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kvdiff.diffusion import ClipSpec, NoiseSchedule, Prediction
from kvdiff.export.manifest import write_manifest
from kvdiff.runtime.ort import ONNX

CLIP = ["batch", "frames", "height", "width", 1]
SAMPLER = {
    "clip": ClipSpec(4, 8, 8, 1).config,
    "schedule": dict(NoiseSchedule.from_config({"name": "cosine"}).config),
    "prediction": Prediction("v").config,
}


def make_graph(properties: dict[str, str], output: str = "raw_output", *, learned: bool = False) -> onnx.ModelProto:
    """The graph, with what it says of itself in its metadata; `learned`: tanh(noisy_clip) follows, as a variance."""
    nodes = [
        helper.make_node("Mul", ["noisy_clip", "half"], ["scaled"]),
        helper.make_node("Unsqueeze", ["noise_label", "axes"], ["label"]),
        helper.make_node("Add", ["scaled", "label"], ["sum" if learned else output]),
    ]
    if learned:
        nodes.append(helper.make_node("Tanh", ["noisy_clip"], ["share"]))
        nodes.append(helper.make_node("Concat", ["sum", "share"], [output], axis=-1))
    constants = {"half": np.float32([0.5]), "axes": np.int64([2, 3, 4])}
    graph = helper.make_graph(
        nodes,
        "by_hand",
        [
            helper.make_tensor_value_info("noisy_clip", TensorProto.FLOAT, CLIP),
            helper.make_tensor_value_info("noise_label", TensorProto.FLOAT, CLIP[:2]),
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [*CLIP[:-1], 1 + learned])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, properties)
    return model


def write_artefact(folder: Path, graph: onnx.ModelProto, **changes: Any) -> Path:
    """Write `graph` and a manifest of it; `changes` replace sections of the manifest."""
    (folder / ONNX.file).write_bytes(graph.SerializeToString())
    sections = {
        "inputs": {"noisy_clip": {"shape": CLIP}, "noise_label": {"shape": CLIP[:2]}},
        "outputs": {"raw_output": {"shape": CLIP}},
        "sampler": SAMPLER,
        "versions": {},
        "parity": {},
    }
    write_manifest(folder / ONNX.file, ONNX.kind, **{**sections, **changes})
    return folder / ONNX.file
