"""What was exported, and whether these are the files: manifests read and verified with json and hashlib alone.

Every artefact has a manifest of its own, so that one folder can hold several: `denoiser.onnx` is described by
`denoiser.onnx.manifest.json` beside it, a folder such as a SavedModel by `manifest.json` inside. It says what the
artefact is: its inputs and outputs, the clip, schedule and prediction that a sampler needs, the versions that made it,
how far it is from Keras, how to sample with it, and the size and SHA-256 of every file, itself included. The digests
tell damage and mix-ups, not malice: whoever can change the model can change the manifest. So all it says has bounds,
which are checked before use.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.runtime.manifest_file import (
    FORMAT,
    FORMAT_VERSION,
    SEAL,
    ArtefactError,
    canonical_json,
    is_a,
    read_manifest,
    sealed,
    shortened,
)
from kvdiff.runtime.tensors import check_tensors, shapes_of

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "METADATA",
    "SEAL",
    "Artefact",
    "ArtefactError",
    "canonical_json",
    "described",
    "file_record",
    "is_a",
    "load_artefact",
    "load_folder",
    "sealed",
    "shortened",
]

METADATA = "kvdiff.sampler"
"""The name under which a model file itself carries its spec, the manifest's section `sampler`."""

_IN_FOLDER = "manifest.json"
_MAX_CONDITIONS = 64


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
    return path / _IN_FOLDER if is_a(path, os.path.isdir) else path.with_name(f"{path.name}.manifest.json")


def described(path: pathlib.Path) -> tuple[str, str]:
    """(kind, precision) of a file or folder, as its manifest says.

    Raises:
        ArtefactError: no manifest, or a manifest of something else.
    """
    manifest = read_manifest(manifest_path(path))
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
    if is_a(path, os.path.isdir):
        path = path / default_name
    if not is_a(path, os.path.isfile):
        raise ArtefactError(path, "which does not exist or is not a file")
    manifest = _of_kind(path, read_manifest(manifest_path(path)), kind)
    return _described(path, _holding(path, manifest))


def load_folder(folder: pathlib.Path, kind: str) -> Artefact:
    """As `load_artefact`, of a format whose reader opens a folder: it must hold what its manifest lists, and no more.

    Raises:
        ArtefactError: no manifest, a manifest of something else, or a file that has changed, come or gone since export.
    """
    manifest = _of_kind(folder, read_manifest(folder / _IN_FOLDER), kind)
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    links = [name for name, path in found.items() if path.is_symlink()]
    wrong = {name for name, path in found.items() if path.is_file()} ^ {*manifest["files"], _IN_FOLDER}
    if links or wrong:
        named = shortened(sorted(links or wrong))
        raise ArtefactError(folder, f"whose files are not those that its {_IN_FOLDER} lists: {named}")
    for name, expected in manifest["files"].items():
        _check_content(found[name], expected)
    return _described(folder, manifest)


def file_record(path: pathlib.Path) -> dict[str, Any]:
    """What a manifest says of a file: `{"bytes", "sha256"}`."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _described(path: pathlib.Path, manifest: dict[str, Any]) -> Artefact:
    try:
        conditions = manifest["sampler"].get("conditions", {})
        if not isinstance(conditions, dict) or len(conditions) > _MAX_CONDITIONS:
            raise ValueError(f"`conditions`: expected at most {_MAX_CONDITIONS} by name")
        artefact = Artefact(
            path,
            manifest,
            inputs=shapes_of("inputs", manifest["inputs"]),
            outputs=shapes_of("outputs", manifest["outputs"]),
            spec=ModelSpec.from_config(manifest["sampler"]),
        )
        spec = artefact.spec
        tensors, pixels = (artefact.inputs, artefact.outputs), isinstance(spec.codec, Autoencoder)
        check_tensors(manifest["kind"], *tensors, spec.latent, spec.conditions, pixels)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        reason = f"whose signature or sampler cannot be read ({type(error).__name__}: {str(error)[:1000]})"
        raise ArtefactError(manifest_path(path), reason) from error
    return artefact


def _of_kind(path: pathlib.Path, manifest: dict[str, Any], kind: str) -> dict[str, Any]:
    if manifest["kind"] != kind:
        raise ArtefactError(path, f"which is a {shortened(manifest['kind'])}; this runtime runs {kind!r}")
    return manifest


def _holding(path: pathlib.Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """`manifest`, or the one it replaces where an export was killed just before the new model file took its name."""
    if path.name not in manifest["files"]:
        raise ArtefactError(path, f"which its manifest does not list: {shortened(sorted(manifest['files']))}")
    try:
        for name, expected in manifest["files"].items():
            _check_file(path, name, expected)
    except ArtefactError:
        if manifest.get("replaces"):
            return _holding(path, _of_kind(path, manifest["replaces"], manifest["kind"]))
        raise
    return {name: value for name, value in manifest.items() if name != "replaces"}


def _check_file(path: pathlib.Path, name: str, expected: dict[str, Any]) -> None:
    """Raise unless the file `name` of the model at `path` lies beside it and has not changed."""
    if "/" in name:
        raise ArtefactError(manifest_path(path), f"which lists {name!r}; expected the names of files beside it")
    file = path.with_name(name)
    if not file.is_file():
        raise ArtefactError(file, "which does not exist or is not a file")
    if file != path and (file.is_symlink() or file.stat().st_nlink > 1):  # Data of a model, reached by another name.
        raise ArtefactError(file, "which is a link; expected a file of its own")
    _check_content(file, expected)


def _check_content(file: pathlib.Path, expected: dict[str, Any]) -> None:
    """Raise where the file's size is another; only then is all of it read."""
    size = file.stat().st_size
    found = file_record(file) if size == expected["bytes"] else {"bytes": size}
    if found != expected:
        raise ArtefactError(file, f"which has changed since export: expected {shortened(expected)}, found {found}")
