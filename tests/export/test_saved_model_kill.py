"""An export to SavedModel that is killed at any moment leaves the versions before it untouched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import kvdiff
from kvdiff.runtime.manifest import load_folder
from kvdiff.runtime.saved_model import SAVED_MODEL

ROOT = Path(kvdiff.__file__).parents[1]
EXPORT = """
import sys, kvdiff
from kvdiff.export import export_saved_model
export_saved_model(kvdiff.load_model(sys.argv[1]), sys.argv[2], num_steps=2)
"""


@pytest.mark.slow
def test_kill_at_twenty_moments(trivial: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    """From the first file in sight to the end, which three to four seconds later most kills come before."""
    model, base = tmp_path / "model.keras", tmp_path / "clips"
    trivial.save(model)
    command = [sys.executable, "-c", EXPORT, str(model), str(base)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    before = contents(base / "1")
    killed = 0
    for moment in range(20):
        seen = set(base.glob(".export-*"))
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None and set(base.glob(".export-*")) == seen:
                time.sleep(0.01)
            time.sleep(0.15 * moment)
            process.send_signal(signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
        assert contents(base / "1") == before
        for version in base.glob("[0-9]*"):
            load_folder(version, SAVED_MODEL.kind)
    assert killed >= 10


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
