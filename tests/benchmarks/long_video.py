"""Random clips of a long video, its last frames, and its index, against PyAV in a dozen lines, on the same file.

    .venv/bin/python -m tests.benchmarks long_video --output tests/benchmarks/results/long_video.json

The file is real film, played again and again: 12 minutes of H.264, 640 × 360 pixels, 25 frames a second, a key frame
every 250, written to build/ the first time. A clip is 16 frames of 64 × 64 pixels; both decode from the key frame
before it, here through the loader and its worker process. What they return must be equal before anything is timed.
"""

from __future__ import annotations

import collections
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from kvdiff.data import list_paths, video_batches
from kvdiff.media import ClipReader, ClipRequest, ReadLimits, read_timed_clips
from tests.benchmarks.loader import SIDE, covering, files, middle, processor_seconds
from tests.benchmarks.results import Row, compared
from tests.benchmarks.rounds import Contestant, measure_rounds
from tests.benchmarks.session import Session
from tests.benchmarks.workers import ROOT

__all__ = ["rows"]

FILM, PATH = "bikes.mp4", ROOT / "build" / "long-video.mp4"
NUM_FRAMES, CLIPS = 16, 24
LIMITS = ReadLimits(seconds=600.0)  # Decoding everything takes more than a minute on a busy machine.


def rows(session: Session, path: Path | None = None) -> Iterator[Row]:
    """Seconds a clip, for the last frames, and for the index against decoding everything."""
    path = long_file() if path is None else path
    batches = video_batches(list_paths([path]), image_size=SIDE, num_frames=NUM_FRAMES, num_workers=1, limits=LIMITS)
    store, (video,), rounds = batches.store, batches.videos, session.options.rounds
    count = store.measured(video, len)
    firsts = np.random.default_rng(0).integers(0, count - NUM_FRAMES, CLIPS).tolist()

    def ours(first: int) -> np.ndarray:
        return store.frames(video, lambda times: np.arange(first, first + NUM_FRAMES))

    def last() -> np.ndarray:
        return read_timed_clips(path, size=(SIDE, SIDE), last=NUM_FRAMES).frames[0]

    for first in (firsts[0], count - NUM_FRAMES):
        check_equal(ours(first), with_pyav(path, first))
    check_equal(last(), last_with_pyav(path))
    reader = store.reader
    yield row("random clips", reader, rounds, CLIPS, {
        ("ours", "an index of key frames"): lambda: [ours(first) for first in firsts],
        ("peer", "PyAV, one thread"): lambda: [with_pyav(path, first, 1) for first in firsts],
        ("peer", "PyAV, its own threads"): lambda: [with_pyav(path, first) for first in firsts],
    })  # fmt: skip
    yield row("last frames", reader, rounds, 1, {
        ("ours", "an index of key frames"): last,
        ("peer", "PyAV, one thread"): lambda: last_with_pyav(path, 1),
        ("peer", "PyAV, its own threads"): lambda: last_with_pyav(path),
    })  # fmt: skip
    request = ClipRequest(path=str(path), wanted=(), size=(SIDE, SIDE))
    yield row("index", reader, min(rounds, 2), 1, {
        ("ours", "an index of key frames"): lambda: reader.index(request),
        ("peer", "decoding everything"): lambda: reader.read(request),
    })  # fmt: skip


def long_file() -> Path:
    """The file, made of a film of the test extra."""
    if not PATH.exists():
        import imageio_ffmpeg

        film = next((path for path in files() if path.name == FILM), None)
        if film is None:
            raise SystemExit(f"long_video: expected {FILM}, of the test extra. Received: no such file")
        PATH.parent.mkdir(exist_ok=True)
        part = PATH.with_suffix(".part.mp4")
        look = "scale=640:360:force_original_aspect_ratio=increase,crop=640:360,setsar=1"
        code = ["-c:v", "libx264", "-preset", "veryfast", "-g", "250", "-keyint_min", "250", "-sc_threshold", "0"]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-stream_loop", "-1", "-i", str(film), "-an"]
        subprocess.run([*command, "-t", "720", "-r", "25", "-vf", look, *code, str(part)], check=True)
        part.rename(PATH)
    return PATH


def with_pyav(path: Path, first: int, threads: int = 0) -> np.ndarray:
    """The dozen lines that many write: seek to the key frame before, decode from there."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = threads
        begin = round(first / stream.average_rate / stream.time_base)
        container.seek(begin, stream=stream)
        kept = []
        for frame in container.decode(stream):
            if frame.pts >= begin:
                kept.append(scaled(frame))
            if len(kept) == NUM_FRAMES:
                break
    return np.stack(kept)


def last_with_pyav(path: Path, threads: int = 0) -> np.ndarray:
    """The same for the last frames: seek to the end, decode from the key frame before it."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = threads
        container.seek(stream.duration, stream=stream)
        return np.stack([scaled(frame) for frame in collections.deque(container.decode(stream), NUM_FRAMES)])


def scaled(frame: object) -> np.ndarray:
    height, width = covering(frame.height, frame.width)
    return middle(frame.reformat(width, height, format="rgb24", interpolation="AREA").to_ndarray())


def check_equal(ours: np.ndarray, peer: np.ndarray) -> None:
    if not np.array_equal(ours, peer):
        raise SystemExit("long_video: the two decode different frames")


def row(
    size: str, reader: ClipReader, rounds: int, number: int, ways: dict[tuple[str, str], Callable[[], object]]
) -> Row:
    """The row of ways by (system, mode), each of which does something `number` times."""

    def timed(way: Callable[[], object]) -> dict[str, float]:
        start, spent = time.perf_counter(), processor_seconds(reader)
        way()
        seconds = {"wall": time.perf_counter() - start, "cpu": processor_seconds(reader) - spent}
        return {clock: value / number for clock, value in seconds.items()}

    contestants = [Contestant(*names, lambda way=way: timed(way)) for names, way in ways.items()]
    return compared("long_video", size, measure_rounds(contestants, rounds))
