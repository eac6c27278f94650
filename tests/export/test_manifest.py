"""Writing an artefact: whole or not at all, whenever the writer dies."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import kvdiff
from kvdiff.export import manifest
from kvdiff.export.manifest import staging, staging_version, write_manifest
from kvdiff.runtime.manifest import ArtefactError, load_artefact, load_folder, manifest_path
from tests.export.writer import FILE, KIND, SAMPLER, write, write_version

ROOT = Path(kvdiff.__file__).parents[1]


def write_and_die(folder: Path, renames: int, *how: str) -> None:
    """Write b"new" in another process, killed after so many renames."""
    command = [sys.executable, "-m", "tests.export.writer", str(folder), str(renames), *how]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL


def payload_of(folder: Path) -> bytes:
    return load_artefact(folder, KIND, FILE).path.read_bytes()


@pytest.mark.parametrize(("renames", "left"), [(0, b"old"), (1, b"old"), (2, b"new")])
def test_a_reader_finds_one_whole_artefact_after_a_kill(tmp_path: Path, renames: int, left: bytes) -> None:
    folder = tmp_path / "run"
    write(folder, b"old")
    before = manifest_path(folder / FILE).read_bytes()
    write_and_die(folder, renames)
    assert payload_of(folder) == left
    if renames == 0:
        assert manifest_path(folder / FILE).read_bytes() == before
    write(folder, b"newest")
    assert payload_of(folder) == b"newest"
    assert "replaces" not in json.loads(manifest_path(folder / FILE).read_text())


def test_an_unfinished_first_artefact_is_refused(tmp_path: Path) -> None:
    write_and_die(tmp_path, 1)
    assert (tmp_path / FILE).read_bytes() == b"new"
    with pytest.raises(ArtefactError, match="manifest.json, which is missing"):
        payload_of(tmp_path)


def test_an_error_takes_back_new_folders_but_no_others(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()

    def fail_half_way() -> None:
        with staging(tmp_path / "old" / "new" / "newer", KIND, FILE, overwrite=False) as stage:
            (stage / FILE).write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]


def test_a_damaged_artefact_can_be_replaced(tmp_path: Path) -> None:
    write(tmp_path, b"old")
    manifest_path(tmp_path / FILE).write_text("not JSON")
    write(tmp_path, b"new")
    assert payload_of(tmp_path) == b"new"


def test_manifest_lists_size_and_digest(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"abc")
    write_manifest(tmp_path / FILE, KIND)
    record = json.loads(manifest_path(tmp_path / FILE).read_text())["files"][FILE]
    # The digest of "abc": FIPS 180-2, appendix B.1.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert record == {"bytes": 3, "sha256": digest}


def write_with_data(folder: Path, payload: bytes, data: bytes) -> None:
    """Write an artefact that keeps its weights in a second file, as large models do."""
    name = f"{FILE}.{data.decode()}.data"
    with staging(folder, KIND, FILE, overwrite=True) as stage:
        (stage / FILE).write_bytes(payload)
        (stage / name).write_bytes(data)
        sections = dict(inputs={}, outputs={}, sampler=SAMPLER, versions={}, parity={})
        write_manifest(stage / FILE, KIND, [FILE, name], **sections)


def test_data_files_come_and_go_with_their_model(tmp_path: Path) -> None:
    write_with_data(tmp_path, b"old", b"1")
    assert payload_of(tmp_path) == b"old"
    write_with_data(tmp_path, b"new", b"2")
    assert payload_of(tmp_path) == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, f"{FILE}.2.data", f"{FILE}.manifest.json"]


def test_other_artefacts_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other.bin").write_bytes(b"other")
    write_manifest(tmp_path / "other.bin", KIND)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write(tmp_path, b"first")
    write(tmp_path, b"second")
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


# Versions: folders named by a number, for servers.


def versions_in(folder: Path) -> dict[str, bytes]:
    """The payload of each version that a server would find, its files held to its manifest."""
    found = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return {entry.name: (load_folder(entry, KIND).path / "data" / FILE).read_bytes() for entry in found}


def test_versions_count_upwards_and_replace_only_when_told(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    write_version(tmp_path, b"one")
    assert versions_in(tmp_path) == {"8": b"one"}
    with staging_version(tmp_path, 3, overwrite=False) as (stage, target):
        (stage / "file").write_bytes(b"three")
        assert not target.exists() and stage.stat().st_mode == tmp_path.joinpath("8").stat().st_mode
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["3", "8"]
    with (
        pytest.raises(FileExistsError, match=r"Received: 8; .* holds \[3, 8\]"),
        staging_version(tmp_path, 8, overwrite=True),
    ):
        pass


@pytest.mark.parametrize(("renames", "left"), [(0, {"1": b"old"}), (1, {"1": b"old", "2": b"new"})])
def test_a_server_finds_whole_versions_after_a_kill(tmp_path: Path, renames: int, left: dict[str, bytes]) -> None:
    write_version(tmp_path, b"old")
    write_and_die(tmp_path, renames, "version")
    assert versions_in(tmp_path) == left
    write_version(tmp_path, b"newest")
    assert versions_in(tmp_path) == {str(len(left) + 1): b"newest"}


def test_an_error_leaves_the_versions_as_they_were(tmp_path: Path) -> None:
    write_version(tmp_path, b"old")

    def fail_half_way() -> None:
        with staging_version(tmp_path, None, overwrite=True) as (stage, _):
            (stage / FILE).write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"] and versions_in(tmp_path) == {"1": b"old"}


def test_windows_syncs_only_what_a_descriptor_may_write_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fcntl = pytest.importorskip("fcntl")

    def fsync_of_windows(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(manifest, "_ON_WINDOWS", True)
    monkeypatch.setattr(os, "fsync", fsync_of_windows)
    write(tmp_path / "run", b"old")
    write(tmp_path / "run", b"new")
    assert payload_of(tmp_path / "run") == b"new"
