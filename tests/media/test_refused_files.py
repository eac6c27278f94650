"""Damaged, foreign and oversized files are refused, with the reason."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest

pytest.importorskip("av")

from kvdiff import media
from tests.media.conftest import encoded, random_clip, smooth_clip


def test_missing_unknown_and_special_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        media.read_clip(tmp_path / "none.gif")
    (tmp_path / "clip.txt").write_text("text")
    with pytest.raises(media.VideoError, match="expected a file ending in"):
        media.read_clip(tmp_path / "clip.txt")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ValueError, match="special file"):
        media.read_clip(tmp_path / "pipe.mp4")


@pytest.mark.parametrize("suffix", [".gif", ".mp4", ".webm", ".npy"])
def test_foreign_content_is_refused(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(b"this is a text, not a clip" * 50)
    with pytest.raises(ValueError, match=rf"clip{suffix}: expected a"):
        media.read_clip(path)


@pytest.mark.parametrize("playlist", ["ffconcat version 1.0\nfile target.mp4\n", "#EXTM3U\n#EXTINF:1,\ntarget.mp4\n"])
def test_a_playlist_in_disguise_reaches_no_other_file(tmp_path, playlist):
    media.write_clip(tmp_path / "target.mp4", smooth_clip(1))
    (tmp_path / "clip.mp4").write_text(playlist)
    with pytest.raises(ValueError, match="readable .mp4"):
        media.read_clip(tmp_path / "clip.mp4")


def test_a_video_with_fewer_frames_than_it_declares_is_refused(tmp_path):
    content = media.encode_clip(random_clip(frames=12), ".mp4")
    index = content.index(b"moov") - 4  # The index comes last; in front, as for streaming, it survives a cut.
    media_data = content.index(b"mdat") - 4
    moved = bytearray(content[:media_data] + content[index:] + content[media_data:index])
    offset = moved.index(b"stco") + 12
    shift = len(content) - index
    moved[offset : offset + 4] = (int.from_bytes(moved[offset : offset + 4], "big") + shift).to_bytes(4, "big")
    path = tmp_path / "clip.mp4"
    path.write_bytes(moved)
    assert len(media.read_clip(path)) == 12
    with pytest.importorskip("av").open(path) as container:
        ends = sorted(packet.pos + packet.size for packet in container.demux(video=0) if packet.size)
    path.write_bytes(moved[: ends[7]])
    with pytest.raises(ValueError, match="only [0-9]+ of its 12 frames"):
        media.read_clip(path)


@pytest.mark.parametrize("suffix", [".gif", ".mp4", ".npy"])
def test_a_file_cut_off_is_refused(tmp_path, suffix):
    path = media.write_clip(tmp_path / f"clip{suffix}", random_clip(frames=12))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(ValueError, match="expected"):
        media.read_clip(path)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (dict(frame_pixels=16 * 24 - 1), "expected a readable .mp4"),
        (dict(frames=5), "more than 5 frames"),
        (dict(clip_bytes=1000), "`clip_bytes`"),
        (dict(file_bytes=100), "expected at most 100 bytes"),
    ],
)
def test_a_video_past_a_limit_is_refused(tmp_path, limit, message):
    path = media.write_clip(tmp_path / "clip.mp4", smooth_clip(1))
    assert len(media.read_clip(path)) == 6
    with pytest.raises(media.VideoError, match=message) as refusal:
        media.read_clip(path, limits=media.ReadLimits(**limit))
    assert refusal.value.path == path
    assert str(refusal.value) == f"{path}: {refusal.value.reason}"


def test_an_array_past_a_limit_is_refused(tmp_path):
    np.save(tmp_path / "clip.npy", random_clip())
    with pytest.raises(media.VideoError, match="at most 1000 values"):
        media.read_clip(tmp_path / "clip.npy", limits=media.ReadLimits(clip_bytes=1000))


def test_npy_with_a_damaged_header_is_refused(tmp_path):
    path = tmp_path / "clip.npy"
    np.save(path, random_clip())
    path.write_bytes(path.read_bytes().replace(b"(6, 12,", b"(6, (((", 1))
    with pytest.raises(ValueError, match="clip.npy: expected a .npy array"):
        media.read_clip(path)


def test_npy_with_objects_or_wrong_values_is_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="expected a .npy array"):
        media.read_clip(tmp_path / "objects.npy")
    np.save(tmp_path / "range.npy", np.full((2, 4, 4, 1), 3.0))
    with pytest.raises(ValueError, match=r"expected values in \[-1, 1\]"):
        media.read_clip(tmp_path / "range.npy")
    np.save(tmp_path / "rank.npy", np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"Received: \[4, 4\]"):
        media.read_clip(tmp_path / "rank.npy")


def test_an_avi_cut_off_between_two_frames_is_refused(tmp_path):
    """Its frames decode without complaint, and its count proves nothing; its size tells."""
    content = encoded("mpeg4.avi")
    path = tmp_path / "clip.avi"
    path.write_bytes(content)
    assert len(media.read_clip(path)) == 10
    starts = [match.start() for match in re.finditer(b"00dc", content)]
    path.write_bytes(content[: starts[6]])
    with pytest.raises(media.VideoError, match=rf"{starts[6]} of its {len(content)} bytes \(cut off\?\)"):
        media.read_clip(path)
