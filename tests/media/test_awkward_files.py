"""Good files that are easily read wrongly: turned, cut out of others, put together, with a suffix that lies."""

from __future__ import annotations

import struct
import subprocess

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("imageio_ffmpeg")

from kvdiff import media
from kvdiff.media.reading import decode_clip
from tests.media.conftest import encoded, ffmpeg, film


def decoded(path, **options):
    return decode_clip(media.ClipRequest(path=str(path), **options), media.ReadLimits())


def played(path, shape) -> np.ndarray:
    """What ffmpeg's command shows: uint8 [frames, *shape]."""
    command = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    options = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(
        [command, "-v", "fatal", "-nostdin", "-i", str(path), *options], capture_output=True, check=True
    )
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, *shape)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return film(tmp_path_factory.mktemp("plain") / "plain.mp4", "-c:v", "libx264", "-g", 5)


# Turned and mirrored.


@pytest.mark.parametrize("flips", [(), ("-display_hflip",), ("-display_vflip",), ("-display_hflip", "-display_vflip")])
@pytest.mark.parametrize("angle", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_whole_display_matrix_is_heeded(plain, tmp_path, flips, angle, suffix):
    path = tmp_path / f"turned{suffix}"
    ffmpeg("-display_rotation", angle, *flips, "-i", plain, "-c", "copy", path)
    shape = (32, 24, 3) if angle % 180 else (24, 32, 3)
    clip = decoded(path)
    np.testing.assert_array_equal(clip.frames, played(path, shape))
    assert clip.facts.is_mirrored == (len(flips) == 1)
    assert decoded(path, size=(10, 20)).frames.shape == (25, 10, 20, 3)


def test_a_turned_frame_of_motion_jpeg(tmp_path):
    image = pytest.importorskip("PIL.Image")
    picture = image.fromarray(np.arange(24 * 32, dtype=np.uint8).reshape(24, 32))
    exif = image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "1.jpg", exif=exif)
    ffmpeg("-i", tmp_path / "1.jpg", "-c", "copy", tmp_path / "clip.mkv")
    np.testing.assert_array_equal(decoded(tmp_path / "clip.mkv").frames, played(tmp_path / "clip.mkv", (32, 24, 3)))


# Clocks.


def test_parts_put_together_play_one_after_the_other(plain, tmp_path):
    part, whole = tmp_path / "part.ts", tmp_path / "whole.ts"
    ffmpeg("-i", plain, "-c", "copy", part)
    whole.write_bytes(part.read_bytes() * 2)
    clip = decoded(whole)
    np.testing.assert_array_equal(clip.frames[:25], clip.frames[25:])
    np.testing.assert_allclose(clip.times, np.arange(50) / 25, atol=1e-4)
    assert clip.facts.notes == ("its clock jumps (1×); a jump counts as one frame",)
    assert decoded(part).facts.notes == ()


def test_a_part_an_hour_later_is_no_hour_of_one_frame(plain, tmp_path):
    ffmpeg("-i", plain, "-c", "copy", tmp_path / "a.ts")
    ffmpeg("-i", plain, "-c", "copy", "-output_ts_offset", 3600, tmp_path / "b.ts")
    (tmp_path / "c.ts").write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    clip = decoded(tmp_path / "c.ts")
    assert clip.times[-1] - clip.times[0] < 2.0 and "its clock jumps (1×)" in clip.facts.notes[0]


def test_frames_shown_for_different_times_keep_them(tmp_path):
    """An .mkv of variable rate, with B-frames that are stored in another order."""
    path = tmp_path / "uneven.mkv"
    film(path, "-vf", "setpts='(N+4*gte(N,10))/25/TB'", "-fps_mode", "vfr", "-c:v", "libx264", "-bf", 2)
    steps = np.diff(decoded(path).times)
    assert steps[9] == pytest.approx(0.2, abs=2e-3)
    np.testing.assert_allclose(np.delete(steps, 9), 0.04, atol=2e-3)


