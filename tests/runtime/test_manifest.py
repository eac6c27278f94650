"""Files that are missing, damaged, foreign or mixed up are refused, with what is wrong and where."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kvdiff.runtime import ArtefactError, OrtSampler
from kvdiff.runtime.manifest import file_record, manifest_path, sealed

Change = Callable[[dict[str, Any]], Any]


def edit(artefact: Path, change: Change) -> dict[str, Any]:
    """Apply `change` to the manifest's content in place, and return the content."""
    path = manifest_path(artefact)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return content


def test_file_and_directory_are_the_same_model(artefact: Path) -> None:
    clips = [OrtSampler(path).generate(num_steps=2) for path in (artefact, str(artefact.parent))]
    assert np.array_equal(*clips)


@pytest.mark.parametrize("position", np.linspace(0, 1, 12))
def test_one_flipped_bit_is_refused(artefact: Path, position: float) -> None:
    payload = bytearray(artefact.read_bytes())
    payload[round(position * (len(payload) - 1))] ^= 1
    artefact.write_bytes(payload)
    with pytest.raises(ArtefactError, match="denoiser.onnx, which has changed since export: expected .*sha256"):
        OrtSampler(artefact)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_file_is_refused(artefact: Path, share: float) -> None:
    payload = artefact.read_bytes()
    artefact.write_bytes(payload[: int(share * len(payload))])
    with pytest.raises(ArtefactError, match="has changed since export"):
        OrtSampler(artefact)


def test_missing_files_are_named(artefact: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"Received: .*nowhere, which does not exist"):
        OrtSampler(tmp_path / "nowhere")
    manifest_path(artefact).unlink()
    with pytest.raises(ArtefactError, match=r"manifest.json, which is missing: keep it beside the model file"):
        OrtSampler(artefact)
    artefact.unlink()
    with pytest.raises(ArtefactError, match=r"denoiser.onnx, which does not exist"):
        OrtSampler(tmp_path)


def test_another_model_beside_the_manifest_is_refused(artefact: Path) -> None:
    other = shutil.copy(artefact, artefact.with_name("other.onnx"))
    with pytest.raises(ArtefactError, match=r"other.onnx.manifest.json, which is missing"):
        OrtSampler(other)
    shutil.copy(manifest_path(artefact), manifest_path(other))
    with pytest.raises(ArtefactError, match=r"other.onnx, which its manifest does not list: \['denoiser.onnx'\]"):
        OrtSampler(other)


def with_data(artefact: Path, name: str) -> Path:
    """Let the manifest list a data file of three bytes, as of a large model, by `name`; return where it should lie."""
    data = artefact.with_name("denoiser.onnx.0.data")
    data.write_bytes(b"abc")
    content = edit(artefact, lambda m: m["files"].update({name: file_record(data)}))
    manifest_path(artefact).write_text(json.dumps(sealed(content)))
    return data


def test_data_beside_the_model_is_held_to_the_manifest(artefact: Path) -> None:
    data = with_data(artefact, "denoiser.onnx.0.data")
    assert OrtSampler(artefact).spec.clip.num_frames == 4
    data.write_bytes(b"abd")
    with pytest.raises(ArtefactError, match=r"0.data, which has changed since export"):
        OrtSampler(artefact)
    data.unlink()
    with pytest.raises(ArtefactError, match=r"0.data, which does not exist or is not a file"):
        OrtSampler(artefact)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/data", "..", "", ".", r"..\secret"])
