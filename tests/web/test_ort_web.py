"""onnxruntime-web is found, and refused where it is not the one version as published."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvdiff.web import CDN, ORT_WEB_VERSION, find_ort_web
from kvdiff.web.ort_web import VARIABLE
from tests.web.models import npm_folder


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def test_it_is_found_where_npm_puts_it(npm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    for place in (None, tmp_path, npm):
        found = find_ort_web(place)
        assert found.folder == npm / "dist" and len(found.files) == 4
        assert found.config["version"] == ORT_WEB_VERSION and found.origin == ""
        assert found.config["wasm"][0]["url"] == "onnxruntime-web/ort.wasm.bundle.min.mjs"
    monkeypatch.chdir("/")
    monkeypatch.setenv(VARIABLE, str(npm))
    assert find_ort_web().folder == npm / "dist"


def test_without_webgpu_its_files_stay_away(npm: Path) -> None:
    found = find_ort_web(npm, webgpu=False)
    assert len(found.files) == 2 and "webgpu" not in found.config


def test_the_network_serves_it_only_when_asked() -> None:
    found = find_ort_web(CDN)
    assert found.files == [] and found.origin.startswith("https://")
    for files in (found.config["wasm"], found.config["webgpu"]):
        for file in files:
            assert file["url"].startswith(found.origin) and f"@{ORT_WEB_VERSION}/" in file["url"]
            assert len(bytes.fromhex(file["sha256"])) == 32


def test_what_is_not_there_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    install = f"npm install onnxruntime-web@{ORT_WEB_VERSION}"
    with pytest.raises(FileNotFoundError, match=f"`onnxruntime_web`: expected .*{install}"):
        find_ort_web(tmp_path)
    with pytest.raises(FileNotFoundError, match="no node_modules here has it"):
        find_ort_web()


def test_other_packages_versions_and_contents_are_refused(tmp_path: Path) -> None:
    other = npm_folder(tmp_path / "other", name="onnxruntime-node")
    with pytest.raises(FileNotFoundError, match="expected the folder of onnxruntime-web"):
        find_ort_web(other)
    old = npm_folder(tmp_path / "old", version="1.20.0")
    with pytest.raises(ValueError, match=f"expected version {ORT_WEB_VERSION}. Received: 1.20.0"):
        find_ort_web(old)
    with pytest.raises(ValueError, match="expected ort.wasm.bundle.min.mjs of version .* as published"):
        find_ort_web(npm_folder(tmp_path / "changed"))
    (old / "package.json").write_text("no JSON")
    with pytest.raises(FileNotFoundError):
        find_ort_web(old)


def test_a_file_that_is_missing_is_named(npm: Path) -> None:
    (npm / "dist" / "ort-wasm-simd-threaded.wasm").unlink()
    with pytest.raises(FileNotFoundError, match="expected ort-wasm-simd-threaded.wasm in .*Received: no such file"):
        find_ort_web(npm)
