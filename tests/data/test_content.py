"""A training that goes on knows its videos by what they hold."""

from __future__ import annotations

import os

import numpy as np
import pytest

from kvdiff.data import list_directory, list_paths, video_batches
from kvdiff.data.content import file_digests
from kvdiff.training.checkpoint_facts import check_data


@pytest.fixture
def videos(tmp_path, rng):
    """Two arrays and a folder of two frames."""
    folder = tmp_path / "videos"
    (folder / "frames").mkdir(parents=True)
    for name in "ab":
        np.save(folder / f"{name}.npy", rng.integers(0, 256, (6, 64, 64, 1), dtype=np.uint8))
    for index in range(2):
        (folder / "frames" / f"{index}.png").write_bytes(bytes([index]) * 100)
    return folder


def rewrite(path, offset, keep_time=True):
    """Change one byte, as if the file had been made anew with the same size."""
    content, status = bytearray(path.read_bytes()), path.stat()
    content[offset] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + (0 if keep_time else 10**9)))


def digests(folder, digest="parts"):
    return file_digests(list_directory(folder, labels=None).file_paths, digest)


@pytest.mark.parametrize("name", ["a.npy", "b.npy", "frames/1.png"])
@pytest.mark.parametrize("offset", [0, -1])
def test_another_byte_at_the_beginning_or_the_end_is_seen(videos, name, offset):
    before = digests(videos)
    rewrite(videos / name, offset)
    content, times = digests(videos)
    assert content != before[0] and times == before[1]


def test_between_the_blocks_only_the_whole_digest_and_the_time_tell(videos):
    parts, whole, size = digests(videos), digests(videos, "all"), (videos / "a.npy").stat().st_size
    assert size > 8 * 3 * 1024
    rewrite(videos / "a.npy", (size - 4096) // 7 // 2 + 2048, keep_time=False)
    assert digests(videos) != parts
    path = videos / "a.npy"
    rewrite(path, 0)
    rewrite(path, 0)
    assert digests(videos, "all")[0] != whole[0]


def test_only_names_relative_to_each_other_count(videos, tmp_path):
    before = digests(videos)
    videos.rename(tmp_path / "elsewhere")
    assert digests(tmp_path / "elsewhere") == before


def test_what_cannot_be_read_counts_as_that(tmp_path):
    assert file_digests([tmp_path / "none.mp4"]) != file_digests([])
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.mp4")
        assert file_digests([tmp_path / "pipe.mp4"]) != file_digests([tmp_path / "none.mp4"])  # And does not wait.


def batches(folder, **options):
    listing = list_paths([folder / "a.npy", folder / "b.npy"])
    return video_batches(listing, num_frames=4, image_size=8, color_mode="grayscale", batch_size=2, **options)


@pytest.mark.parametrize("digest", ["parts", "all"])
def test_batches_of_other_videos_under_the_same_names_are_refused(videos, digest):
    saved = batches(videos, digest=digest).config
    assert check_data(videos, saved, batches(videos, digest=digest).config) == []
    rewrite(videos / "b.npy", -1)
    with pytest.raises(ValueError, match=r"`batches`: expected those of .*content.sha256=.*sha256 tells other files"):
        check_data(videos, saved, batches(videos, digest=digest).config)


def test_files_that_were_written_anew_with_the_same_bytes_are_warned_of_unless_all_bytes_are_known(videos):
    parts, whole = batches(videos).config, batches(videos, digest="all").config
    os.utime(videos / "a.npy", ns=(1, 1))
    assert check_data(videos, parts, batches(videos).config) == [
        "the files were written anew since, with the same sizes and, where compared, the same bytes"
    ]
    assert check_data(videos, whole, batches(videos, digest="all").config) == []


def test_what_an_earlier_version_did_not_save_is_not_compared(videos):
    now = batches(videos).config
    earlier = {name: value for name, value in now.items() if name not in ("content", "file_times")}
    assert check_data(videos, earlier, now) == []
    with pytest.raises(ValueError, match="with batch_size=3. Received: batch_size=2"):
        check_data(videos, {**earlier, "batch_size": 3}, now)


def test_digest_is_one_of_two(videos):
    with pytest.raises(ValueError, match="`digest`: expected one of .'all', 'parts'.. Received: 'none'"):
        batches(videos, digest="none")