def test_an_edit_list_and_a_late_start_do_not_count(plain, tmp_path):
    ffmpeg("-ss", 0.5, "-i", plain, "-c", "copy", tmp_path / "cut.mp4")
    clip = decoded(tmp_path / "cut.mp4")
    np.testing.assert_array_equal(clip.frames, played(tmp_path / "cut.mp4", (24, 32, 3)))
    np.testing.assert_allclose(np.diff(clip.times), 0.04, atol=1e-6)


# Cut out of a longer film.


def open_film(path, codec, keyint=12, seconds=2, size="32x24"):
    """Four groups of pictures, each of which begins with some that refer to the one before."""
    group = f"open-gop=1:keyint={keyint}:min-keyint={keyint}:scenecut=0:bframes=3"
    options = {
        "libx264": ("-x264-params", group),
        "libx265": ("-x265-params", f"{group}:log-level=error:pools=1"),
        "mpeg2video": ("-g", keyint, "-bf", 2),
    }[codec]
    return film(path, "-c:v", codec, *options, seconds=seconds, size=size)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
@pytest.mark.parametrize("where", ["at a key picture", "between two"])
def test_a_stream_that_begins_in_the_middle(tmp_path, codec, where):
    av = pytest.importorskip("av")
    path = open_film(tmp_path / "whole.ts", codec)
    whole, content = decoded(path), path.read_bytes()
    assert len(whole.frames) == 50 and whole.facts.notes == ()
    with av.open(path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    key = [index for index, packet in enumerate(packets) if packet.is_keyframe][1]
    begin = packets[key if where == "at a key picture" else key + 4].pos
    path.write_bytes(content[: packets[0].pos] + content[begin:])
    clip = decoded(path)
    assert 20 < len(clip.frames) < 40
    np.testing.assert_array_equal(clip.frames, played(path, (24, 32, 3)))
    np.testing.assert_array_equal(clip.frames[-15:], whole.frames[-15:])
    num_packets = len(packets) - (key if where == "at a key picture" else key + 4)
    left_out = num_packets - len(clip.frames)
    notes = (f"its first {left_out} frames refer to what was cut off, and are left out",) if left_out else ()
    assert clip.facts.notes == notes


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_copy_that_begins_at_no_idr_picture(tmp_path, codec, suffix):
    whole, path = (
        open_film(tmp_path / "whole.mp4", codec, keyint=25, seconds=4, size="64x48"),
        tmp_path / f"cut{suffix}",
    )
    ffmpeg("-ss", 1.5, "-i", whole, "-c", "copy", path)
    clip = decoded(path)
    assert len(clip.frames) >= 60
    np.testing.assert_array_equal(clip.frames, played(path, (48, 64, 3)))


def test_damage_at_the_beginning_is_no_cut(plain, tmp_path):
    """The first group of a whole film: nothing of it may be left out."""
    with pytest.importorskip("av").open(plain) as container:
        first = next(iter(container.demux(video=0)))
    content = plain.read_bytes()
    for share in (0.1, 0.5):
        begin, end = first.pos + int(share * first.size), first.pos + first.size
        (tmp_path / "clip.mp4").write_bytes(content[:begin] + b"\xff" * (end - begin) + content[end:])
        with pytest.raises(media.VideoError, match="readable .mp4"):
            decoded(tmp_path / "clip.mp4")


# Several tracks.


@pytest.mark.parametrize("first", ["a picture", "a preview"])
def test_the_film_is_read_not_what_comes_before_it(plain, tmp_path, first):
    film(tmp_path / "other.mkv", "-c:v", "libx264", rate=2, size="16x16", seconds=1.0)
    path = tmp_path / "both.mkv"
    if first == "a picture":
        film(tmp_path / "other.mkv", "-frames:v", 1, "-c:v", "png", size="16x16")
    ffmpeg(
        *("-i", tmp_path / "other.mkv", "-i", plain, "-map", 0, "-map", 1, "-c", "copy"),
        *("-disposition:v:0", 0, "-disposition:v:1", 0, path),
    )
    np.testing.assert_array_equal(decoded(path).frames, decoded(plain).frames)


def test_sound_with_a_cover_is_no_video(tmp_path):
    film(tmp_path / "cover.png", "-frames:v", 1)
    cover = ("-map", 0, "-map", 1, "-c:v", "png", "-disposition:v", "attached_pic", "-c:a", "aac")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-i", tmp_path / "cover.png", *cover, tmp_path / "song.mp4")
    with pytest.raises(media.VideoError, match="no video stream but a cover picture"):
        decoded(tmp_path / "song.mp4")


# Suffixes.


@pytest.mark.parametrize(
    ("kind", "suffix", "name"),
    [
        ("vp9.webm", ".mp4", "Matroska or WebM"),
        ("h264.mp4", ".avi", "MP4 or QuickTime"),
        ("h264.mp4", ".gif", "MP4 or QuickTime"),
        ("mpeg4.avi", ".mkv", "AVI"),
        ("gif.gif", ".mp4", "GIF"),
        ("flv1.flv", ".mp4", "FLV"),
        ("wmv2.wmv", ".avi", "ASF or WMV"),
        ("mpeg2.ts", ".mpg", "MPEG transport stream"),
        ("mpeg1.mpg", ".ts", "MPEG program stream"),
    ],
)
def test_content_rules_where_the_suffix_lies(tmp_path, kind, suffix, name):
    right, path = tmp_path / kind, tmp_path / f"clip{suffix}"
    for file in (right, path):
        file.write_bytes(encoded(kind))
    clip = decoded(path)
    np.testing.assert_array_equal(clip.frames, decoded(right).frames)
    assert clip.facts.notes == (f"its suffix says {suffix}, its content is {name}",)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG picture"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "a JPEG picture"),
        (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(50), "a WebP picture"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (b"#EXTM3U\n", "a playlist"),
        (b"PK\x03\x04" + bytes(50), "a ZIP archive"),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".ts"])
