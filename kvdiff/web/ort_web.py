"""onnxruntime-web, which runs the graphs in a browser: found, checked by version and digest, and never committed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from kvdiff.diffusion.checks import check_path

ORT_WEB_VERSION = "1.30.0"
CDN = "cdn"
"""In place of a folder: the browser takes the files from a content delivery network, by their digests."""
VARIABLE = "KVDIFF_ONNXRUNTIME_WEB"
"""The environment variable that names the folder where no argument does."""
FOLDER = "onnxruntime-web"
"""Where the files lie beside the page."""

_CDN_URL = f"https://cdn.jsdelivr.net/npm/onnxruntime-web@{ORT_WEB_VERSION}/dist/"
_FILES: Mapping[str, Mapping[str, str]] = {
    "wasm": {
        "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
        "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    },
    "webgpu": {
        "ort.webgpu.bundle.min.mjs": "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
        "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
    },
}
"""SHA-256 of the files of `ORT_WEB_VERSION`, by what they run on: first the module, then what it loads."""


@dataclasses.dataclass(frozen=True)
class OrtWeb:
    """Where onnxruntime-web is.

    Attributes:
        folder: the folder of its files; None for the content delivery network.
        webgpu: whether the files for WebGPU go along.
    """

    folder: pathlib.Path | None
    webgpu: bool = True

    @property
    def files(self) -> list[pathlib.Path]:
        """What to copy beside the page."""
        return [] if self.folder is None else [self.folder / name for name in self._digests]

    @property
    def _digests(self) -> dict[str, str]:
        return {name: digest for on in self._on for name, digest in _FILES[on].items()}

    @property
    def _on(self) -> list[str]:
        return ["wasm", "webgpu"] if self.webgpu else ["wasm"]

    @property
    def config(self) -> dict[str, Any]:
        """What the page is told: version, and for "wasm" and "webgpu" the address and digest of module and binary."""
        base = _CDN_URL if self.folder is None else f"{FOLDER}/"
        on = {
            name: [{"url": base + file, "sha256": digest} for file, digest in _FILES[name].items()] for name in self._on
        }
        return {"version": ORT_WEB_VERSION, **on}

    @property
    def origin(self) -> str:
        """The origin besides the page's own that it connects to; none as a rule."""
        return "https://cdn.jsdelivr.net" if self.folder is None else ""


def find_ort_web(place: str | os.PathLike[str] | None = None, *, webgpu: bool = True) -> OrtWeb:
    """onnxruntime-web of the one version that pages are made for.

    Args:
        place: its folder, or one with `node_modules` that has it; `CDN`; or None: what `KVDIFF_ONNXRUNTIME_WEB` names,
            else `node_modules` here or in a folder above.
        webgpu: whether pages run on WebGPU too, where a browser has it.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: another version, or a file that is not as published.
    """
    place = place if place is not None else os.environ.get(VARIABLE) or None
    if place == CDN:
        return OrtWeb(None, webgpu)
    given = check_path("onnxruntime_web", place) if place is not None else None
    here = pathlib.Path.cwd()
    starts = [here, *here.parents] if given is None else [given]
    tried = [start / inner for start in starts for inner in (f"node_modules/{FOLDER}", *([""] if given else []))]
    found = next((folder for folder in tried if _is_package(folder)), None)
    if found is None:
        raise FileNotFoundError(
            f"`onnxruntime_web`: expected the folder of onnxruntime-web {ORT_WEB_VERSION}, or one with node_modules. "
            f"Received: {given or 'nothing, and no node_modules here has it'}. `npm install "
            f"onnxruntime-web@{ORT_WEB_VERSION}` gets it; `{CDN}` lets browsers fetch it from {_CDN_URL}"
        )
    version = json.loads((found / "package.json").read_text("utf-8")).get("version")
    if version != ORT_WEB_VERSION:
        raise ValueError(f"`onnxruntime_web`: expected version {ORT_WEB_VERSION}. Received: {version}, in {found}")
    ort_web = OrtWeb(found / "dist", webgpu)
    for file in ort_web.files:
        _check_file(file, ort_web._digests[file.name])
    return ort_web


def _is_package(folder: pathlib.Path) -> bool:
    path = folder / "package.json"
    if not path.is_file():
        return False
    try:
        return json.loads(path.read_text("utf-8")).get("name") == FOLDER
    except (ValueError, AttributeError, UnicodeDecodeError):
        return False


def _check_file(file: pathlib.Path, digest: str) -> None:
    if not file.is_file():
        raise FileNotFoundError(f"`onnxruntime_web`: expected {file.name} in {file.parent}. Received: no such file")
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != digest:
        raise ValueError(
            f"`onnxruntime_web`: expected {file.name} of version {ORT_WEB_VERSION} as published, {digest[:16]}…. "
            f"Received: SHA-256 {found[:16]}…, in {file.parent}"
        )
