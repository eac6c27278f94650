"""A manifest as it lies on the disk: JSON with a seal, whose size, depth, numbers and names are bounded before use."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

FORMAT = "kvdiff-artefact"
FORMAT_VERSION = 1
SEAL = "manifest_sha256"

_MAX_MANIFEST_BYTES = 4 * 2**20  # A manifest is a few kB; anything near this is something else.
_MAX_DEPTH = 24  # Of dicts and lists in each other.
_MAX_FILES = 4096
_MAX_NAME = 255  # Bytes; what file systems allow.
_MAX_FILE_BYTES = 2**38
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


def shortened(value: Any) -> str:
    """How a message quotes what a file says, which may be very long."""
    return _QUOTES.repr(value)


def canonical_json(value: Any) -> str:
    """One text for equal values: what a model file carries of its sampler, compared with the manifest's."""
    return json.dumps(value, sort_keys=True)


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """`content` with the digest of its other entries, which tells any later change."""
    others = {name: value for name, value in content.items() if name != SEAL}
    return {**others, SEAL: hashlib.sha256(canonical_json(others).encode()).hexdigest()}


def is_a(path: pathlib.Path, kind: Callable[[pathlib.Path], bool]) -> bool:
    """Whether something of this kind is at `path`, which may be no path that a file system takes."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


def read_manifest(path: pathlib.Path) -> dict[str, Any]:
    """The content of a manifest, its sections and files checked.

    Raises:
        ArtefactError: no manifest, a damaged one, or one that says what no export says.
    """
    if not is_a(path, os.path.isfile):
        raise ArtefactError(path, "which is missing: keep it beside the model file")
    if path.stat().st_size > _MAX_MANIFEST_BYTES:
        raise ArtefactError(path, f"which is larger than any manifest ({_MAX_MANIFEST_BYTES} bytes)")
    try:
        content = json.loads(path.read_text("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(path, f"which is not JSON ({error})") from error
    if (depth := _depth(content)) > _MAX_DEPTH:
        raise ArtefactError(path, f"which is nested {depth} deep; no manifest is beyond {_MAX_DEPTH}")
    _check_sections(path, content)
    if content != sealed(content):
        raise ArtefactError(path, "which has changed since export")
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON's")


def _depth(content: Any) -> int:
    """How many dicts and lists are in each other at most."""
    level, depth = [content], 0
    while level := [value for value in level if isinstance(value, (dict, list))]:
        depth += 1
        level = [inner for value in level for inner in (value.values() if isinstance(value, dict) else value)]
    return depth


def _check_sections(path: pathlib.Path, content: Any, *, replaced: bool = False) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ArtefactError(path, f"which has no `format` of {FORMAT!r}")
    if content.get("format_version") != FORMAT_VERSION:
        version = shortened(content.get("format_version"))
        raise ArtefactError(path, f"whose format version is {version}; this kvdiff reads {FORMAT_VERSION}")
    for name, kind in _SECTIONS.items():
        if not isinstance(content.get(name), kind):
            raise ArtefactError(path, f"whose section `{name}` is missing or not a JSON {kind.__name__}")
    _check_files(path, content["files"])
    if content.get("replaces") is not None:
        if replaced:
            raise ArtefactError(path, "which replaces a manifest that replaces another")
        _check_sections(path, content["replaces"], replaced=True)


def _check_files(path: pathlib.Path, files: dict[str, Any]) -> None:
    """Every record must be what `file_record` makes, and every name one that this system's folders can have."""
    if len(files) > _MAX_FILES:
        raise ArtefactError(path, f"which lists {len(files)} files; no export has more than {_MAX_FILES}")
    for name, record in files.items():
        parts = name.split("/")
        plain = all(
            part not in ("", ".", "..") and part.isprintable() and part.strip() == part and part[-1] != "."
            for part in parts
        )
        if not plain or set(name) & set('\\:*?"<>|') or len(name.encode("utf-8", "replace")) > _MAX_NAME:
            raise ArtefactError(path, f"which lists {shortened(name)}; expected the names of files beside it")
        size, digest = (record.get("bytes"), record.get("sha256")) if isinstance(record, dict) else (None, None)
        if type(size) is not int or not 0 <= size <= _MAX_FILE_BYTES or not isinstance(digest, str):
            wanted = f"its `bytes`, from 0 to {_MAX_FILE_BYTES}, and `sha256`"
            raise ArtefactError(path, f"which says {shortened(record)} of {shortened(name)}; expected {wanted}")


_QUOTES = reprlib.Repr()
_QUOTES.maxstring = _QUOTES.maxother = 80
