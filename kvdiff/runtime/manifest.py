"""What was exported, and whether these are the files: manifests read and verified with json and hashlib alone.

Every artefact has a manifest of its own, so that one folder can hold several: `denoiser.onnx` is described by
`denoiser.onnx.manifest.json` beside it, a folder such as a SavedModel by `manifest.json` inside. It says what the
artefact is: its inputs and outputs, the clip, schedule and prediction that a sampler needs, the versions that made it,
how far it is from Keras, and the size and SHA-256 of every file, itself included. The digests tell damage and mix-ups,
not malice: whoever can change the model can change the manifest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from kvdiff.diffusion.spec import ModelSpec

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "METADATA",
    "Artefact",
    "ArtefactError",
    "canonical_json",
    "described",
    "file_record",
    "load_artefact",
    "load_folder",
    "sealed",
]

FORMAT = "kvdiff-artefact"
FORMAT_VERSION = 1
SEAL = "manifest_sha256"
METADATA = "kvdiff.sampler"
"""The name under which a model file itself carries its spec, the manifest's section `sampler`."""

_IN_FOLDER = "manifest.json"
_MAX_MANIFEST_BYTES = 4 * 2**20  # A manifest is a few kB; anything near this is something else.
_SECTIONS = {
    "kind": str,
    "files": dict,
    "inputs": dict,
    "outputs": dict,
    "sampler": dict,
    "versions": dict,
    "parity": dict,
}


class ArtefactError(ValueError):
    """An exported model that is missing, damaged, or not what its manifest says.

    Attributes:
        path: the file or directory at fault.
        reason: what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"`path`: expected a model exported by kvdiff. Received: {self.path}, {self.reason}"


@dataclasses.dataclass(frozen=True, eq=False)
class Artefact:
    """A model file that is the one its manifest describes.

    Attributes:
        path: the model file.
        manifest: the manifest's content.
        inputs, outputs: the shape of each by name; dynamic axes are names, e.g. "frames".
        spec: what the network was trained for.
    """

    path: pathlib.Path
    manifest: Mapping[str, Any]
    inputs: Mapping[str, list[str | int]]
    outputs: Mapping[str, list[str | int]]
    spec: ModelSpec


def manifest_path(path: pathlib.Path) -> pathlib.Path:
    """Where the manifest of an artefact lies: inside a folder, beside a file."""
    return path / _IN_FOLDER if path.is_dir() else path.with_name(f"{path.name}.manifest.json")


def described(path: pathlib.Path) -> tuple[str, str]:
    """(kind, precision) of a file or folder, as its manifest says.

    Raises:
        ArtefactError: no manifest, or a manifest of something else.
    """
    manifest = _parse(manifest_path(path))
    return manifest["kind"], manifest.get("precision", "float32")


def load_artefact(path: str | os.PathLike[str], kind: str, default_name: str) -> Artefact:
    """Find, verify and describe an exported model.

    Args:
        path: the model file, or its directory.
        kind: the kind of artefact that the caller can run.
        default_name: the model file's name where `path` is a directory.

    Raises:
        ArtefactError: no such file, no manifest, a manifest of something else, or a file that has changed since export.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / default_name
    if not path.is_file():
        raise ArtefactError(path, "which does not exist or is not a file")
    manifest = _holding(path, _parse(manifest_path(path)))
    if manifest["kind"] != kind:
        raise ArtefactError(path, f"which is a {manifest['kind']!r}; this runtime runs {kind!r}")
    return _described(path, manifest)


def load_folder(folder: pathlib.Path, kind: str) -> Artefact:
    """As `load_artefact`, of a format whose reader opens a folder: it must hold what its manifest lists, and no more.

    Raises:
        ArtefactError: no manifest, a manifest of something else, or a file that has changed, come or gone since export.
    """
    manifest = _parse(folder / _IN_FOLDER)
    if manifest["kind"] != kind:
        raise ArtefactError(folder, f"which is a {manifest['kind']!r}; this runtime runs {kind!r}")
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    links = [name for name, path in found.items() if path.is_symlink()]
    wrong = {name for name, path in found.items() if path.is_file()} ^ {*manifest["files"], _IN_FOLDER}
    if links or wrong:
        raise ArtefactError(folder, f"whose files are not those that its {_IN_FOLDER} lists: {sorted(links or wrong)}")
    for name, expected in manifest["files"].items():
        if file_record(found[name]) != expected:
            raise ArtefactError(found[name], "which has changed since export")
    return _described(folder, manifest)