def test_data_elsewhere_is_refused(artefact: Path, name: str) -> None:
    (artefact.parents[1] / "secret").write_bytes(b"abc")
    with_data(artefact, name)
    with pytest.raises(ArtefactError, match="lists .*; expected the names of files beside it"):
        OrtSampler(artefact)


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_linked_data_is_refused(artefact: Path, link: Callable[[Path, Path], None]) -> None:
    data = with_data(artefact, "denoiser.onnx.0.data")
    data.unlink()
    (artefact.parents[1] / "secret").write_bytes(b"abc")
    link(data, artefact.parents[1] / "secret")
    with pytest.raises(ArtefactError, match=r"0.data, which is a link; expected a file of its own"):
        OrtSampler(artefact)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is not JSON"),
        (b'{"format": ', "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "has no `format`"),
        (b'{"name": "an app", "display": "standalone"}', "has no `format`"),
        (b" " * (4 * 2**20 + 1), "larger than any manifest"),
    ],
    ids=["empty", "cut", "binary", "deep", "list", "of something else", "huge"],
)
def test_what_is_no_manifest_is_refused(artefact: Path, text: bytes, message: str) -> None:
    manifest_path(artefact).write_bytes(text)
    with pytest.raises(ArtefactError, match=f"manifest.json, which .*{message}"):
        OrtSampler(artefact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format_version=2), "format version is 2; this kvdiff reads 1"),
        (lambda m: m.update(kind="litert-denoiser"), "is a 'litert-denoiser'; this runtime runs 'onnx-denoiser'"),
        (lambda m: m.pop("files"), "section `files` is missing"),
        (lambda m: m.update(sampler=[]), "section `sampler` is missing or not a JSON dict"),
        (lambda m: m.update(files={}), r"does not list: \[\]"),
        (lambda m: m.update(files={"denoiser.onnx": None}), "says None of 'denoiser.onnx'; expected its `bytes`"),
        (lambda m: m.update(replaces={}), "has no `format`"),
        (lambda m: m.update(inputs={"noisy_clip": 3}), "signature or sampler cannot be read"),
        (lambda m: m["inputs"]["noise_label"].update(shape=["batch", 4]), "whose inputs are .* its manifest says"),
        (lambda m: m["outputs"]["raw_output"]["shape"].insert(0, "more"), "whose outputs are .* its manifest says"),
        (lambda m: m["sampler"].pop("clip"), "signature or sampler cannot be read .KeyError: 'clip'"),
        (lambda m: m["sampler"]["clip"].update(height=0), "`height`: expected an integer from 1 to .*Received: 0"),
        (lambda m: m["sampler"]["clip"].update(depth=8), "signature or sampler cannot be read"),
        (lambda m: m["sampler"]["schedule"].update(name="secret"), "expected a `name` among"),
        (lambda m: m["sampler"]["schedule"].update(num_timesteps=10), "not the one in its manifest"),
        (lambda m: m["sampler"]["prediction"].update(name="eps"), "not the one in its manifest"),
        (lambda m: m["sampler"]["prediction"].update(name="w"), "`prediction`: expected one of"),
    ],
)
def test_wrong_manifest_is_refused(artefact: Path, change: Change, message: str) -> None:
    content = edit(artefact, change)
    manifest_path(artefact).write_text(json.dumps(sealed(content)))
    with pytest.raises(ArtefactError, match=message):
        OrtSampler(artefact)


@pytest.mark.parametrize(
    "change",
    [lambda m: m["parity"].update(tolerance=1.0), lambda m: m.pop("manifest_sha256"), lambda m: m.update(more=1)],
)
def test_a_changed_manifest_is_refused(artefact: Path, change: Change) -> None:
    edit(artefact, lambda content: None)  # Another layout of the same content is no change.
    assert OrtSampler(artefact).engine.artefact.manifest["parity"] == {}
    edit(artefact, change)
    with pytest.raises(ArtefactError, match=r"manifest.json, which has changed since export"):
        OrtSampler(artefact)


def test_the_error_says_where_and_why_and_travels_between_processes(tmp_path: Path) -> None:
    error = pickle.loads(pickle.dumps(ArtefactError(tmp_path, "which is empty")))
    assert (error.path, error.reason) == (tmp_path, "which is empty")
    assert str(error) == f"`path`: expected a model exported by kvdiff. Received: {tmp_path}, which is empty"
