"""One opener: which file of a folder it takes, by runtime and precision, and what it says where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kvdiff.export.manifest import write_manifest
from kvdiff.runtime import FORMATS, ArtefactError, Format, find_artefacts, open_sampler
from kvdiff.runtime.manifest import METADATA, canonical_json, manifest_path
from kvdiff.runtime.opening import choose
from kvdiff.runtime.ort import ONNX
from tests.runtime.handmade import SAMPLER, make_graph, write_artefact

SECTIONS: dict[str, Any] = dict(inputs={}, outputs={}, sampler=SAMPLER, versions={}, parity={})


def fake(folder: Path, name: str, precision: str = "float32") -> Path:
    """A file that a manifest says to be of a format; nobody opens it here."""
    form = FORMATS[name]
    path = folder / form.file_name(precision)
    if form.folder:
        path = folder / form.folder / "1"
        path.mkdir(parents=True)
        (path / form.file).write_bytes(b"x")
        write_manifest(path, form.kind, [form.file], **SECTIONS)
    else:
        path.write_bytes(b"x")
        write_manifest(path, form.kind, **SECTIONS, precision=precision)
    return path


@pytest.fixture
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Format, "is_installed", True)


@pytest.mark.usefixtures("all_installed")
def test_the_first_format_in_its_first_precision_is_taken(tmp_path: Path) -> None:
    order = [("saved-model", "float32"), ("onnx-sampler", "float32"), ("litert", "int8"), ("onnx", "float16")]
    for found, (name, precision) in enumerate(order):
        path = fake(tmp_path, name, precision)
        wanted = path if found < 2 else tmp_path / "sampler.onnx"  # Float32 of any format before other precisions.
        assert choose(tmp_path)[1] == wanted
    path = fake(tmp_path, "onnx")
    assert choose(tmp_path) == (ONNX, path)
    assert len(find_artefacts(tmp_path)) == 5


@pytest.mark.usefixtures("all_installed")
def test_runtime_and_precision_choose(tmp_path: Path) -> None:
    files = [("onnx", "float32"), ("onnx", "int8"), ("onnx-sampler", "float32"), ("onnx-sampler", "float16")]
    paths = {each: fake(tmp_path, *each) for each in [*files, ("litert", "float16"), ("saved-model", "float32")]}
    for (name, precision), path in paths.items():
        assert choose(tmp_path, name, precision) == (FORMATS[name], path)
        assert choose(path) == (FORMATS[name], path)  # A file needs no word on what it is.
    assert choose(tmp_path, precision="int8")[1] == paths["onnx", "int8"]
    assert choose(tmp_path, runtime="litert")[1] == paths["litert", "float16"]
    assert choose(tmp_path, precision="float16")[1] == paths["litert", "float16"]


def test_a_runtime_that_is_not_installed_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx, lite = fake(tmp_path, "onnx"), fake(tmp_path, "litert", "float16")
    missing = {"onnxruntime"}
    monkeypatch.setattr(Format, "is_installed", property(lambda form: form.package not in missing))
    assert choose(tmp_path)[1] == lite
    missing.add("ai_edge_litert")
    assert choose(tmp_path)[1] == onnx  # Opening it says what to install.


def test_what_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="which holds no export$"):
        open_sampler(tmp_path)
    fake(tmp_path, "onnx", "int8")
    fake(tmp_path, "litert")
    held = r"holds denoiser.int8.onnx \(onnx, int8\), denoiser.tflite \(litert, float32\)"
    with pytest.raises(ArtefactError, match=f"{held}; asked for: runtime 'onnx-sampler'$"):
        open_sampler(tmp_path, runtime="onnx-sampler")
    with pytest.raises(ArtefactError, match=f"{held}; asked for: runtime 'litert' and precision 'int8'$"):
        open_sampler(tmp_path, runtime="litert", precision="int8")
    with pytest.raises(ArtefactError, match="asked for: precision 'int4'"):
        open_sampler(tmp_path, precision="int4")
    with pytest.raises(ValueError, match=r"`runtime`: expected one of \['litert', .* Received: 'toaster'"):
        open_sampler(tmp_path, runtime="toaster")
    with pytest.raises(ArtefactError, match="asked for: runtime 'litert'"):
        open_sampler(tmp_path / "denoiser.int8.onnx", runtime="litert")
    with pytest.raises(ArtefactError, match="nowhere"):
        open_sampler(tmp_path / "nowhere")


def test_a_stranger_in_the_folder_hides_nothing(artefact: Path) -> None:
    """What a newer version or another tool wrote beside a file that this version runs."""
    folder = artefact.parent
    (folder / "model.bin").write_bytes(b"x")
    write_manifest(folder / "model.bin", "toaster", **SECTIONS)
    (folder / "torn.onnx.manifest.json").write_text("{")
    (folder / "site.manifest.json").write_text('{"name": "a web page"}')
    lower = shutil.copy(artefact, folder / "denoiser.int2.onnx")
    write_manifest(Path(lower), ONNX.kind, **SECTIONS, precision="int2")
    assert np.isfinite(open_sampler(folder).generate(num_steps=1)).all()
    with pytest.raises(ArtefactError, match="which is a 'toaster'; kvdiff runs"):
        open_sampler(folder / "model.bin")


def test_options_reach_the_engine(tmp_path: Path) -> None:
    path = write_artefact(tmp_path, make_graph({METADATA: canonical_json(SAMPLER)}))
    sampler = open_sampler(tmp_path, providers=["CPUExecutionProvider"], threads=1, io_binding=True)
    assert sampler.engine._loop is not None and sampler.engine.artefact.path == path
    with pytest.raises(ValueError, match="`threads`: expected an integer >= 1. Received: 0"):
        open_sampler(path, threads=0)
    manifest_path(path).unlink()
    with pytest.raises(ArtefactError, match="which is missing: keep it beside the model file"):
        open_sampler(path)
