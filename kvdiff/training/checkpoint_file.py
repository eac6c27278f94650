"""One file with the state of a training: written whole or not at all, and read only where nothing in it has changed.

NumPy's .npz, so `numpy.load` opens it, with a member `manifest`: JSON with the SHA-256 of each array, and its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from kvdiff.media import flush
from kvdiff.runtime.manifest import SEAL, sealed

FORMAT = "kvdiff-training-checkpoint"
FORMAT_VERSION = 1
_MANIFEST = "manifest"


class DamagedCheckpointError(ValueError):
    """A file that is not, or no longer, the checkpoint that was written.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingState:
    """What the next training step depends on.

    Attributes:
        arrays: every variable by its name.
        facts: all else, JSON-able.
    """

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def write_checkpoint(path: pathlib.Path, state: TrainingState) -> None:
    """Write `state` to `path`, replacing what was there.

    A temporary file is written, flushed to the disk, read back and compared; then it takes the name, and the folder's
    list of names is flushed too. Whenever the process or the machine stops, `path` holds the old file or the new one.

    Raises:
        OSError: the file cannot be written, or does not read back as written. `path` is as it was.
    """
    manifest = _manifest(state)
    temporary = path.with_name(f".unfinished-{path.name}")
    try:
        with temporary.open("wb") as file:
            _write(file, state, manifest)
            file.flush()
            flush(file.fileno())
        if _read(temporary)[0][SEAL] != manifest[SEAL]:
            raise DamagedCheckpointError(temporary, "its manifest is another")
        os.replace(temporary, path)
    except DamagedCheckpointError as error:
        raise OSError(f"{path}: what was written reads back differently ({error.reason})") from error
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def read_checkpoint(path: str | os.PathLike[str]) -> TrainingState:
    """The state that `write_checkpoint` wrote.

    Raises:
        DamagedCheckpointError: cut off, changed, or something else altogether.
        FileNotFoundError: no such file.
    """
    manifest, arrays = _read(pathlib.Path(path))
    return TrainingState(arrays, manifest["facts"])


def sync_folder(folder: pathlib.Path) -> None:
    """Wait until a folder's list of names is on the disk, where the file system can."""
    if os.name == "nt":
        return  # Windows cannot open a folder.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # It may be written to and not read.
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)


def _read(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The verified manifest, and the arrays it names."""
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as members:
                manifest = _parsed(members[_MANIFEST])
                entries = manifest["arrays"].items()
                return manifest, {entry["name"]: _verified(members[key], entry) for key, entry in entries}
        except Exception as error:  # A damaged archive makes zipfile and NumPy raise almost anything.
            raise DamagedCheckpointError(path, f"{type(error).__name__}: {error}") from error


def _manifest(state: TrainingState) -> dict[str, Any]:
    arrays = {
        f"array{index:05d}": dict(
            name=name, sha256=_digest(array), dtype=np.asarray(array).dtype.name, shape=list(np.shape(array))
        )
        for index, (name, array) in enumerate(state.arrays.items())
    }
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "arrays": arrays, "facts": state.facts}
    return sealed(json.loads(json.dumps(content)))


def _write(file: BinaryIO, state: TrainingState, manifest: Mapping[str, Any]) -> None:
    members: dict[str, Any] = {_MANIFEST: np.frombuffer(json.dumps(manifest).encode(), np.uint8)}
    members |= {key: _storable(array) for key, array in zip(manifest["arrays"], state.arrays.values(), strict=True)}
    np.savez(file, **members)


def _parsed(text: np.ndarray) -> dict[str, Any]:
    manifest = json.loads(text.tobytes())
    manifest = manifest if isinstance(manifest, dict) else {}
    if manifest.get("format") != FORMAT or manifest.get("format_version") != FORMAT_VERSION:
        expected = f"{FORMAT} {FORMAT_VERSION}"
        raise ValueError(f"expected {expected}. Received: {manifest.get('format')} {manifest.get('format_version')}")
    if manifest != sealed(manifest):
        raise ValueError("its manifest has changed since it was written")
    if missing := [name for name in ("arrays", "facts") if not isinstance(manifest.get(name), dict)]:
        raise ValueError(f"expected the fields 'arrays' and 'facts'. Received: none, or no object, for {missing}")
    for key, entry in manifest["arrays"].items():
        if lacking := sorted({"name", "sha256", "dtype", "shape"} - set(entry)):
            raise ValueError(f"{key}: expected name, sha256, dtype and shape. Received: none for {lacking}")
    return manifest


def _verified(stored: np.ndarray, entry: Mapping[str, Any]) -> np.ndarray:
    """The array that a member holds, if it is the one that was written."""
    array = stored.view(np.dtype(entry["dtype"]))
    if list(array.shape) != entry["shape"] or _digest(array) != entry["sha256"]:
        raise ValueError(f"the array {entry['name']!r} has changed since it was written")
    return array


def _storable(array: np.ndarray) -> np.ndarray:
    """`array`, as integers of its width where .npy has no name for its type: bfloat16 and the 8-bit floats."""
    array = np.asarray(array)
    return array.view(f"u{array.dtype.itemsize}") if array.dtype.kind == "V" else array


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).hexdigest()
