import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from kvdiff.cli.workers import run_workers, worker_environments
from tests.training.devices import ROOT

# A worker writes its number, then ends as the word before says.
WORKER = """
import json, os, pathlib, sys, time
number = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
pathlib.Path(f"{number}.{os.getpid()}").touch()
if sys.argv[1] == "fail" and number == 1:
    sys.exit(7)
if sys.argv[1] != "end":
    time.sleep(60)
"""


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("_here")
def test_every_worker_runs_and_0_is_returned(tmp_path):
    assert run_workers([sys.executable, "-c", WORKER, "end"], 3) == 0
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["0", "1", "2"]


@pytest.mark.usefixtures("_here")
def test_one_that_fails_ends_the_others(tmp_path, capsys):
    started = time.monotonic()
    assert run_workers([sys.executable, "-c", WORKER, "fail"], 2) == 7
    assert time.monotonic() - started < 30
    assert "worker 1 ended with exit code 7" in capsys.readouterr().err
    assert not any(is_running(int(path.suffix[1:])) for path in tmp_path.iterdir())


def test_the_workers_end_with_their_launcher(tmp_path):
    command = [sys.executable, "-c", WORKER, "wait"]
    launcher = f"from kvdiff.cli.workers import run_workers; run_workers({command}, 2)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", launcher], cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    pids = [int(path.suffix[1:]) for path in tmp_path.iterdir()]
    assert len(pids) == 2 and not any(map(is_running, pids))


def test_cores_and_gpus_are_shared_out(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,5")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    first, second = worker_environments(2)
    assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("0,5", "2")
    assert int(first["TF_NUM_INTRAOP_THREADS"]) == max(1, os.cpu_count() // 2)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert worker_environments(2)[0]["TF_NUM_INTRAOP_THREADS"] == "3"


@pytest.mark.slow
def test_two_workers_train_on_the_command_line(tmp_path):
    """And go on, from the same command: the second run finds the first one's checkpoint."""
    clip = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    np.save(tmp_path / "clip.npy", clip)
    command = [sys.executable, "-c", "from kvdiff.cli import main; main()", "train", "clip.npy", "-o", "run"]
    command += ["--frames=3", "--size=8", "--channels=1", "--width=24", "--batch-size=4", "--workers=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*more):
        options = dict(cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
        return subprocess.run([*command, *more], **options)

    first = run("--epochs", "1")
    assert first.returncode == 0, first.stderr[-3000:]
    assert first.stdout.count("18 windows of 3 frames") == 1  # One worker speaks.
    second = run("--epochs", "2", "--resume")
    assert second.returncode == 0, second.stderr[-3000:]
    assert "Going on after step 4 of 8" in second.stdout
    assert (tmp_path / "run" / "model.keras").is_file()
    rows = (tmp_path / "run" / "training" / "metrics.csv").read_text().splitlines()[1:]
    assert [row.split(",")[:2] for row in rows] == [["1", "4"], ["2", "8"]]
