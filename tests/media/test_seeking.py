"""Seeking gives the frames that decoding from the beginning gives, to the bit, or is not done."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("imageio_ffmpeg")

from kvdiff import media
from kvdiff.media import ClipRequest, FrameIndex, NotIndexedError, ReadLimits
from kvdiff.media.reading import decode_clip, index_clip
from tests.media.conftest import ffmpeg, film

GOP = 12
X264 = ("-c:v", "libx264", "-g", GOP, "-sc_threshold", 0)
OPEN = ("-c:v", "libx264", "-x264-params", f"open-gop=1:keyint={GOP}:min-keyint={GOP}:scenecut=0:bframes=3:ref=4")
X265 = ("-c:v", "libx265", "-x265-params", f"keyint={GOP}:min-keyint={GOP}:scenecut=0:log-level=none:pools=1")
VARIABLE = ("-vf", "select='gt(mod(n,7),2)',setpts=PTS+0.3*mod(N\\,3)/25/TB", "-fps_mode", "vfr")

FILES = {
    "b_frames.mp4": X264,
    "b_frames.mkv": X264,
    "b_frames.flv": X264,
    "b_frames.ts": X264,
    "pyramid.mp4": (*X264, "-bf", 6, "-refs", 6, "-x264-params", "b-pyramid=strict:weightb=1:direct=temporal"),
    "no_b_frames.mov": (*X264, "-bf", 0),
    "slices.mp4": (*X264, "-slices", 4),
    "fields.mp4": (*X264, "-flags", "+ildct+ilme", "-x264-params", "interlaced=1"),
    "open.mp4": OPEN,
    "open.mkv": OPEN,
    "fragments.mp4": (*X264, "-movflags", "frag_keyframe+empty_moov"),
    "parameters_in_band.mp4": (*X264, "-x264-params", "repeat-headers=1"),
    "begins_late.mp4": (*X264, "-output_ts_offset", 3.217),
    "odd_clock.mp4": (*X264, "-video_track_timescale", 90001, "-output_ts_offset", 0.01),
    "variable_rate.mp4": (*VARIABLE, *X264),
    "variable_rate.mkv": (*VARIABLE, *X264),
    "hevc.mp4": X265,
    "hevc_closed.mkv": (*X265[:-1], X265[-1] + ":open-gop=0"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-g", GOP, "-deadline", "realtime", "-cpu-used", 8, "-auto-alt-ref", 1),
    "av1.mp4": ("-c:v", "libsvtav1", "-g", GOP, "-preset", 12),
    "b_frames.avi": (*X264, "-bf", 2),
    "motion_jpeg.avi": (
        "-c:v",
        "mjpeg",
    ),
    "prores.mov": ("-c:v", "prores_ks", "-pix_fmt", "yuv422p10le"),
}


@pytest.fixture(autouse=True)
def few_frames_are_many(monkeypatch):
    """So that small files do."""
    monkeypatch.setattr("kvdiff.media.seeking.MANY", 20)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return film(tmp_path_factory.mktemp("plain") / "plain.mp4", *X264, seconds=4)


def index_and_frames(path) -> tuple[FrameIndex, media.Clip]:
    request = ClipRequest(path=str(path))
    return index_clip(request, ReadLimits()), decode_clip(request, ReadLimits())


def sought(path, index: FrameIndex, wanted) -> media.Clip:
    wanted = tuple(map(int, wanted))
    return decode_clip(ClipRequest(path=str(path), wanted=wanted, seek=index.seek(wanted)), ReadLimits())


def check(path, *, seeks: bool = True) -> None:
    """Frames at many places are those of the whole file, reached without its beginning."""
    index, whole = index_and_frames(path)
    np.testing.assert_array_equal(index.times, whole.times)
    assert index.notes == tuple(note for note in whole.facts.notes if "clock" in note)
    count, spared = len(whole.times), 0
    choices = [range(first, first + 4) for first in range(0, count - 3, 9)]
    choices += [range(3, count, 11), (count - 1,), (count - 2, GOP + 1, GOP + 1), range(count - 3, count)]
    for wanted in choices:
        clip = sought(path, index, wanted)
        np.testing.assert_array_equal(clip.frames, whole.frames[list(wanted)])
        assert not any("seeking" in note for note in clip.facts.notes)
        spared += index.seek(wanted) is not None and len(clip.times) == len(set(wanted))
    assert spared > count // 15


@pytest.mark.parametrize("name", FILES)
def test_sought_frames_are_those_of_the_whole_file(tmp_path, name):
    check(film(tmp_path / name, *FILES[name], seconds=3))


@pytest.mark.parametrize("begin", [0.3, 1.0, 1.5])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_edit_lists_are_heeded(plain, tmp_path, begin, suffix):
    """What is cut without encoding begins at a key frame, and the edit list says from where on it is shown."""
    path = tmp_path / f"cut{suffix}"
    ffmpeg("-ss", begin, "-i", plain, "-c", "copy", path)
    index, _ = index_and_frames(path)
    assert bool((index.packets[:, 2] & 2).any()) == (begin * 25 % GOP > 0)
    check(path)


# Where it is not done.

UNFIT = {
    "mpeg2.ts": ("its codec is mpeg2video", ("-c:v", "mpeg2video", "-g", GOP)),
    "mpeg4.avi": ("its codec is mpeg4", ("-c:v", "mpeg4", "-g", GOP)),
    "vp8.webm": ("its codec is vp8", ("-c:v", "libvpx", "-g", GOP)),
    "gif.gif": ("its codec is gif", ("-pix_fmt", "rgb8")),
    "one_key_frame.mp4": ("only at its beginning", (*X264[:2], "-g", 1000)),
    "refreshed.mp4": ("only at its beginning", (*X264[:2], "-x264-params", f"intra-refresh=1:keyint={GOP}")),
}


@pytest.mark.parametrize("name", UNFIT)
def test_files_without_an_index_say_why(tmp_path, name):
    reason, options = UNFIT[name]
    with pytest.raises(NotIndexedError, match=reason):
        index_and_frames(film(tmp_path / name, *options, seconds=2))


def test_a_short_file_needs_no_index(tmp_path, monkeypatch):
    monkeypatch.undo()
    with pytest.raises(NotIndexedError, match="it has few frames, 50"):
        index_and_frames(film(tmp_path / "short.mp4", *X264, seconds=2))


def test_a_file_that_begins_in_the_middle_is_read_from_there(tmp_path):
    """Its first pictures are left out, so packets are not frames one by one."""
    whole = film(tmp_path / "open.mkv", *OPEN, seconds=4)
    ffmpeg("-ss", 1.0, "-i", whole, "-c", "copy", tmp_path / "part.ts")
    with pytest.raises(NotIndexedError, match="refers to what was cut off"):
        index_and_frames(tmp_path / "part.ts")


def test_parts_put_together_are_read_from_the_beginning(plain, tmp_path):
    ffmpeg("-i", plain, "-c", "copy", tmp_path / "part.ts")
    (tmp_path / "whole.ts").write_bytes((tmp_path / "part.ts").read_bytes() * 2)
    with pytest.raises(NotIndexedError, match="some of its packets are damaged"):
        index_and_frames(tmp_path / "whole.ts")


def test_other_parameters_in_the_middle_are_noticed(tmp_path):
    for name, size in (("a.ts", "32x24"), ("b.ts", "48x32")):
        film(tmp_path / name, *X264, *(() if name == "a.ts" else ("-output_ts_offset", 2)), seconds=2, size=size)
    (tmp_path / "whole.ts").write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    with pytest.raises(NotIndexedError, match="it changes how it is coded"):
        index_and_frames(tmp_path / "whole.ts")


# Where it fails.


def test_a_container_whose_seeks_lead_elsewhere_is_decoded_from_its_beginning(tmp_path):
    path = film(tmp_path / "film.mkv", *X264, seconds=4)
    content = bytearray(path.read_bytes())
    at = content.rindex(b"\x1c\x53\xbb\x6b")  # The table that seeks go by.
    places = [spot for spot in range(at, len(content)) if content[spot : spot + 2] == b"\xf1\x82"]
    assert len(places) >= 6
    values = [content[place + 2 : place + 4] for place in places]
    for place, value in zip(places, values[3:] + values[:3], strict=True):
        content[place + 2 : place + 4] = value
    path.write_bytes(content)
    index, whole = index_and_frames(path)
    failed = 0
    for first in range(GOP, 90, 7):
        clip = sought(path, index, range(first, first + 4))
        np.testing.assert_array_equal(clip.frames, whole.frames[first : first + 4])
        failed += any(note.startswith("seeking in it fails, so it is decoded") for note in clip.facts.notes)
    assert failed


@pytest.mark.parametrize("name", ["b_frames.mp4", "hevc.mp4", "vp9.webm", "av1.mp4"])
def test_key_frames_that_are_none_are_noticed(tmp_path, name):
    path = film(tmp_path / name, *FILES[name], seconds=2)
    index, whole = index_and_frames(path)
    index.packets[:, 2] |= 1
    for first in (17, 20, 29):
        clip = sought(path, index, range(first, first + 3))
        np.testing.assert_array_equal(clip.frames, whole.frames[first : first + 3])
        assert len(clip.times) > 3 and any("seeking in it fails" in note for note in clip.facts.notes)


def test_an_index_of_another_file_is_noticed(plain, tmp_path):
    index, _ = index_and_frames(film(tmp_path / "other.mp4", *FILES["begins_late.mp4"], seconds=4))
    whole = decode_clip(ClipRequest(path=str(plain)), ReadLimits())
    for changed in (index, dataclasses.replace(index, file_bytes=os.path.getsize(plain))):
        clip = sought(plain, changed, range(40, 44))
        np.testing.assert_array_equal(clip.frames, whole.frames[40:44])
        assert any("seeking in it fails" in note for note in clip.facts.notes)


def test_damage_before_a_clip_does_not_matter_and_damage_in_it_is_found(plain, tmp_path):
    index, whole = index_and_frames(plain)
    content, packets = bytearray(plain.read_bytes()), places_of(plain)
    place, size = packets[2 * GOP + 2]
    content[place + size // 2 : place + size] = bytes(size - size // 2)
    (tmp_path / "damaged.mp4").write_bytes(content)
    np.testing.assert_array_equal(sought(tmp_path / "damaged.mp4", index, range(70, 74)).frames, whole.frames[70:74])
    with pytest.raises(media.VideoError, match=r"expected a readable .mp4 video"):
        sought(tmp_path / "damaged.mp4", index, range(2 * GOP + 6, 2 * GOP + 10))


def places_of(path: Path) -> list[tuple[int, int]]:
    """Where in its file every packet lies, and its size."""
    import av

    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


# The index itself.


def test_an_index_can_be_kept(plain):
    index, _ = index_and_frames(plain)
    content = index.to_bytes()
    again = FrameIndex.from_bytes(content)
    np.testing.assert_array_equal(again.packets, index.packets)
    assert (again.time_base, again.rate, again.file_bytes) == (index.time_base, index.rate, index.file_bytes)
    for broken in (b"", content[:200], content[:300] + b"\1" + content[301:], b"PK" + content):
        with pytest.raises(ValueError, match="expected an index of frames"):
            FrameIndex.from_bytes(broken)


def test_a_worker_gives_the_same_index(plain):
    index, whole = index_and_frames(plain)
    with media.ClipReader(1) as reader:
        with pytest.raises(NotIndexedError, match="few frames, 100"):
            reader.index(ClipRequest(path=str(plain)))
        wanted = (50, 51)
        seek = index.seek(wanted)
        clip = reader.read(ClipRequest(path=str(plain), wanted=wanted, seek=seek))
        np.testing.assert_array_equal(clip.frames, whole.frames[50:52])
        assert len(clip.times) == 2


# A part of a file.


@pytest.mark.parametrize("fps", [None, 8.0, 60.0])
@pytest.mark.parametrize("name", ["b_frames.mp4", "variable_rate.mkv"])
def test_a_part_is_read_as_of_the_whole_and_spares_the_rest(tmp_path, monkeypatch, name, fps):
    path = film(tmp_path / name, *FILES[name], seconds=4)
    whole = media.read_timed_clips(path, target_fps=fps)
    seen = []

    def decode(request, limits):
        clip = decode_clip(request, limits)
        seen.append(len(clip.times))
        return clip

    monkeypatch.setattr("kvdiff.media.reading.decode_clip", decode)
    for count in (1, 5):
        for part, frames in ((dict(first=count), slice(count)), (dict(last=count), slice(-count, None))):
            found = media.read_timed_clips(path, target_fps=fps, **part)
            np.testing.assert_array_equal(found.frames, whole.frames[:, frames])
            assert (found.fps, found.source_fps) == (whole.fps, whole.source_fps)
    assert max(seen) < 30
    assert media.read_timed_clips(path, target_fps=fps, last=1000).frames.shape == whole.frames.shape


def test_a_part_of_what_has_no_index(tmp_path):
    clip = np.arange(6 * 8 * 8, dtype=np.uint8).reshape(2, 3, 8, 8, 1)
    np.save(tmp_path / "clips.npy", clip)
    np.testing.assert_array_equal(media.read_timed_clips(tmp_path / "clips.npy", last=2).frames, clip[:, -2:])
    np.testing.assert_array_equal(media.read_timed_clips(tmp_path / "clips.npy", first=2).frames, clip[:, :2])
    with pytest.raises(ValueError, match="`first`, `last`: expected at most one of them. Received: 1 and 2"):
        media.read_timed_clips(tmp_path / "clips.npy", first=1, last=2)
    with pytest.raises(ValueError, match="`last`"):
        media.read_timed_clips(tmp_path / "clips.npy", last=0)
