"""Writing an artefact: whole or not at all, whenever the writer dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import kvdiff
from kvdiff.export.manifest import staging, write_manifest
from kvdiff.runtime.manifest import ArtefactError, load_artefact

ROOT = Path(kvdiff.__file__).parents[1]

# `write(directory, payload)` writes an artefact; run with an argument it kills itself in front of that rename.
WRITE = '''
import os, pathlib, signal, sys
from kvdiff.export.manifest import staging, write_manifest

SAMPLER = {"clip": dict(num_frames=4, height=8, width=8, channels=1), "schedule": {"name": "cosine"}, "prediction": {}}

def write(directory, payload):
    with staging(pathlib.Path(directory), "test", "model.bin", overwrite=True) as stage:
        (stage / "model.bin").write_bytes(payload)
        write_manifest(stage, "test", ["model.bin"], inputs={}, outputs={}, sampler=SAMPLER, versions={}, parity={})
'''
KILL = '''
count = int(sys.argv[2])
rename = os.replace
def counted(source, target):
    global count
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    count -= 1
    rename(source, target)
os.replace = counted
write(sys.argv[1], b"new")
'''


def write(directory: Path, payload: bytes) -> None:
    scope: dict[str, object] = {}
    exec(WRITE, scope)
    scope["write"](directory, payload)


def payload_of(directory: Path) -> bytes:
    return load_artefact(directory, "test", "model.bin").path.read_bytes()


@pytest.mark.parametrize(("renames", "left"), [(0, b"old"), (1, b"old"), (2, b"new")])
def test_a_reader_finds_one_whole_artefact_after_a_kill(tmp_path: Path, renames: int, left: bytes) -> None:
    directory = tmp_path / "run"
    write(directory, b"old")
    before = (directory / "manifest.json").read_bytes()
    arguments = [sys.executable, "-c", WRITE + KILL, str(directory), str(renames)]
    done = subprocess.run(arguments, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert payload_of(directory) == left
    if renames == 0:
        assert (directory / "manifest.json").read_bytes() == before
    write(directory, b"newest")
    assert payload_of(directory) == b"newest"
    assert "replaces" not in json.loads((directory / "manifest.json").read_text())


def test_an_unfinished_first_artefact_is_refused(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", WRITE + KILL, str(tmp_path), "1"]
    subprocess.run(arguments, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert (tmp_path / "model.bin").read_bytes() == b"new"
    with pytest.raises(ArtefactError, match="manifest.json, which is missing"):
        payload_of(tmp_path)


def test_an_error_takes_back_new_folders_but_no_others(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with (
        pytest.raises(ZeroDivisionError),
        staging(tmp_path / "old" / "new" / "newer", "test", "model.bin", overwrite=False) as stage,
    ):
        (stage / "model.bin").write_bytes(b"half")
        raise ZeroDivisionError
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]


def test_a_damaged_artefact_can_be_replaced(tmp_path: Path) -> None:
    write(tmp_path, b"old")
    (tmp_path / "manifest.json").write_text("not JSON")
    write(tmp_path, b"new")
    assert payload_of(tmp_path) == b"new"


def test_manifest_lists_size_and_digest(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"abc")
    write_manifest(tmp_path, "test", ["model.bin"])
    record = json.loads((tmp_path / "manifest.json").read_text())["files"]["model.bin"]
    # The digest of "abc": FIPS 180-2, appendix B.1.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert record == {"bytes": 3, "sha256": digest}
