"""The exported file, and what `export_onnx` promises about the files on the disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

import kvdiff
from kvdiff.export import ParityError, export_onnx
from kvdiff.export.onnx import float32_twin
from kvdiff.runtime import OrtSampler
from kvdiff.runtime.manifest import manifest_path

ROOT = Path(kvdiff.__file__).parents[1]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch, exported: Path) -> None:
    """Stands in for the slow conversion: the file that the same model was converted to before."""
    monkeypatch.setattr("kvdiff.export.onnx.network_to_onnx", lambda *_: onnx.load(exported))


def shape_of(tensor: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in tensor.type.tensor_type.shape.dim]


def test_graph_is_as_documented(model: kvdiff.VideoDiffusion, exported: Path) -> None:
    proto = onnx.load(exported)
    clip = ["batch", "frames", "height", "width", 1]
    assert [(t.name, shape_of(t)) for t in proto.graph.input] == [("noisy_clip", clip), ("noise_label", clip[:2])]
    assert [(t.name, shape_of(t)) for t in proto.graph.output] == [("raw_output", clip)]
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 18)]
    assert {node.domain for node in proto.graph.node} == {""}
    properties = {entry.key: json.loads(entry.value) for entry in proto.metadata_props if entry.key != "kvdiff.format"}
    assert properties["kvdiff.sampler"] == model.spec.config
    assert properties["kvdiff.versions"]["keras"] == keras.__version__


def test_manifest_describes_the_file(model: kvdiff.VideoDiffusion, exported: Path) -> None:
    assert sorted(contents(exported.parent)) == ["denoiser.onnx", "denoiser.onnx.manifest.json"]
    manifest = json.loads(manifest_path(exported).read_text())
    payload = exported.read_bytes()
    digest = hashlib.sha256(payload).hexdigest()
    assert manifest["files"] == {"denoiser.onnx": {"bytes": len(payload), "sha256": digest}}
    assert manifest["sampler"] == model.spec.config
    assert manifest["inputs"]["noise_label"] == {"dtype": "float32", "shape": ["batch", "frames"], "range": [0.0, 1.0]}
    assert list(manifest["outputs"]) == ["raw_output"]
    assert manifest["versions"]["onnx"] == onnx.__version__


def test_manifest_records_parity_at_several_shapes(exported: Path) -> None:
    parity = json.loads(manifest_path(exported).read_text())["parity"]
    assert 0 < parity["max_relative_difference"] <= parity["tolerance"] == 3e-5
    assert all(case["output_scale"] > 0.1 for case in parity["cases"])
    for axis in ("batch", "frames", "height", "width"):
        assert len({case[axis] for case in parity["cases"]}) > 1


def test_figures_are_printed(
    model: kvdiff.VideoDiffusion, converter: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_onnx(model, tmp_path)
    assert capsys.readouterr().out.count("max |difference|") == 5


def test_existing_artefact_is_kept(
    model: kvdiff.VideoDiffusion, converter: None, exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "denoiser.onnx").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="`directory`: expected .*`overwrite=True`.* holds denoiser.onnx"):
        export_onnx(model, tmp_path)
    assert contents(tmp_path) == {"denoiser.onnx": b"precious"}
    (tmp_path / "model.keras").write_bytes(b"neighbour")
    export_onnx(model, tmp_path, overwrite=True)
    assert contents(tmp_path) == {**contents(exported.parent), "model.keras": b"neighbour"}


def test_unwritable_directory_is_refused_before_the_work(
    model: kvdiff.VideoDiffusion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def convert(*args: object) -> None:
        raise AssertionError("converted although nothing can be written")

    monkeypatch.setattr("kvdiff.export.onnx.network_to_onnx", convert)
    (tmp_path / "file").write_bytes(b"")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="`directory`: expected a directory that can be written to. Received: .*file"):
            export_onnx(model, directory)
    assert contents(tmp_path) == {"file": b""}


@pytest.mark.parametrize("value", [1.01, np.nan])
def test_a_graph_that_answers_otherwise_is_refused(
    model: kvdiff.VideoDiffusion, monkeypatch: pytest.MonkeyPatch, exported: Path, tmp_path: Path, value: float
) -> None:
    def convert(*_: object) -> onnx.ModelProto:
        """One kernel off by a hundredth, or not a number."""
        proto = onnx.load(exported)
        weight = max(proto.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        changed = onnx.numpy_helper.to_array(weight) * np.float32(value)
        weight.CopyFrom(onnx.numpy_helper.from_array(changed, weight.name))
        return proto

    monkeypatch.setattr("kvdiff.export.onnx.network_to_onnx", convert)
    with pytest.raises(ParityError, match="expected the exported network within 3e-05 of Keras"):
        export_onnx(model, tmp_path / "new" / "folder")
    assert contents(tmp_path) == {}


def test_what_was_not_converted_is_refused(
    model: kvdiff.VideoDiffusion, monkeypatch: pytest.MonkeyPatch, exported: Path, tmp_path: Path
) -> None:
    def convert(*_: object) -> onnx.ModelProto:
        """As tf2onnx leaves an operation that it does not know: in place, with a line in the log."""
        proto = onnx.load(exported)
        proto.graph.node[0].op_type = "StatelessRandomNormalV2"
        return proto

    monkeypatch.setattr("kvdiff.export.onnx.network_to_onnx", convert)
    with pytest.raises(onnx.checker.ValidationError, match="StatelessRandomNormalV2"):
        export_onnx(model, tmp_path / "new")
    assert contents(tmp_path) == {}


def test_only_a_video_diffusion_is_exported(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="`model`: expected a kvdiff.VideoDiffusion. Received: Functional"):
        export_onnx(model.denoiser, tmp_path)


def test_missing_converter_names_the_extra(
    model: kvdiff.VideoDiffusion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("kvdiff.export.onnx._PACKAGES", ("numpy", "no_such_converter"))
    with pytest.raises(ImportError, match=r'no_such_converter: pip install "keras-video-diffusion\[export\]"'):
        export_onnx(model, tmp_path)


def test_mixed_precision_is_exported_as_itsfloat32_twin(model: kvdiff.VideoDiffusion, rng: np.random.Generator) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = kvdiff.UNet3D(1, widths=(24, 24), blocks=1)
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(model.denoiser.get_weights())
    twin = float32_twin(mixed)
    inputs = {"noisy_clip": rng.standard_normal((2, 4, 8, 8, 1)), "noise_label": rng.uniform(size=(2, 4))}
    outputs = [keras.ops.convert_to_numpy(network(inputs)) for network in (model.denoiser, mixed, twin)]
    assert np.array_equal(outputs[2], outputs[0])
    assert 1e-4 < np.abs(outputs[1] - outputs[0]).max() < 0.1
    assert float32_twin(model.denoiser) is model.denoiser


def test_kill_during_conversion_leaves_the_old_artefact(exported: Path, tmp_path: Path) -> None:
    target = tmp_path / "run"
    shutil.copytree(exported.parent, target)
    code = f"""
import kvdiff, kvdiff.export
model = kvdiff.VideoDiffusion((4, 8, 8, 1), kvdiff.UNet3D(1, widths=(24,), attention=(None,), blocks=1))
kvdiff.export.export_onnx(model, {str(target)!r}, overwrite=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        while process.poll() is None and not list(target.glob(".export-*")):
            time.sleep(0.02)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    left = {path.name: path.read_bytes() for path in target.iterdir() if path.is_file()}
    assert left == contents(exported.parent)
    assert np.isfinite(OrtSampler(target).generate(num_steps=1)).all()
