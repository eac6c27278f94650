"""Writing an artefact: whole or not at all, whenever the writer dies."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import kvdiff
from kvdiff.export.manifest import staging, write_manifest
from kvdiff.runtime.manifest import ArtefactError, load_artefact
from tests.export.writer import FILE, KIND, write

ROOT = Path(kvdiff.__file__).parents[1]


def write_and_die(folder: Path, renames: int) -> None:
    """Write b"new" in another process, killed after so many renames."""
    command = [sys.executable, "-m", "tests.export.writer", str(folder), str(renames)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL


def payload_of(folder: Path) -> bytes:
    return load_artefact(folder, KIND, FILE).path.read_bytes()


@pytest.mark.parametrize(("renames", "left"), [(0, b"old"), (1, b"old"), (2, b"new")])
def test_a_reader_finds_one_whole_artefact_after_a_kill(tmp_path: Path, renames: int, left: bytes) -> None:
    folder = tmp_path / "run"
    write(folder, b"old")
    before = (folder / "manifest.json").read_bytes()
    write_and_die(folder, renames)
    assert payload_of(folder) == left
    if renames == 0:
        assert (folder / "manifest.json").read_bytes() == before
    write(folder, b"newest")
    assert payload_of(folder) == b"newest"
    assert "replaces" not in json.loads((folder / "manifest.json").read_text())


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
    (tmp_path / "manifest.json").write_text("not JSON")
    write(tmp_path, b"new")
    assert payload_of(tmp_path) == b"new"


def test_manifest_lists_size_and_digest(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"abc")
    write_manifest(tmp_path, KIND, [FILE])
    record = json.loads((tmp_path / "manifest.json").read_text())["files"][FILE]
    # The digest of "abc": FIPS 180-2, appendix B.1.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert record == {"bytes": 3, "sha256": digest}
