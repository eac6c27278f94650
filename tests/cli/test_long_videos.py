"""`kvdiff rollout` writes a long video as it comes: after a kill or Ctrl-C --resume goes on, to the same file."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import tracemalloc
import types

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("av")

import kvdiff
from kvdiff import diffusion, media
from kvdiff.cli import long_videos
from kvdiff.diffusion import Log1p
from tests.test_cli import call, refused

PAST = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
FRAMES, HOW = 24, ("--num-steps", 2, "--seed", 5, "--fps", 8)


def denoise(noisy_clip, noise_label, inputs):
    """Mixes frames, a little."""
    return (0.5 * noisy_clip + 0.3 * np.tanh(noisy_clip.mean(axis=1, keepdims=True))).astype(np.float32)


def sampler(network=denoise, size=(8, 8, 1), **of):
    spec = diffusion.ModelSpec(
        diffusion.ClipSpec(6, *size), diffusion.schedules.cosine(50), diffusion.Prediction(), **of
    )
    return diffusion.Sampler(spec, diffusion.DenoiserEngine(network))


@pytest.fixture(autouse=True)
def _run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("kvdiff.cli.sampling.open_run", lambda *_: sampler())
    media.write_clip("past.gif", PAST)


def rollout(output, *options, frames=FRAMES, code=0):
    return call("rollout", "run", "past.gif", "--num-frames", frames, "-o", output, *HOW, *options, code=code).output


@pytest.mark.parametrize("name", ["a.npy", "a.mp4", "a.webm", "a.gif"])
@pytest.mark.parametrize("options", [(), ("--scale", 2, "--members", 3), ("--at-a-time", 1)])
def test_the_file_is_that_of_the_whole_video(name, options):
    output = rollout(name, *options)
    assert f"of {FRAMES} frames (3 known, {FRAMES - 3} generated)" in output
    how = dict(num_steps=2, seed=5, **({"at_a_time": 1} if "--at-a-time" in options else {}))
    how |= {"num_members": 3} if "--members" in options else {}
    video = sampler().rollout(FRAMES, PAST[None, -3:], **how)
    scale = 2 if "--scale" in options else 1
    media.write_clips(f"b{name[1:]}", video, scale=scale)
    assert pathlib.Path(name).read_bytes() == pathlib.Path(f"b{name[1:]}").read_bytes()
    assert sorted(path.name for path in pathlib.Path().iterdir()) == [name, f"b{name[1:]}", "past.gif"]


def test_numbers_with_units_are_kept_as_they_are_and_shown_in_colours(monkeypatch):
    made = sampler(values=Log1p(0.0, 60.0))
    monkeypatch.setattr("kvdiff.cli.sampling.open_run", lambda *_: made)
    call("rollout", "run", "--num-frames", 12, "-o", "rain.npy", *HOW)
    np.testing.assert_array_equal(np.load("rain.npy"), made.rollout(12, num_steps=2, seed=5))
    call("rollout", "run", "--num-frames", 12, "-o", "rain.mp4", *HOW)
    assert media.read_clip("rain.mp4").shape == (12, 8, 8, 3)


@pytest.mark.slow
def test_a_long_video_takes_the_memory_of_a_short_one(monkeypatch):
    made = sampler(lambda noisy_clip, noise_label, inputs: 0.5 * noisy_clip, (64, 64, 1))
    monkeypatch.setattr("kvdiff.cli.sampling.open_run", lambda *_: made)
    peaks = []
    for frames in (60, 600):
        for name in ("a.npy", "a.mp4"):
            tracemalloc.start()
            call("rollout", "run", "--num-frames", frames, "-o", name, "--num-steps", 1, "--overwrite")
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    video = 600 * 64 * 64 * 4
    assert np.load("a.npy", mmap_mode="r").nbytes == video
    assert max(peaks[2:]) < max(peaks[:2]) + 0.1 * video, peaks


# Cut off, and gone on.

PROGRAM = """
import signal, sys, time
from kvdiff.cli import long_videos, sampling
from tests.cli.test_long_videos import denoise, sampler

signal.signal(signal.SIGINT, signal.default_int_handler)  # Ignored where the tests themselves run in the background.
pause = float(sys.argv.pop(1))

def slow(noisy_clip, noise_label, inputs):
    time.sleep(pause)
    return denoise(noisy_clip, noise_label, inputs)