def test_what_is_no_video_is_called_by_its_name(tmp_path, content, what, suffix):
    (tmp_path / f"clip{suffix}").write_bytes(content)
    with pytest.raises(media.VideoError, match=f"expected a readable {suffix} video. Received: {what}"):
        decoded(tmp_path / f"clip{suffix}")


@pytest.mark.parametrize("suffix", [".m2ts", ".mts", ".ts", ".m2t"])
def test_transport_streams_with_and_without_clocks(plain, tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    ffmpeg("-i", plain, "-c", "copy", "-f", "mpegts", "-mpegts_m2ts_mode", int(suffix in (".m2ts", ".mts")), path)
    assert path.read_bytes()[4 if suffix in (".m2ts", ".mts") else 0] == 0x47
    np.testing.assert_array_equal(decoded(path).frames, decoded(plain).frames)


def test_arrays_under_each_others_names(tmp_path):
    clip = np.arange(4 * 6 * 6, dtype=np.uint8).reshape(4, 6, 6, 1)
    np.save(tmp_path / "a.npy", clip)
    np.savez_compressed(tmp_path / "b.npz", clip)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    for name in ("a.npz", "b.npy"):
        np.testing.assert_array_equal(media.read_clip(tmp_path / name), clip)


# GIFs.


def bare_gif(clip: np.ndarray) -> bytes:
    """Grey frames in a GIF that has no block but pictures, as programs write it that know no delays."""
    files = [media.encode_clip(frame[None], ".gif") for frame in clip]
    pictures = [file[file.index(b"\x21\xf9\x04") + 8 : -1] for file in files]
    return files[0][: 13 + 3 * 256] + b"".join(pictures) + b"\x3b"


def test_a_gif_without_delays_has_all_its_frames(tmp_path):
    clip = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 1), dtype=np.uint8)
    content = bare_gif(clip)
    (tmp_path / "clip.gif").write_bytes(content)
    np.testing.assert_array_equal(media.read_clip(tmp_path / "clip.gif"), clip)
    np.testing.assert_allclose(np.diff(decoded(tmp_path / "clip.gif").times), 0.1)