def file_record(path: pathlib.Path) -> dict[str, Any]:
    """What a manifest says of a file: `{"bytes", "sha256"}`."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def canonical_json(value: Any) -> str:
    """One text for equal values: what a model file carries of its sampler, compared with the manifest's."""
    return json.dumps(value, sort_keys=True)


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """`content` with the digest of its other entries, which tells any later change."""
    others = {name: value for name, value in content.items() if name != SEAL}
    return {**others, SEAL: hashlib.sha256(canonical_json(others).encode()).hexdigest()}


def _described(path: pathlib.Path, manifest: dict[str, Any]) -> Artefact:
    try:
        return Artefact(
            path,
            manifest,
            inputs={name: list(tensor["shape"]) for name, tensor in manifest["inputs"].items()},
            outputs={name: list(tensor["shape"]) for name, tensor in manifest["outputs"].items()},
            spec=ModelSpec.from_config(manifest["sampler"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        reason = f"whose signature or sampler cannot be read ({type(error).__name__}: {error})"
        raise ArtefactError(manifest_path(path), reason) from error


def _parse(path: pathlib.Path) -> dict[str, Any]:
    """The content of a manifest file, its sections checked."""
    if not path.is_file():
        raise ArtefactError(path, "which is missing: keep it beside the model file")
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise ArtefactError(path, f"which is larger than any manifest ({_MAX_MANIFEST_BYTES} bytes)")
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtefactError(path, f"which is not JSON ({error})") from error
    _check_sections(path, content)
    if content != sealed(content):
        raise ArtefactError(path, "which has changed since export")
    return content


def _check_sections(path: pathlib.Path, content: Any) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ArtefactError(path, f"which has no `format` of {FORMAT!r}")
    if content.get("format_version") != FORMAT_VERSION:
        version = content.get("format_version")
        raise ArtefactError(path, f"whose format version is {version!r}; this kvdiff reads {FORMAT_VERSION}")
    for name, kind in _SECTIONS.items():
        if not isinstance(content.get(name), kind):
            raise ArtefactError(path, f"whose section `{name}` is missing or not a JSON {kind.__name__}")
    if content.get("replaces") is not None:
        _check_sections(path, content["replaces"])


def _holding(path: pathlib.Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """`manifest`, or the one it replaces where an export was killed just before the new model file took its name."""
    if path.name not in manifest["files"]:
        raise ArtefactError(path, f"which its manifest does not list: {sorted(manifest['files'])}")
    try:
        for name, expected in manifest["files"].items():
            _check_file(path, name, expected)
    except ArtefactError:
        if manifest.get("replaces"):
            return _holding(path, manifest["replaces"])
        raise
    return {name: value for name, value in manifest.items() if name != "replaces"}


def _check_file(path: pathlib.Path, name: str, expected: Any) -> None:
    """Raise unless the file `name` of the model at `path` lies beside it and has not changed."""
    if name in ("", "..") or "\\" in name or pathlib.PurePath(name).name != name:
        raise ArtefactError(manifest_path(path), f"which lists {name!r}; expected the names of files beside it")
    file = path.with_name(name)
    if not file.is_file():
        raise ArtefactError(file, "which does not exist or is not a file")
    if file != path and (file.is_symlink() or file.stat().st_nlink > 1):  # Data of a model, reached by another name.
        raise ArtefactError(file, "which is a link; expected a file of its own")
    if (found := file_record(file)) != expected:
        raise ArtefactError(file, f"which has changed since export: expected {expected}, found {found}")