sampling.open_run = lambda *_: sampler(slow)
long_videos._BETWEEN_STATES = 0.0
from kvdiff.cli import main
main()
"""


def started(name, *options, pause=0.03):
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(kvdiff.__file__).parents[1])}
    line = ["rollout", "run", "past.gif", "--num-frames", FRAMES, "-o", name, "--at-a-time", 1, *HOW, *options]
    command = [sys.executable, "-c", PROGRAM, str(pause), *map(str, line)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kept(name):
    """How many frames there are, by the state."""
    try:
        with np.load(pathlib.Path(f"{name}.unfinished") / "state.npz") as state:
            return int(state["frame"])
    except FileNotFoundError:
        return 0


def wait_for(process, name, frames):
    while process.poll() is None and kept(name) < frames:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()


@pytest.mark.parametrize("name", ["a.npy", "a.mp4"])
def test_killed_twice_it_goes_on_to_the_same_file(name):
    process = started(name)
    wait_for(process, name, 6)
    process.kill()
    process.communicate()
    first = kept(name)
    assert not pathlib.Path(name).exists() and first >= 6
    process = started(name, "--resume")
    wait_for(process, name, 14)
    process.kill()
    process.communicate()
    assert kept(name) >= 14 > first
    said = rollout(name, "--at-a-time", 1, "--resume")
    assert re.search(rf"1[4-9] of {FRAMES} frames are there|2\d of {FRAMES} frames are there", said)
    rollout(f"whole{name[1:]}", "--at-a-time", 1)
    assert pathlib.Path(name).read_bytes() == pathlib.Path(f"whole{name[1:]}").read_bytes()
    assert not list(pathlib.Path().glob("*.unfinished"))


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on():
    process = started("a.npy")
    wait_for(process, "a.npy", 5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode not in (0, -signal.SIGINT)
    found = re.search(
        rf"(\d+) of {FRAMES} frames are kept in a.npy.unfinished. The same command with --resume goes on", said
    )
    assert found and int(found[1]) == kept("a.npy")
    rollout("a.npy", "--at-a-time", 1, "--resume")
    rollout("b.npy", "--at-a-time", 1)
    np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))


@pytest.fixture
def cut_off(monkeypatch):
    """A rollout that its network ended in its fourth window."""
    calls = 0

    def failing(noisy_clip, noise_label, inputs):
        nonlocal calls
        calls += 1
        if calls == 7:
            raise OSError("unplugged")
        return denoise(noisy_clip, noise_label, inputs)

    monkeypatch.setattr("kvdiff.cli.sampling.open_run", lambda *_: sampler(failing))
    said = rollout("a.npy", code=2)
    assert f"12 of {FRAMES} frames are kept in a.npy.unfinished. The same command with --resume goes on." in said
    assert "Error: unplugged" in said
    monkeypatch.setattr("kvdiff.cli.sampling.open_run", lambda *_: sampler())


@pytest.mark.usefixtures("cut_off")
def test_what_is_begun_is_not_lost_by_mistake(monkeypatch):
    before = {path.name: path.read_bytes() for path in pathlib.Path("a.npy.unfinished").iterdir()}
    line = ("rollout", "run", "past.gif", "--num-frames", FRAMES, "-o", "a.npy", *HOW)
    assert "pass --resume to go on or --overwrite to begin anew" in refused(*line)
    for options, other in (
        (("--seed", 6), "['seed']"),
        (("--num-frames", 25), "['num_frames']"),
        (("--num-steps", 3, "--overlap", 2), "['num_steps', 'overlap']"),
        (("--past", 2), "['past']"),
    ):
        said = call(*line, *options, "--resume", code=2).output
        assert f"--resume: expected the command that began a.npy.unfinished. Received: one with other {other}" in said
    monkeypatch.setattr("kvdiff.cli.sampling.open_run", lambda *_: sampler(lambda *call: 0.9 * denoise(*call)))
    assert "--resume: expected the model that began a.npy.unfinished" in call(*line, "--resume", code=2).output
    assert before == {path.name: path.read_bytes() for path in pathlib.Path("a.npy.unfinished").iterdir()}
    monkeypatch.setattr("kvdiff.cli.sampling.open_run", lambda *_: sampler())
    for options in (("--resume",), ("--overwrite",)):
        rollout("a.npy", *options)
        np.testing.assert_array_equal(np.load("a.npy"), sampler().rollout(FRAMES, PAST[None, -3:], num_steps=2, seed=5))
    assert "exists; pass --overwrite" in refused(*line, "--resume")


@pytest.mark.usefixtures("cut_off")
def test_the_frames_that_are_there_are_not_generated_again(monkeypatch):
    calls = 0

    def counting(*call):
        nonlocal calls
        calls += 1
        return denoise(*call)

    monkeypatch.setattr("kvdiff.cli.sampling.open_run", lambda *_: sampler(counting))
    rollout("a.npy", "--resume", "--scale", 2)  # How it is written may differ.
    assert calls == 2 * (1 + 4)  # The first window, to see that it is the same model, and those that are missing.
    assert np.load("a.npy").shape == (1, FRAMES, 16, 16, 1)


def test_an_interruption_while_the_file_is_made_keeps_the_frames(monkeypatch):
    def full(*_, **__):
        raise OSError("no space left on the disk")

    writing = media.write_frames
    monkeypatch.setattr("kvdiff.media.write_frames", full)
    assert f"{FRAMES} of {FRAMES} frames are kept in a.mp4.unfinished" in rollout("a.mp4", code=2)
    monkeypatch.setattr("kvdiff.media.write_frames", writing)
    rollout("a.mp4", "--resume")
    assert len(media.read_clip("a.mp4")) == FRAMES


def test_what_fails_before_the_first_frame_leaves_nothing(monkeypatch):
    def failing(*call):
        raise OSError("unplugged")

    monkeypatch.setattr("kvdiff.cli.sampling.open_run", lambda *_: sampler(failing))
    assert "--resume" not in rollout("a.npy", code=2)
    assert [path.name for path in pathlib.Path().iterdir()] == ["past.gif"]
    monkeypatch.setattr(long_videos.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1000))
    assert "expected room for 6144 bytes of frames on the disk. Received: 1000" in rollout("a.npy", code=2)
    assert [path.name for path in pathlib.Path().iterdir()] == ["past.gif"]


def test_with_nothing_to_go_on_from_it_begins():
    rollout("a.npy", "--resume")
    pathlib.Path("b.npy.unfinished").mkdir()  # Killed before the first state.
    rollout("b.npy", "--resume")
    np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))