def test_gifs_as_pillow_writes_them(tmp_path):
    image = pytest.importorskip("PIL.Image")
    clip = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    frames = [image.fromarray(frame) for frame in clip]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:])
    again = decoded(tmp_path / "clip.gif")
    assert np.abs(again.frames.astype(int) - clip).mean() < 3
    np.testing.assert_allclose(np.diff(again.times), 0.1)


# Transparency and colour.


def test_what_is_transparent_lies_on_white(tmp_path):
    path = tmp_path / "clip.mov"
    film(path, "-vf", "format=rgba,geq=r=200:g=100:b=0:a='255*lt(X,16)'", "-pix_fmt", "argb", "-c:v", "qtrle")
    frames = decoded(path).frames
    assert (frames[:, :, :16] == (200, 100, 0)).all() and (frames[:, :, 16:] == 255).all()
    assert (decoded(path, size=(12, 16)).frames[:, :, 10:] == 255).all()


@pytest.mark.parametrize(
    ("matrix", "scale", "pixels", "codec"),
    [
        ("smpte170m", "bt601:out_range=tv", "yuv420p", "libx264"),
        ("bt709", "bt709:out_range=tv", "yuv420p", "libx264"),
        ("bt709", "bt709:out_range=pc", "yuv420p", "libx264"),
        ("bt2020nc", "bt2020:out_range=tv", "yuv420p10le", "libx264"),
        ("bt709", "bt709:out_range=tv", "yuv422p10le", "ffv1"),
    ],
)
def test_colours_come_back_whatever_matrix_range_and_depth(tmp_path, matrix, scale, pixels, codec):
    path, source = tmp_path / "clip.mkv", "color=c=0xC83C1E:size=64x48:rate=5:duration=1"
    colours = ("-colorspace", matrix, "-color_range", scale.rsplit("=")[-1])
    convert = ("-vf", f"scale=out_color_matrix={scale},format={pixels}", *colours)
    ffmpeg("-f", "lavfi", "-i", source, *convert, "-c:v", codec, *(("-qp", 0) if codec == "libx264" else ()), path)
    for size in (None, (24, 24)):
        assert np.abs(decoded(path, size=size).frames.astype(int) - (200, 60, 30)).max() <= 6


def test_interlaced_frames_are_said_to_be(tmp_path):
    path = film(tmp_path / "clip.mp4", "-c:v", "libx264", "-x264-params", "interlaced=1:tff=1", "-flags", "+ildct+ilme")
    assert decoded(path).facts.notes == ("its frames are interlaced, so what moves has combs",)


# Cut off.


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mkv", ("-c", "copy")),
        (".webm", ("-c:v", "libvpx")),
        (".webm", ("-c:v", "libvpx-vp9")),
        (".flv", ("-c:v", "flv")),
        (".wmv", ("-c:v", "wmv2")),
        (".mp4", ("-c", "copy")),
        (".mp4", ("-c", "copy", "-movflags", "frag_keyframe+empty_moov+default_base_moof")),
    ],
)
def test_no_part_of_a_file_passes_for_the_whole(plain, tmp_path, suffix, options):
    path = tmp_path / f"clip{suffix}"
    ffmpeg("-i", plain, *options, path)
    content, silent = path.read_bytes(), []
    assert len(decoded(path).times) == 25
    borders = fragments(content) if "-movflags" in options else set()
    for share in range(5, 100, 5):
        end = len(content) * share // 100
        path.write_bytes(content[:end])
        try:
            decoded(path, wanted=())
        except media.VideoError:
            continue
        silent.append(end)
    assert set(silent) <= borders  # Between two fragments nothing says that there was another.


