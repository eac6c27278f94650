"""Writing an exported model so that a reader finds the old one or the new one, whole, whenever the writer is killed."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import kvdiff
from kvdiff.runtime.manifest import FORMAT, FORMAT_VERSION, MANIFEST, ArtefactError, file_record, load_artefact, sealed

__all__ = ["staging", "versions", "write_manifest"]


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of Python, kvdiff and the named distributions: what made an artefact."""
    made_with = {"python": platform.python_version(), "kvdiff": kvdiff.__version__}
    return made_with | {name: metadata.version(name) for name in packages}


def write_manifest(folder: pathlib.Path, kind: str, files: Sequence[str], **sections: Any) -> None:
    """Write `manifest.json` for the `files` in `folder`; `sections` are those of `kvdiff.runtime.manifest`."""
    records = {name: file_record(folder / name) for name in files}
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, "files": records, **sections}
    _write_sealed(folder / MANIFEST, content)


@contextlib.contextmanager
def staging(directory: pathlib.Path, kind: str, name: str, *, overwrite: bool) -> Iterator[pathlib.Path]:
    """A hidden folder inside `directory` to write model file `name` and its manifest into.

    When the block ends well, both are moved to `directory`; when it raises, `directory` is as it was. A process killed
    inside the block leaves the old artefact untouched and a folder `.export-…`, which may be deleted.

    Raises:
        FileExistsError: `directory` holds an artefact and `overwrite` is False.
        OSError: `directory` cannot be made or written to.
    """
    taken = [file for file in (name, MANIFEST) if (directory / file).exists()]
    if taken and not overwrite:
        raise FileExistsError(
            f"`directory`: expected one without {name} and {MANIFEST}, or `overwrite=True` to replace them. "
            f"Received: {directory}, which holds {' and '.join(taken)}"
        )
    with _new_folders(directory):
        try:
            stage = pathlib.Path(tempfile.mkdtemp(prefix=".export-", dir=directory))
        except OSError as error:
            raise _unwritable(directory, error) from error
        try:
            yield stage
            _publish(stage, directory, kind, name)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


@contextlib.contextmanager
def _new_folders(directory: pathlib.Path) -> Iterator[None]:
    """Make `directory` and its parents; take back those that were made here when the block raises."""
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # Someone else has put a file there meanwhile.
            for folder in made:
                folder.rmdir()
        raise


def _unwritable(directory: pathlib.Path, error: OSError) -> OSError:
    return OSError(f"`directory`: expected a directory that can be written to. Received: {directory}, {error.strerror}")


def _publish(stage: pathlib.Path, directory: pathlib.Path, kind: str, name: str) -> None:
    """Move the model file and its manifest from `stage` to `directory`.

    Two renames are not one. Where an artefact is replaced, a manifest that describes both goes first, so that a reader
    accepts the old model file before the second rename and the new one after it.
    """
    _sync(stage / name)
    _sync(stage / MANIFEST)
    old = _readable(directory, kind, name)
    if old is not None:
        new = json.loads((stage / MANIFEST).read_text("utf-8"))
        _write_sealed(stage / "both.json", {**new, "replaces": old})
        _sync(stage / "both.json")
        _move(stage / "both.json", directory / MANIFEST)
    _move(stage / name, directory / name)
    _move(stage / MANIFEST, directory / MANIFEST)


def _readable(directory: pathlib.Path, kind: str, name: str) -> Mapping[str, Any] | None:
    """The manifest of the artefact in `directory`, where a reader would accept it."""
    try:
        return load_artefact(directory / name, kind, name).manifest
    except ArtefactError:
        return None


def _write_sealed(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(sealed(content), indent=2) + "\n", "utf-8")


def _move(source: pathlib.Path, target: pathlib.Path) -> None:
    os.replace(source, target)
    _sync(target.parent)


def _sync(path: pathlib.Path) -> None:
    """Wait until a file, or a directory's list of names, is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a directory.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
