"""The folder of a page: whole, digested, opened in Python like any other export, and refused before it is built."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest

import kvdiff
from kvdiff.diffusion import (
    AveragePool,
    ClipSpec,
    FrameVectors,
    Linear,
    ModelSpec,
    NoiseSchedule,
    Pixels,
    Prediction,
)
from kvdiff.export import export_web
from kvdiff.export.operators import of_web
from kvdiff.export.web import _transforms
from kvdiff.models.denoiser import condition_inputs
from kvdiff.runtime import ArtefactError, find_artefacts, open_sampler
from kvdiff.web import CDN, ort_web, write_gallery
from tests.web.conftest import npm  # noqa: F401
from tests.web.models import digests_of, npm_folder


@pytest.fixture(scope="module")
def made(trivial: kvdiff.VideoDiffusion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a page."""
    folder = tmp_path_factory.mktemp("made")
    package = npm_folder(folder / "onnxruntime-web")
    clips = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 8, 1), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ort_web, "_FILES", digests_of(package))
        return export_web(trivial, folder / "run" / "web", onnxruntime_web=package, examples=clips)


@pytest.fixture
def page(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "run" / "web")


def test_the_folder_has_all_that_a_page_needs_and_its_manifest_lists_it(page: Path) -> None:
    manifest = json.loads((page / "manifest.json").read_text())
    names = {path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == names - {"manifest.json"}
    wanted = {"index.html", "page.js", "worker.js", "style.css", "spec.json", "tables.bin", "sampler.onnx"}
    assert wanted | {"examples/1.npy", "examples/2.npy", "onnxruntime-web/ort.wasm.bundle.min.mjs"} <= names
    spec = json.loads((page / "spec.json").read_text())
    assert spec["name"] == "run" and Path(spec["run"]).name == "run"
    assert np.load(page / "examples/1.npy").shape == (1, 4, 8, 8, 1)  # Cut to the training length.
    index = (page / "index.html").read_text()
    assert "<title>run</title>" in index and "connect-src 'self';" in index and "https://" not in index


def test_python_opens_what_the_page_runs(page: Path, trivial: kvdiff.VideoDiffusion) -> None:
    assert find_artefacts(page.parent) == [page] and "Loop" in list(of_web(page))
    sampler = open_sampler(page.parent, runtime="web")
    ours, theirs = (each.generate(num_steps=3, seed=5) for each in (sampler, trivial))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    (page / "tables.bin").write_bytes(b"other")
    with pytest.raises(ArtefactError, match="tables.bin.*has changed since export"):
        open_sampler(page)


def test_a_folder_that_is_there_is_replaced_only_when_asked_and_whole(
    page: Path,
    trivial: kvdiff.VideoDiffusion,
    npm: Path,  # noqa: F811
) -> None:
    with pytest.raises(FileExistsError, match="`directory`: expected no such folder, or `overwrite=True`"):
        export_web(trivial, page, onnxruntime_web=npm)
    (page / "more.txt").write_text("of another page")
    export_web(trivial, page, onnxruntime_web=npm, overwrite=True, webgpu=False)
    assert not (page / "more.txt").exists() and len(list((page / "onnxruntime-web").iterdir())) == 2
    assert [path.name for path in page.parent.iterdir()] == ["web"]
    other = page.parent / "photos"
    other.mkdir()
    with pytest.raises(FileExistsError, match="expected an export, which `overwrite=True` replaces"):
        export_web(trivial, other, onnxruntime_web=npm, overwrite=True)


@pytest.mark.parametrize(
    ("options", "kind", "match"),
    [
        (dict(onnxruntime_web="/nowhere"), FileNotFoundError, "npm install"),
        (dict(examples=np.zeros((1, 3, 8, 8, 1))), ValueError, "`examples`: expected clips of at least 4 frames"),
        (dict(examples=np.zeros((1, 4, 9, 9, 1))), ValueError, "`examples`: expected shape"),
        (dict(actions={"left": [1]}), ValueError, "`actions`"),
        (dict(example_conditions={"a": 1}), ValueError, "expected none without `examples`"),
        (dict(precision="float16"), ValueError, "`precision`"),
        (dict(webgpu="yes"), TypeError, "`webgpu`"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_built(
    trivial: kvdiff.VideoDiffusion,
    npm: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    kind: type[Exception],
    match: str,
) -> None:
    monkeypatch.setattr("kvdiff.export.web.export_model_sampler", lambda *_: pytest.fail("built"))
    with pytest.raises(kind, match=match):
        export_web(trivial, tmp_path / "new" / "web", **{"onnxruntime_web": npm, **options})
    assert not (tmp_path / "new").exists()


def test_values_and_codecs_go_along_as_graphs(tmp_path: Path) -> None:
    spec = ModelSpec(
        ClipSpec(4, 8, 8, 1),
        NoiseSchedule.from_config({"name": "cosine"}),
        Prediction("v"),
        values=Linear(0, 40),
        codec=AveragePool(2),
    )
    clip = np.random.default_rng(0).uniform(0, 40, (2, 3, 8, 8, 1)).astype(np.float32)
    latent = spec.encode(clip)
    wanted = {"encoder.onnx": (clip, latent), "decoder.onnx": (latent, spec.decode(latent))}
    paths = _transforms(spec, tmp_path)
    assert [path.name for path in paths] == list(wanted)
    for path in paths:
        given, expected = wanted[path.name]
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(session.run(["out"], {"clip": given})[0], expected, atol=1e-5)
    assert _transforms(dataclasses.replace(spec, values=Pixels(), codec=None), tmp_path) == []


def test_a_page_of_actions_from_the_network(tmp_path: Path) -> None:
    conditions = {"action": FrameVectors(2)}
    inputs = {
        "noisy_clip": keras.Input((None, None, None, 1), name="noisy_clip"),
        "noise_label": keras.Input((None,), name="noise_label"),
    }
    inputs |= condition_inputs(conditions, 1)
    told = inputs["action"] * inputs["told"][:, None]
    acted = keras.layers.Dense(1)(keras.ops.concatenate([told, inputs["noise_label"][..., None]], axis=-1))
    denoiser = keras.Model(inputs, inputs["noisy_clip"] * acted[:, :, None, None])
    denoiser.conditions = conditions
    model = kvdiff.VideoDiffusion((4, 8, 8, 1), denoiser)
    clips, actions = np.zeros((1, 4, 8, 8, 1), np.uint8), np.eye(2)[[0, 1, 1, 0]][None]
    given = {"example_conditions": {"action": actions}, "actions": {"left": [1, 0], "right": [0, 1]}}
    page = export_web(model, tmp_path / "web", onnxruntime_web=CDN, examples=clips, **given)
    spec = json.loads((page / "spec.json").read_text())
    assert spec["examples"][0]["conditions"]["action"] == actions[0].tolist()
    assert [each["key"] for each in spec["actions"]["values"]] == ["ArrowLeft", "ArrowRight"]
    assert "connect-src 'self' https://cdn.jsdelivr.net;" in (page / "index.html").read_text()
    assert not (page / "onnxruntime-web").exists()


def test_a_gallery_lists_the_pages_beside_it(page: Path) -> None:
    index = write_gallery(page.parent, "My <models>")
    text = index.read_text()
    assert index == page.parent / "index.html" and 'href="web/"' in text and "My &lt;models&gt;" in text
    with pytest.raises(FileNotFoundError, match="expected pages of models in folders inside"):
        write_gallery(page)
