"""Writing an exported model so that a reader finds the old one or the new one, whole, whenever the writer is killed."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kvdiff.diffusion.checks import check_count
from kvdiff.media import flush
from kvdiff.runtime.manifest import (
    FORMAT,
    FORMAT_VERSION,
    ArtefactError,
    file_record,
    load_artefact,
    manifest_path,
    sealed,
)
from kvdiff.runtime.saved_model import versions as version_folders

_ON_WINDOWS = os.name == "nt"


def write_manifest(artefact: pathlib.Path, kind: str, files: Sequence[str] | None = None, **sections: Any) -> None:
    """Write the manifest of an artefact.

    Args:
        artefact: the model file, or a folder that is the artefact as a whole.
        kind: what it is, for the runtime that is to run it.
        files: their names, relative to the artefact's folder; by default the model file alone.
        **sections: those of `kvdiff.runtime.manifest`.
    """
    folder = artefact if artefact.is_dir() else artefact.parent
    records = {name: file_record(folder / name) for name in files or [artefact.name]}
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, "files": records, **sections}
    _write_sealed(manifest_path(artefact), content)


@contextlib.contextmanager
def staging(directory: pathlib.Path, kind: str, name: str, *, overwrite: bool) -> Iterator[pathlib.Path]:
    """A hidden folder inside `directory` to write model file `name`, its data and its manifest into.

    When the block ends well, all are moved to `directory`, whose other artefacts are left alone; when it raises,
    `directory` is as it was. A process killed inside the block leaves the old artefact untouched and a folder
    `.export-…`, which may be deleted.

    Raises:
        FileExistsError: `directory` holds an artefact of that name and `overwrite` is False.
        OSError: `directory` cannot be created or written to.
    """
    target = directory / name
    taken = [path.name for path in (target, manifest_path(target)) if path.exists()]
    if taken and not overwrite:
        raise FileExistsError(
            f"`directory`: expected one without {name}, or `overwrite=True` to replace it. "
            f"Received: {directory}, which holds {' and '.join(taken)}"
        )
    with _new_folders(directory), _hidden(directory) as stage:
        yield stage
        _publish(stage / name, target, kind)


@contextlib.contextmanager
def staging_version(
    directory: pathlib.Path, version: int | None, *, overwrite: bool
) -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """(stage, target): a folder hidden inside `directory` to write a version into, and the name that it will have.

    When the block ends well, the folder takes its name in one rename; when it raises, `directory` is as it was. A
    process killed inside the block leaves the other versions untouched and a folder `.export-…`, which may be deleted.

    Args:
        directory: the folder of all versions, which are folders named by their number.
        version: the number; by default the highest there is, plus 1.
        overwrite: remove the other versions afterwards.

    Raises:
        FileExistsError: the version is there already.
        OSError: `directory` cannot be created or written to.
    """
    others = version_folders(directory)
    version = max(others, default=0) + 1 if version is None else check_count("version", version)
    if version in others:
        raise FileExistsError(
            "`version`: expected a number that is not taken, for a version never changes. "
            f"Received: {version}; {directory} holds {sorted(others)}"
        )
    with _new_folders(directory), _hidden(directory) as hidden:
        stage, target = hidden / "new", directory / str(version)
        stage.mkdir()  # With the permissions that new folders have here; `hidden` is the writer's alone.
        yield stage, target
        for path in (*stage.rglob("*"), stage):
            _sync(path)
        _move(stage, target)
        if overwrite:
            for number, folder in others.items():
                os.replace(folder, hidden / str(number))  # Out of sight, then deleted: nobody sees half of one.


@contextlib.contextmanager
def staging_folder(directory: pathlib.Path, *, overwrite: bool) -> Iterator[pathlib.Path]:
    """A folder to write a whole artefact into, which takes the name `directory` when the block ends well.

    When it raises, all is as it was. A process killed inside the block leaves an older folder untouched and a folder
    `.export-…` beside it, which may be deleted.

    Raises:
        FileExistsError: there is a folder or file of that name and `overwrite` is False; or one that is no export.
        OSError: it cannot be created or written to.
    """
    if directory.exists() and not (overwrite and manifest_path(directory).is_file()):
        wanted = "an export, which `overwrite=True` replaces" if overwrite else "no such folder, or `overwrite=True`"
        raise FileExistsError(f"`directory`: expected {wanted}. Received: {directory}, which exists")
    with _new_folders(directory.parent), _hidden(directory.parent) as hidden:
        stage = hidden / "new"
        stage.mkdir()
        yield stage
        for path in (*stage.rglob("*"), stage):
            _sync(path)
        if directory.exists():
            os.replace(directory, hidden / "old")
        _move(stage, directory)


@contextlib.contextmanager
def _hidden(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder inside `directory` that is deleted in the end."""
    try:
        folder = pathlib.Path(tempfile.mkdtemp(prefix=".export-", dir=directory))
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _new_folders(directory: pathlib.Path) -> Iterator[None]:
    """Make `directory` and its parents; take back those that were created here when the block raises."""
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


def _publish(made: pathlib.Path, target: pathlib.Path, kind: str) -> None:
    """Move the model file, its data files and its manifest to where `target` is or will be.

    Several renames are not one. Data files go first, under names that no older artefact has (they carry a digest);
    where a model file is replaced, a manifest that describes both goes before it, so that a reader accepts the old
    model file before its rename and the new one after it.
    """
    new, old = json.loads(manifest_path(made).read_text("utf-8")), _readable(target, kind)
    data = set(new["files"]) - {made.name}
    for path in (*(made.with_name(name) for name in data), made, manifest_path(made)):
        _sync(path)
    for name in data:
        _move(made.with_name(name), target.with_name(name))
    if old is not None:
        both = made.with_name("both.json")
        _write_sealed(both, {**new, "replaces": old})
        _sync(both)
        _move(both, manifest_path(target))
    _move(made, target)
    _move(manifest_path(made), manifest_path(target))
    for name in set(old["files"] if old else ()) - set(new["files"]):
        target.with_name(name).unlink(missing_ok=True)


def _readable(path: pathlib.Path, kind: str) -> Mapping[str, Any] | None:
    """The manifest of the artefact at `path`, where a reader would accept it."""
    try:
        return load_artefact(path, kind, path.name).manifest
    except ArtefactError:
        return None


def _write_sealed(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(sealed(content), indent=2) + "\n", "utf-8")


def _move(source: pathlib.Path, target: pathlib.Path) -> None:
    os.replace(source, target)
    _sync(target.parent)


def _sync(path: pathlib.Path) -> None:
    """Wait until a file, or a directory's list of names, is on the disk."""
    if _ON_WINDOWS and path.is_dir():
        return  # Windows cannot open a directory,
    descriptor = os.open(path, os.O_RDWR if _ON_WINDOWS else os.O_RDONLY)  # and syncs only what it may write to.
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)