def fragments(content: bytes) -> set[int]:
    """Where the boxes of an .mp4 file begin."""
    begins, at = set(), 0
    while at < len(content):
        begins.add(at)
        at += struct.unpack_from(">I", content, at)[0]
    return begins


@pytest.mark.parametrize("kind", ["matroska", "webm"])
def test_a_file_written_to_a_pipe_is_whole_and_its_parts_are_not(plain, tmp_path, kind):
    path = tmp_path / f"clip.{'mkv' if kind == 'matroska' else 'webm'}"
    codec = ("-c", "copy") if kind == "matroska" else ("-c:v", "libvpx-vp9", "-f", "webm", "-live", 1)
    command = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    arguments = [command, "-v", "error", "-i", plain, *codec, "-f", kind, "-"]
    done = subprocess.run(list(map(str, arguments)), stdin=subprocess.DEVNULL, capture_output=True, check=True)
    path.write_bytes(done.stdout)
    assert len(decoded(path).times) == 25
    for share in range(10, 100, 10):
        path.write_bytes(done.stdout[: len(done.stdout) * share // 100])
        with pytest.raises(media.VideoError):
            decoded(path)


# Said and not changed.


def test_pixels_that_are_not_square_are_said_to_be(tmp_path):
    path = film(tmp_path / "clip.mp4", "-vf", "setsar=16/15", "-c:v", "libx264")
    assert decoded(path).facts.notes == ("its pixels are not square (16/15), and are taken as they are",)


@pytest.mark.parametrize(("transfer", "name"), [("smpte2084", "PQ"), ("arib-std-b67", "HLG")])
def test_high_dynamic_range_is_said_to_be(tmp_path, transfer, name):
    options = ("-vf", f"setparams=color_trc={transfer},format=yuv420p10le", "-color_trc", transfer, "-c:v", "libx264")
    (note,) = decoded(film(tmp_path / "clip.mp4", *options)).facts.notes
    assert note == f"its colours are of high dynamic range ({name}), and come out pale"


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_players_show_the_colours_that_were_written(tmp_path, suffix):
    """Untagged, pictures of 720 lines and more are taken for BT.709; ffmpeg says what is tagged."""
    clip = np.full((2, 720, 16, 3), (200, 60, 30), np.uint8)
    path = media.write_clip(tmp_path / f"clip{suffix}", clip)
    command = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    said = subprocess.run([command, "-i", str(path)], capture_output=True, text=True, stdin=subprocess.DEVNULL).stderr
    assert "(tv, smpte170m" in said
    assert np.abs(played(path, (720, 16, 3)).astype(int) - (200, 60, 30)).max() <= 3


def test_a_gap_of_days_is_no_gigabyte(plain, tmp_path):
    """An .mkv whose last frames come 11 days later."""
    path = tmp_path / "gap.mkv"
    ffmpeg("-i", plain, "-c", "copy", "-bsf:v", "setts=ts=TS+gte(N\\,20)*1e6/TB", path)
    clip = decoded(path)
    assert len(clip.times) == 25 and clip.times[-1] - clip.times[0] == pytest.approx(24 / 25, abs=0.01)


def test_transparent_gifs_lie_on_white(tmp_path):
    image = pytest.importorskip("PIL.Image")
    clip = np.zeros((3, 9, 7, 4), np.uint8)
    clip[..., :3] = (200, 10, 10)
    for index, frame in enumerate(clip):
        frame[:, : 3 + index, 3] = 255
    frames = [image.fromarray(frame) for frame in clip]
    frames[0].save(tmp_path / "clip.gif", save_all=True, append_images=frames[1:], duration=100, disposal=2)
    greens = decoded(tmp_path / "clip.gif").frames[:, 0, :, 1]
    assert [(row == 10).sum() for row in greens] == [3, 4, 5] and [(row == 255).sum() for row in greens] == [4, 3, 2]
