"""Whatever a manifest says, it is refused with its path and a reason that fits on a screen, before much is done."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kvdiff.runtime import ArtefactError, OrtSampler, manifest as manifest_module, open_sampler
from kvdiff.runtime.manifest import file_record, load_folder, manifest_path, sealed
from tests.runtime.handmade import SAMPLER

LONG = "n" * 5000
SIZE = {"bytes": 3, "sha256": "0" * 64}


def deep(levels: int) -> Any:
    value: Any = 1
    for index in range(levels):
        value = [value] if index % 2 else {"in": value}
    return value


def refusal(artefact: Path, change: Callable[[dict[str, Any]], Any]) -> str:
    path = manifest_path(artefact)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(sealed(content)))
    started = time.perf_counter()
    with pytest.raises(ArtefactError) as refused:
        OrtSampler(artefact)
    assert time.perf_counter() - started < 2.0
    assert len(str(refused.value)) < 3000
    return str(refused.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.update(more=deep(200)), "nested 201 deep; no manifest is beyond"),
        (lambda m: m.update(kind=LONG), "which is a 'nnn"),
        (lambda m: m.update(format_version=LONG), "whose format version is 'nnn"),
        (lambda m: m["files"].update({LONG: SIZE}), "which lists 'nnn"),
        (lambda m: m.update(files={f"{index}": SIZE for index in range(10_000)}), "which lists 10000 files"),
        (lambda m: m["files"]["denoiser.onnx"].update(bytes=2**50), "expected its `bytes`, from 0 to"),
        (lambda m: m["files"]["denoiser.onnx"].update(bytes=10**300), "expected its `bytes`, from 0 to"),
        (lambda m: m["files"]["denoiser.onnx"].update(bytes=True), "expected its `bytes`, from 0 to"),
        (lambda m: m["files"]["denoiser.onnx"].pop("bytes"), "expected its `bytes`, from 0 to"),
        (lambda m: m["files"]["denoiser.onnx"].update(sha256=1), "and `sha256`"),
        (lambda m: m["files"]["denoiser.onnx"].update(sha256=LONG), "has changed since export"),
        (lambda m: m["inputs"].update({LONG: {"shape": [1]}}), "names of 1 to 256 characters"),
        (lambda m: m["inputs"].update({f"i{i}": {"shape": [1]} for i in range(2000)}), "at most 1024 tensors"),
        (lambda m: m["inputs"]["noise_label"].update(shape=[1] * 99), "lists of at most 8 sizes"),
        (lambda m: m["inputs"]["noise_label"].update(shape=[-1, 4]), "expected sizes above 0"),
        (lambda m: m["inputs"]["noise_label"].update(shape=[2.5, 4]), "expected sizes above 0"),
        (lambda m: m["inputs"]["noise_label"].update(shape={}), "lists of at most 8 sizes"),
        (lambda m: m["inputs"]["noise_label"].pop("shape"), "KeyError: 'shape'"),
        (lambda m: m["inputs"].pop("noisy_clip"), r"expected ['noise_label', 'noisy_clip'] by its sampler"),
        (lambda m: m["inputs"].update(told={"shape": ["batch", 1]}), "expected ['noise_label', 'noisy_clip'] by"),
        (lambda m: m["outputs"].pop("raw_output"), "expected ['raw_output'] by its sampler"),
        (lambda m: m["outputs"]["raw_output"]["shape"].__setitem__(4, 3), "expected clips of [4, 8, 8, 1]"),
        (lambda m: m["inputs"]["noisy_clip"]["shape"].__setitem__(1, 9), "expected clips of [4, 8, 8, 1]"),
        (lambda m: m["sampler"].update(clip=[4, 8, 8, 1]), "cannot be read"),
        (lambda m: m["sampler"]["clip"].update(height=2**40), "`height`: expected an integer from 1 to"),
        (lambda m: m["sampler"]["clip"].update(height=10**400), "`height`: expected an integer from 1 to"),
        (lambda m: m["sampler"]["clip"].update(height=2**20, width=2**20), "clip: expected at most"),
        (lambda m: m["sampler"]["schedule"].update(num_timesteps=10**8), "`num_timesteps`: expected an integer from"),
        (lambda m: m["sampler"]["schedule"].update(logsnr_shift=1e300), "`logsnr_shift`: expected a number in"),
        (lambda m: m["sampler"]["schedule"].update(logsnr_shift={}), "not the one in its manifest"),
        (lambda m: m["sampler"]["schedule"].update(offset=10**400), "`offset`: expected a number in"),
        (lambda m: m["sampler"]["schedule"].update({LONG: 1}), "cannot be read"),
        (lambda m: m["sampler"].pop("schedule"), "KeyError: 'schedule'"),
        (lambda m: m["sampler"].update(schedule=3), "cannot be read"),
        (lambda m: m["sampler"].update(prediction=[LONG]), "cannot be read"),
        (lambda m: m["sampler"]["prediction"].update(name=LONG), "cannot be read"),
        (lambda m: m["sampler"].update(conditions=[1]), "`conditions`: expected at most"),
        (
            lambda m: m["sampler"].update(conditions={str(i): {"condition": "frame_times"} for i in range(200)}),
            "`conditions`: expected at most",
        ),
        (lambda m: m["sampler"].update(conditions={"a": {}}), "`condition`: expected one of"),
        (lambda m: m["sampler"].update(conditions={"a": {"condition": "clip_vector"}}), "TypeError"),
        (
            lambda m: m["sampler"].update(conditions={"a": {"condition": "clip_vector", "size": 2**40}}),
            "`size`: expected an integer from 1 to",
        ),
        (lambda m: m.update(replaces={**m, "replaces": m.copy()}), "replaces a manifest that replaces another"),
        (lambda m: m.update(replaces={**m, "kind": "else"}, files={"denoiser.onnx": SIZE}), "which is a 'else'"),
        (lambda m: m.update(sampler={**SAMPLER, "clip": dict.fromkeys(SAMPLER["clip"])}), "`num_frames`: expected"),
    ],
)
def test_everything_has_bounds(artefact: Path, change: Callable[[dict[str, Any]], Any], reason: str) -> None:
    assert reason in refusal(artefact, change)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a",
        "a/../b",
        "/a",
        "a\\b",
        "C:a",
        "a:stream",
        "a*",
        "a ",
        "a.",
        "a\n",
        "a\0b",
        "\ud800",
        "a|b",
    ],
)
def test_names_that_are_no_names_on_some_system_are_refused_on_all(artefact: Path, name: str) -> None:
    assert "expected the names of files beside it" in refusal(artefact, lambda m: m["files"].update({name: SIZE}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 500 + "]" * 500, "which is nested 500 deep"),
        ("[" * 990 + "]" * 990, "which is n"),  # Nested, or beyond what the parser recurses.
        ("[" * 100_000, "which is not JSON"),
        ('{"a": NaN}', "NaN is no number of JSON's"),
        ('{"a": ' + "9" * 5000 + "}", "which is not JSON"),
        ("{}", "which has no `format`"),
        ("3", "which has no `format`"),
    ],
)
def test_texts_that_upset_a_reader_of_json_are_refused(artefact: Path, text: str, reason: str) -> None:
    manifest_path(artefact).write_text(text)
    with pytest.raises(ArtefactError) as refused:
        OrtSampler(artefact)
    assert reason in str(refused.value) and len(str(refused.value)) < 1000


@pytest.mark.parametrize("path", [LONG, "a\0b", f"folder/{LONG}"])
def test_a_path_that_no_file_can_have_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ArtefactError, match="does not exist or is not a file"):
        OrtSampler(tmp_path / path)
    with pytest.raises(ArtefactError, match="which holds no export"):
        open_sampler(tmp_path / path)


@pytest.mark.parametrize("precision", ["secret", LONG, 16, [], None])
def test_a_precision_that_no_export_has_is_refused(artefact: Path, precision: Any) -> None:
    path = manifest_path(artefact)
    path.write_text(json.dumps(sealed({**json.loads(path.read_text()), "precision": precision})))
    with pytest.raises(ArtefactError, match=r"whose precision is .*; kvdiff runs \['float32', 'float16'") as refused:
        open_sampler(artefact)
    assert len(str(refused.value)) < 1000


def test_a_file_of_another_size_is_not_read_at_all(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file of a terabyte costs nothing to make, and an hour to hash."""
    data = artefact.with_name("denoiser.onnx.data")
    with data.open("wb") as file:
        file.truncate(2**40)
    hashed: list[str] = []
    monkeypatch.setattr(manifest_module, "file_record", lambda path: hashed.append(path.name) or file_record(path))
    listed = refusal(artefact, lambda m: m["files"].update({data.name: {**SIZE, "bytes": 2**37}}))
    assert "denoiser.onnx.data, which has changed since export" in listed
    assert hashed == ["denoiser.onnx"]


def test_a_folders_file_of_another_size_is_not_read_at_all(
    artefact: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    content = json.loads(manifest_path(artefact).read_text())
    content["files"] = {"large": {**SIZE, "bytes": 2**37}}
    (folder / "manifest.json").write_text(json.dumps(sealed(content)))
    with (folder / "large").open("wb") as file:
        file.truncate(2**40)
    monkeypatch.setattr(manifest_module, "file_record", lambda path: pytest.fail("it was read"))
    with pytest.raises(ArtefactError, match="large, which has changed since export"):
        load_folder(folder, content["kind"])
