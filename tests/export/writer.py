"""Writes an artefact and dies in front of its n-th rename: `python -m tests.export.writer FOLDER N [version]`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from kvdiff.export.manifest import staging, staging_version, write_manifest

KIND, FILE = "test", "model.bin"
SAMPLER = {"clip": dict(num_frames=4, height=8, width=8, channels=1), "schedule": {"name": "cosine"}, "prediction": {}}


def write(folder: Path, payload: bytes) -> None:
    """Write an artefact whose model file is `payload`, over one that is there."""
    with staging(folder, KIND, FILE, overwrite=True) as stage:
        (stage / FILE).write_bytes(payload)
        write_manifest(stage / FILE, KIND, inputs={}, outputs={}, sampler=SAMPLER, versions={}, parity={})


def write_version(folder: Path, payload: bytes) -> None:
    """Write another version, whose only file is `payload`, and remove those that are there."""
    with staging_version(folder, None, overwrite=True) as (stage, _):
        (stage / "data").mkdir()
        (stage / "data" / FILE).write_bytes(payload)
        write_manifest(stage, KIND, [f"data/{FILE}"], inputs={}, outputs={}, sampler=SAMPLER, versions={}, parity={})


def die_before_rename(count: int) -> None:
    """From now on, `os.replace` works `count` times and then kills the process."""
    rename, done = os.replace, []

    def replace(*arguments: Any) -> None:
        if len(done) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(arguments)
        rename(*arguments)

    os.replace = replace


if __name__ == "__main__":
    die_before_rename(int(sys.argv[2]))
    (write_version if sys.argv[3:] else write)(Path(sys.argv[1]), b"new")
