"""Clips survive files: exactly where the format can, closely where it cannot; damaged and hostile files are refused."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from kvdiff import media
from tests.media.conftest import random_clip, smooth_clip

pytest.importorskip("av")


# Round trips.


@pytest.mark.parametrize("suffix", [".gif", ".npy"])
def test_grey_clips_come_back_exactly(tmp_path, suffix):
    clip = random_clip()
    clip[3] = clip[2]  # Two equal frames in a row stay two.
    path = media.write_clip(tmp_path / f"clip{suffix}", clip)
    np.testing.assert_array_equal(media.read_clip(path), clip)


def test_a_gif_of_few_colours_comes_back_exactly(tmp_path):
    clip = random_clip(3)[..., :] // 64 * 64
    clip[..., 2] = 0
    path = media.write_clip(tmp_path / "clip.gif", clip)
    np.testing.assert_array_equal(media.read_clip(path), clip)


def test_a_gif_of_many_colours_is_close(tmp_path):
    clip = smooth_clip(3)
    clip[..., 1] = np.arange(24) * 10
    path = media.write_clip(tmp_path / "clip.gif", clip)
    assert len(np.unique(clip.reshape(-1, 3), axis=0)) > 256
    assert np.abs(media.read_clip(path).astype(int) - clip).mean() < 8


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize(("height", "width"), [(16, 24), (15, 13)])
@pytest.mark.parametrize("channels", [1, 3])
def test_videos_come_back_closely(tmp_path, suffix, height, width, channels):
    clip = smooth_clip(channels, height=height, width=width)
    path = media.write_clip(tmp_path / f"clip{suffix}", clip)
    again = media.read_clip(path, channels=channels)
    assert again.shape == clip.shape
    assert np.abs(again.astype(int) - clip).mean() < 4


def test_floats_become_the_nearest_pixels(tmp_path):
    clip = np.array([-1.0, -0.997, 0.0, 1.0], np.float32).reshape(1, 1, 4, 1)
    np.testing.assert_array_equal(media.to_pixels(clip).ravel(), [0, 0, 128, 255])
    path = media.write_clip(tmp_path / "clip.npy", clip)
    np.testing.assert_array_equal(np.load(path), clip)  # .npy keeps floats.
    np.testing.assert_array_equal(media.read_clip(path), media.to_pixels(clip))


def test_pixels_survive_the_way_through_floats():
    pixels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(media.to_pixels(pixels.astype(np.float32) / 127.5 - 1), pixels)


def test_scale_repeats_every_pixel(tmp_path):
    clip = random_clip()
    path = media.write_clip(tmp_path / "clip.gif", clip, scale=3)
    np.testing.assert_array_equal(media.read_clip(path)[:, 1::3, 2::3], clip)


# Reading.


def test_channels_are_converted_on_request(tmp_path):
    path = media.write_clip(tmp_path / "clip.gif", random_clip())
    assert media.read_clip(path, channels=3).shape[-1] == 3
    red = np.zeros((2, 4, 4, 3), np.uint8)
    red[..., 0] = 200
    path = media.write_clip(tmp_path / "red.gif", red)
    assert (media.read_clip(path, channels=1) == round(0.299 * 200)).all()


def test_size_covers_and_cuts_the_middle(tmp_path):
    clip = np.zeros((2, 16, 32, 1), np.uint8)
    clip[:, :, 8:24] = 255  # The middle square is white, and all that a square crop keeps.
    path = media.write_clip(tmp_path / "clip.gif", clip)
    small = media.read_clip(path, size=(8, 8))
    assert small.shape == (2, 8, 8, 1)
    assert small[:, 1:-1, 1:-1].min() > 250


def test_max_frames_stops_early(tmp_path):
    path = media.write_clip(tmp_path / "clip.gif", random_clip(frames=6))
    assert len(media.read_clip(path, max_frames=4)) == 4


def test_a_turned_phone_video_comes_upright(tmp_path):
    clip = smooth_clip(1, height=16, width=24)
    clip[:, :, :4] = 255  # The left edge, which a quarter turn clockwise makes the top edge.
    path = media.write_clip(tmp_path / "clip.mp4", clip)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    turn = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    content[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in turn)
    path.write_bytes(content)
    upright = media.read_clip(path)
    assert upright.shape == (6, 24, 16, 1)
    assert upright[:, :3].mean() > 240 > upright[:, -3:].mean()


def test_npy_may_hold_many_clips(tmp_path):
    np.save(tmp_path / "clips.npy", np.stack([random_clip(), random_clip()]))
    assert media.read_clips(tmp_path / "clips.npy").shape == (2, 6, 12, 14, 1)
    with pytest.raises(ValueError, match="expected one clip. Received: 2"):
        media.read_clip(tmp_path / "clips.npy")


def test_folders_list_their_clips_in_order(tmp_path):
    (tmp_path / "inner").mkdir()
    for name in ("b.gif", "inner/a.npy", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert media.list_clip_files([tmp_path]) == [tmp_path / "b.gif", tmp_path / "inner/a.npy"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="a folder with none"):
        media.list_clip_files([tmp_path / "empty"])


# Writing.


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (np.zeros((4, 4, 1), np.uint8), "expected shape"),
        (np.zeros((2, 4, 4, 2), np.uint8), "expected shape"),
        (np.zeros((0, 4, 4, 1), np.uint8), "expected shape"),
        (np.full((2, 4, 4, 1), np.nan), "no NaN"),
        (np.full((2, 4, 4, 1), 1.5), r"values in \[-1, 1\]"),
    ],
)
def test_bad_clips_leave_no_file(tmp_path, clip, message):
    with pytest.raises(ValueError, match=message):
        media.write_clip(tmp_path / "clip.gif", clip)
    assert list(tmp_path.iterdir()) == []


def test_many_clips_fill_a_grid_or_an_array(tmp_path):
    clips = np.stack([random_clip(), random_clip()[::-1], random_clip()])
    path = media.write_clips(tmp_path / "clips.npy", clips)
    np.testing.assert_array_equal(np.load(path), clips)
    sheet = media.read_clip(media.write_clips(tmp_path / "clips.gif", clips))
    assert sheet.shape == (6, 2 * 14 + 2, 2 * 16 + 2, 3)
    np.testing.assert_array_equal(sheet[:, 2:14, 18:32, :1], clips[1])
    one = media.read_clip(media.write_clips(tmp_path / "one.gif", clips[:1], scale=2))
    np.testing.assert_array_equal(one[:, ::2, ::2], clips[0])


def test_members_stand_in_a_row_and_lead_in_a_npy_file(tmp_path):
    levels = np.array([[0, 51, 102], [153, 204, 255]], np.uint8).T  # [members, clips]
    ensemble = np.broadcast_to(levels[:, :, None, None, None, None], (3, 2, 4, 6, 8, 1)).copy()
    saved = np.load(media.write_clips(tmp_path / "members.npy", ensemble, scale=2))
    assert saved.dtype == np.uint8 and saved.shape == (3, 2, 4, 12, 16, 1) and (saved[2, 1] == 255).all()
    sheet = media.read_clip(media.write_clips(tmp_path / "members.gif", ensemble))
    assert sheet.shape[:3] == (4, 2 * 8 + 2, 3 * 10 + 2)
    assert [int(sheet[0, 5, 6 + 10 * member, 0]) for member in range(3)] == [0, 51, 102]
    assert [int(sheet[0, 13, 6 + 10 * member, 0]) for member in range(3)] == [153, 204, 255]
    assert media.read_clip(media.write_clips(tmp_path / "one.gif", ensemble[:, :1])).shape[1:3] == (18, 22)
    with pytest.raises(ValueError, match=r"`clips`: expected shape .*or \[members, clips, …\]. Received: \[3, 0, 4"):
        media.write_clips(tmp_path / "none.gif", ensemble[:, :0])


def test_bad_destinations(tmp_path):
    with pytest.raises(ValueError, match=r"expected a file ending in .npy, .gif, .mp4, .webm"):
        media.write_clip(tmp_path / "clip.jpg", random_clip())
    with pytest.raises(FileNotFoundError, match="no such folder"):
        media.write_clip(tmp_path / "none" / "clip.gif", random_clip())
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(IsADirectoryError, match="a folder"):
        media.write_clip(tmp_path / "folder.gif", random_clip())
    with pytest.raises(ValueError, match="`fps`"):
        media.write_clip(tmp_path / "clip.gif", random_clip(), fps=60)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = media.write_clip(tmp_path / "clip.npy", random_clip())
    before = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("kvdiff.media.files.os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        media.write_clip(path, random_clip(3))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["clip.npy"]


def test_png_is_exact(tmp_path):
    image = pytest.importorskip("PIL.Image")
    picture = random_clip(3)[0]
    path = media.write_bytes(tmp_path / "picture.png", media.encode_png(picture))
    np.testing.assert_array_equal(np.asarray(image.open(path)), picture)


# Layout.


def test_grid_places_clips_row_by_row():
    clips = [np.full((2, 3, 4, 1), value, np.uint8) for value in (10, 20, 30)]
    sheet = media.grid(clips, 2, gap=1, colour=(1, 2, 3))
    assert sheet.shape == (2, 2 * 4 + 1, 2 * 5 + 1, 3)
    assert (sheet[:, 1:4, 1:5] == 10).all()
    assert (sheet[:, 1:4, 6:10] == 20).all()
    assert (sheet[:, 5:8, 1:5] == 30).all()
    assert (sheet[:, 5:8, 6:10] == (1, 2, 3)).all()  # The missing fourth.
    assert (sheet[:, 0] == (1, 2, 3)).all()


def test_filmstrip_has_a_row_a_clip_and_a_column_a_frame():
    clips = [np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1) + base for base in (10, 20)]
    strip = media.filmstrip(clips, gap=0)
    np.testing.assert_array_equal(strip[..., 0], [[10, 11, 12], [20, 21, 22]])


def test_framed_colours_every_frame():
    clip = np.zeros((2, 2, 2, 1), np.uint8)
    framed = media.framed(clip, [(9, 0, 0), (0, 9, 0)])
    assert framed.shape == (2, 4, 4, 3)
    assert framed[0, 0, 0].tolist() == [9, 0, 0]
    assert framed[1, 3, 3].tolist() == [0, 9, 0]
    assert not framed[:, 1:3, 1:3].any()


def test_labels_stand_above_the_clip():
    pytest.importorskip("PIL")
    clip = random_clip(1, width=60)
    named = media.labelled(clip, "truth")
    np.testing.assert_array_equal(named[:, -12:, :, :1], clip)
    assert (named[:, :-12] != media.BACKGROUND).any()


def test_layouts_name_the_bad_argument():
    with pytest.raises(ValueError, match="one shape"):
        media.grid([random_clip(), random_clip(height=3)], 2)
    with pytest.raises(ValueError, match="`colours`"):
        media.framed(random_clip(), [(0, 0, 0)])
    with pytest.raises(ValueError, match="`scale`"):
        media.enlarge(random_clip(), 0)


def test_importing_loads_no_library(run_python):
    run_python("import sys, kvdiff.media; assert not {'tensorflow', 'keras', 'av', 'PIL'} & set(sys.modules)")


@pytest.mark.parametrize("suffix", [".gif", ".mp4", ".webm"])
@pytest.mark.parametrize("count", [(1,), (3,), (3, 2), (2, 1)])
def test_frames_one_after_the_other_are_the_file_of_the_clips(tmp_path, suffix, count):
    ensemble = np.random.default_rng(2).uniform(-1, 1, (*count, 5, 12, 14, 3)).astype(np.float32)
    whole = media.write_clips(tmp_path / f"whole{suffix}", ensemble, fps=5, scale=2)
    frames = (ensemble[..., frame, :, :, :] for frame in range(5))
    parts = media.write_frames(tmp_path / f"parts{suffix}", frames, fps=5, scale=2)
    assert parts.read_bytes() == whole.read_bytes()


def test_a_video_takes_the_memory_of_a_few_frames(tmp_path):
    seen, most = [], 0

    class Frame(np.ndarray):
        pass

    def frames():
        nonlocal most
        for number in range(200):
            frame = np.full((1, 16, 16, 1), number % 256, np.uint8).view(Frame)
            seen.append(weakref.ref(frame))
            most = max(most, sum(each() is not None for each in seen))
            yield frame

    assert media.read_clip(media.write_frames(tmp_path / "long.mp4", frames())).shape[0] == 200
    assert most <= 3


def test_frames_that_fail_leave_no_file(tmp_path):
    def frames():
        yield np.zeros((1, 8, 8, 1), np.uint8)
        raise RuntimeError("unplugged")

    for suffix in (".mp4", ".gif"):
        with pytest.raises(RuntimeError, match="unplugged"):
            media.write_frames(tmp_path / f"long{suffix}", frames())
    assert list(tmp_path.iterdir()) == []
    for wrong, message in (
        ([], "at least one. Received: none"),
        ([np.zeros((8, 8, 1), np.uint8)], r"expected shape \[clips, height, width, 1 or 3\], or .*: \[8, 8, 1\]"),
        ([np.full((1, 8, 8, 1), 2.0)], r"values in \[-1, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            media.write_frames(tmp_path / "long.mp4", wrong)
    with pytest.raises(ValueError, match=r"expected a file ending in .gif, .mp4 or .webm. Received: '.npy'"):
        media.write_frames(tmp_path / "long.npy", frames())
    with pytest.raises(TypeError, match="`frames`: expected arrays one after the other. Received: 5"):
        media.write_frames(tmp_path / "long.mp4", 5)
