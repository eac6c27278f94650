"""Worker processes that decode: what they give, and that they may die, hang or be left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from kvdiff import media
from kvdiff.media.decoding import Clip
from tests.media.conftest import descriptors, encoded, memory

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("reader") / "clip.mp4"
    path.write_bytes(encoded("h264.mp4", frames=20))
    return path


@pytest.fixture
def reader():
    with media.ClipReader(1, media.ReadLimits(seconds=2.0)) as reader:
        yield reader


def read(reader: media.ClipReader, path: Path, **options) -> Clip:
    return reader.read(media.ClipRequest(path=str(path), **options))


def worker_of(reader: media.ClipReader) -> int:
    (worker,) = reader._running
    return worker._process.pid


def test_a_worker_gives_what_this_process_would(reader, video):
    whole = media.read_clip(video)
    clip = read(reader, video)
    np.testing.assert_array_equal(clip.frames, whole)
    np.testing.assert_allclose(clip.times, np.arange(20) / 25)
    assert clip.facts == media.ClipFacts("mov,mp4,m4a,3gp,3g2,mj2", "h264", 64, 64, 0)
    np.testing.assert_array_equal(read(reader, video, wanted=(7, 3, 3)).frames, whole[[7, 3, 3]])
    counted = read(reader, video, wanted=())
    assert len(counted.frames) == 0 and len(counted.times) == 20
    small = read(reader, video, size=(8, 16), channels=1, max_frames=5).frames
    assert small.shape == (5, 8, 16, 1)


def test_a_relative_path_is_meant_from_where_the_program_is_now(reader, video, tmp_path, monkeypatch):
    """Workers stay where they started; a file of that name there would be read in place of the right one."""
    for name, value in (("before", 1), ("after", 2)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "clip.npy", np.full((2, 8, 8, 3), value, np.uint8))
    relative = Path("clip.npy")
    monkeypatch.chdir(tmp_path / "before")
    assert (read(reader, relative, root=".").frames == 1).all()
    monkeypatch.chdir(tmp_path / "after")
    assert (read(reader, relative, root=".").frames == 2).all()
    with pytest.raises(media.VideoError, match="^missing.npy: "):
        read(reader, Path("missing.npy"))


def test_a_frame_that_is_not_there_is_refused(reader, video):
    with pytest.raises(media.VideoError, match="20 frames, none with index 20"):
        read(reader, video, wanted=(20,))


def test_stretching_keeps_the_edges_and_cropping_does_not(reader, tmp_path):
    clip = np.zeros((2, 16, 32, 1), np.uint8)
    clip[:, :, 8:24] = 255
    path = media.write_clip(tmp_path / "clip.gif", clip)
    assert read(reader, path, size=(8, 8)).frames[:, 1:-1, 1:-1].min() > 250
    assert read(reader, path, size=(8, 8), crop=False).frames.min() < 5


def test_a_worker_that_hangs_is_killed(reader, video):
    read(reader, video)
    stuck = worker_of(reader)
    os.kill(stuck, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(media.VideoError, match="expected to be decoded in 2 s. Received: more"):
        read(reader, video)
    assert 2 <= time.monotonic() - start < 5
    assert len(read(reader, video).frames) == 20
    assert worker_of(reader) != stuck


def test_a_worker_that_dies_of_a_file_is_replaced(reader, video):
    read(reader, video)
    os.kill(worker_of(reader), signal.SIGSTOP)
    threading.Timer(0.3, os.kill, (worker_of(reader), signal.SIGSEGV)).start()
    threading.Timer(0.4, os.kill, (worker_of(reader), signal.SIGCONT)).start()
    with pytest.raises(media.VideoError, match=r"the decoder died of it \(signal 11\)"):
        read(reader, video)
    assert len(read(reader, video).frames) == 20


def test_a_worker_that_died_between_files_is_replaced_silently(reader, video):
    read(reader, video)
    os.kill(worker_of(reader), signal.SIGKILL)
    time.sleep(0.2)
    assert len(read(reader, video).frames) == 20


def test_an_interrupted_read_leaves_no_half_answer(reader, video, monkeypatch):
    read(reader, video)
    with monkeypatch.context() as patch:
        patch.setattr("kvdiff.media.reader._Worker._head", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            read(reader, video)
    assert read(reader, video, wanted=(3,)).frames.shape == (1, 64, 64, 3)


def test_many_threads_share_few_workers(video):
    whole = media.read_clip(video)
    results: dict[int, np.ndarray] = {}
    with media.ClipReader(2) as reader:
        threads = [
            threading.Thread(target=lambda i=i: results.update({i: read(reader, video, wanted=(i,)).frames[0]}))
            for i in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(reader._running) <= 2
    np.testing.assert_array_equal([results[index] for index in range(20)], whole)


def test_closing_ends_the_workers_and_their_pipes(video):
    before = descriptors(os.getpid())
    for _ in range(3):
        with media.ClipReader(1) as reader:
            read(reader, video)
            process = next(iter(reader._running))._process
        assert process.returncode == -signal.SIGKILL
    assert descriptors(os.getpid()) == before


def test_workers_end_with_the_process_they_work_for(video):
    code = f"""if True:
        import os, signal
        from kvdiff import media
        reader = media.ClipReader(1)
        reader.read(media.ClipRequest(path={str(video)!r}))
        print(next(iter(reader._running))._process.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    worker = int(done.stdout)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def test_memory_is_capped(tmp_path):
    np.save(tmp_path / "clip.npy", np.zeros((200, 512, 512, 3), np.uint8))
    with media.ClipReader(1, media.ReadLimits(memory_bytes=2**29)) as reader:
        with pytest.raises(media.VideoError, match="at most 536870912 bytes of memory"):
            read(reader, tmp_path / "clip.npy")
        assert memory(worker_of(reader)) < 2**29


def test_limits_and_numbers_of_workers_are_checked():
    with pytest.raises(ValueError, match="`num_workers`"):
        media.ClipReader(0)
    with pytest.raises(ValueError, match="`seconds`"):
        media.ReadLimits(seconds=0.0)
    with pytest.raises(ValueError, match="`frames`"):
        media.ReadLimits(frames=0)
    error = media.VideoError("a.mp4", "expected better")
    assert (str(error), error.path.name, error.reason) == ("a.mp4: expected better", "a.mp4", "expected better")
