"""ONNX files in other precisions, and in two files."""

from __future__ import annotations

import collections
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import kvdiff
from kvdiff.export import export_onnx, export_onnx_sampler
from kvdiff.export.onnx_precision import bfloat16_weights, float16
from kvdiff.runtime import ArtefactError, FusedOrtSampler, OrtSampler
from kvdiff.runtime.manifest import load_artefact
from kvdiff.runtime.ort import ONNX
from tests.runtime.handmade import make_graph, write_artefact


@pytest.fixture(autouse=True)
def _converted(monkeypatch: pytest.MonkeyPatch, exported: Path) -> None:
    """Stands in for the slow conversion: the file that the same model was converted to before."""
    monkeypatch.setattr("kvdiff.export.onnx.network_to_onnx", lambda *_: onnx.load(exported))


def kinds(model: onnx.ModelProto) -> collections.Counter[int]:
    """How many weights the file has of each element type."""
    weights = collections.Counter[int]()
    for tensor in model.graph.initializer:
        weights[tensor.data_type] += int(np.prod(tensor.dims))
    return weights


@pytest.mark.parametrize(
    ("precision", "kind", "share", "decibels"),
    [
        ("float16", TensorProto.FLOAT16, 0.7, 50.0),
        ("bfloat16", TensorProto.BFLOAT16, 0.7, 40.0),
        ("int8", TensorProto.INT8, 0.8, 15.0),
    ],
)
def test_smaller_precisions(
    model: kvdiff.VideoDiffusion,
    exported: Path,
    tmp_path: Path,
    precision: str,
    kind: int,
    share: float,
    decibels: float,
) -> None:
    path = export_onnx(model, tmp_path, precision=precision)
    assert path.name == f"denoiser.{precision}.onnx"
    weights = kinds(onnx.load(path))
    assert weights[kind] > weights[TensorProto.FLOAT]
    small, whole = (OrtSampler(p, providers=["CPUExecutionProvider"], threads=1) for p in (path, exported))
    manifest = small.engine.artefact.manifest
    assert manifest["precision"] == precision and manifest["parity"]["tolerance"] is None
    assert 0 < manifest["parity"]["max_relative_difference"] < 0.2
    clips = [sampler.generate(2, num_steps=10, seed=1) for sampler in (small, whole)]
    assert 10 * np.log10(4 / np.mean((clips[0] - clips[1]) ** 2)) > decibels
    fused = FusedOrtSampler(export_onnx_sampler(path, tmp_path), providers=["CPUExecutionProvider"])
    assert fused.engine.artefact.path.name == f"sampler.{precision}.onnx"
    np.testing.assert_allclose(fused.generate(2, num_steps=10, seed=1), clips[0], atol=0.1)


def test_float16_keeps_sums_and_angles_in_float32(exported: Path) -> None:
    model = float16(onnx.load(exported))
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Cast":
            types[node.output[0]] = node.attribute[0].i
        if any(name.endswith("/float16") for name in node.output):
            assert "norm" not in node.name and "embedding" not in node.name and "known_context" not in node.name
            assert node.op_type not in ("ReduceMean", "Softmax", "Sin", "Cos", "Exp")
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert convolutions and all(types.get(node.input[1]) == TensorProto.FLOAT16 for node in convolutions)


def test_a_weight_beyond_float16_is_refused(exported: Path) -> None:
    model = onnx.load(exported)
    weight = next(t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 0 + np.float32(1e5), weight.name))
    with pytest.raises(ValueError, match="`precision`: expected weights within float16's range"):
        float16(model)


def test_bfloat16_rounds_to_nearest_even() -> None:
    """1 + 2^-8 lies midway between two bfloat16 numbers, and 1 + 3 · 2^-8 between the next two."""
    values = np.tile(np.float32([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -3.0]), 256)
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])],
        "weights",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1024])],
        [numpy_helper.from_array(values, "w")],
    )
    model = bfloat16_weights(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {})[0][:4].tolist() == [1.0, 1 + 2**-6, 1 + 2**-7, -3.0]


def test_unknown_precision_is_refused(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`precision`: expected one of .* Received: 'int4'"):
        export_onnx(model, tmp_path / "run", precision="int4")
    assert not (tmp_path / "run").exists()


def test_large_models_keep_their_weights_in_a_second_file(
    model: kvdiff.VideoDiffusion, monkeypatch: pytest.MonkeyPatch, exported: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("kvdiff.export.onnx_file.EXTERNAL_ABOVE", 10_000)
    path = export_onnx(model, tmp_path)
    files = load_artefact(path, ONNX.kind, ONNX.file).manifest["files"]
    (data,) = set(files) - {"denoiser.onnx"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["denoiser.onnx", data, "denoiser.onnx.manifest.json"]
    assert (tmp_path / data).stat().st_size > 5 * path.stat().st_size / 10
    sampler, whole = (OrtSampler(p, providers=["CPUExecutionProvider"], threads=1) for p in (path, exported))
    assert np.array_equal(sampler.generate(1, num_steps=2), whole.generate(1, num_steps=2))
    fused = FusedOrtSampler(export_onnx_sampler(path, tmp_path), providers=["CPUExecutionProvider"])
    assert len(fused.engine.artefact.manifest["files"]) == 2
    np.testing.assert_allclose(fused.generate(1, num_steps=2), whole.generate(1, num_steps=2), atol=2e-4)
    export_onnx(model, tmp_path, overwrite=True)
    assert np.array_equal(OrtSampler(path, threads=1).generate(1, num_steps=2), whole.generate(1, num_steps=2))


@pytest.mark.parametrize("location", ["../secret", "secret", "/etc/hostname"])
def test_weights_in_files_that_the_manifest_does_not_list_are_refused(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for place in (tmp_path, folder):
        (place / "secret").write_bytes(np.float32([0.5]).tobytes())
    graph = make_graph({"kvdiff.sampler": "x"})
    half = next(tensor for tensor in graph.graph.initializer if tensor.name == "half")
    half.ClearField("raw_data")
    half.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", "4")):
        half.external_data.add(key=key, value=value)
    path = write_artefact(folder, graph)
    with pytest.raises(ArtefactError, match="whose weights lie in .*, which its manifest does not list"):
        OrtSampler(path)
