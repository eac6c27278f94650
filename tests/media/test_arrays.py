"""Arrays of clips: headers that claim too much, parts of archives, floats of another range."""

from __future__ import annotations

import struct
import time
import zipfile

import numpy as np
import pytest

pytest.importorskip("av")

from kvdiff import media
from kvdiff.media.archives import first_array
from kvdiff.media.reading import decode_clip

RNG = np.random.default_rng(0)


def header(shape) -> bytes:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def member(path, number: int) -> np.ndarray:
    return decode_clip(media.ClipRequest(path=str(path), member=number), media.ReadLimits()).frames


# What a header claims.


@pytest.mark.parametrize("shape", [(10**7, 8, 16, 16, 3), (1, 8, 16, 16, 3), (10**7, 1, 1, 1), (-1, -1, 1, 1)])
def test_a_header_alone_is_no_array(tmp_path, shape):
    (tmp_path / "claim.npy").write_bytes(header(shape))
    with pytest.raises(media.VideoError, match="bytes of values. Received: 0|expected an array"):
        media.num_clips(tmp_path / "claim.npy")
    with zipfile.ZipFile(tmp_path / "claim.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("clips.npy", header(shape))
    with pytest.raises(media.VideoError, match="bytes of values. Received: 0|expected an array"):
        media.num_clips(tmp_path / "claim.npz")


def test_a_member_that_claims_more_than_deflate_can_hold_is_refused(tmp_path):
    path = tmp_path / "claim.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("clips.npy", header((10**7, 8, 16, 16, 3)))
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 24 : entry + 28] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(content)
    with pytest.raises(media.VideoError, match="claims to hold 4294967294"):
        media.num_clips(path)


def test_a_directory_of_millions_of_members_is_refused(tmp_path, monkeypatch):
    """Before `zipfile`, which keeps every member in memory, sees it; 64-bit directories too."""
    monkeypatch.setattr("kvdiff.media.archives._LARGEST_DIRECTORY", 10_000)
    for number, limit in ((100, 2**31), (500, 2**31), (500, 100)):
        monkeypatch.setattr("zipfile.ZIP64_LIMIT", limit)
        with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
            for index in range(number):
                archive.writestr(f"{index}.txt", b"")
            archive.writestr("clip.npy", header((1, 1, 1, 1, 1)) + b"x")
        if number == 100:
            assert media.num_clips(tmp_path / "many.npz") == 1
            continue
        with pytest.raises(media.VideoError, match="a directory of [0-9]+ bytes, more than 10000"):
            media.num_clips(tmp_path / "many.npz")


def test_an_array_of_more_clips_than_can_be_listed_is_refused(tmp_path):
    with (tmp_path / "sparse.npy").open("wb") as file:
        file.write(header((2**31, 1, 1, 1, 1)))
        file.truncate(128 + 2**31)
    with pytest.raises(media.VideoError, match="expected at most 10000000 clips in a file. Received: 2147483648"):
        media.num_clips(tmp_path / "sparse.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_changed_archive_is_refused(tmp_path, save):
    path, clip = tmp_path / "clip.npz", RNG.integers(0, 4, (8, 16, 16, 3), dtype=np.uint8)
    save(path, clip)
    content = path.read_bytes()
    np.testing.assert_array_equal(media.read_clip(path, channels=3), clip)
    for place in range(200, len(content) - 200, len(content) // 7):
        changed = bytearray(content)
        changed[place] ^= 4
        path.write_bytes(changed)
        with pytest.raises(media.VideoError, match="expected a (readable|.npz) array"):
            media.read_clip(path)


# Many clips in one archive.


def test_every_part_of_an_archive_is_what_numpy_reads(tmp_path, monkeypatch):
    monkeypatch.setattr("kvdiff.media.archives._SHORTEST", 5000)
    monkeypatch.setattr("kvdiff.media.archives._PIECE", 999)
    values = np.repeat(RNG.integers(0, 256, 30_000, dtype=np.uint8), 3)
    for name, save in (("stored.npz", np.savez), ("deflated.npz", np.savez_compressed)):
        save(tmp_path / name, values)
        with (tmp_path / name).open("rb") as file:
            part = first_array(file, (hash(name),))
            assert part.size == 128 + len(values)
            for start in RNG.integers(0, part.size, 60):
                count = int(RNG.integers(1, 4000))
                wanted = values[max(start - 128, 0) : max(start - 128 + count, 0)].tobytes()
                assert part.read(file, int(start), count)[max(128 - int(start), 0) :] == wanted
        assert len(part._marks) == (1 if name == "stored.npz" else pytest.approx(18, abs=2))


def test_a_late_clip_costs_no_more_than_an_early_one(tmp_path):
    """After the first look at the end; NumPy decompresses all 59 MB each time."""
    clips = np.zeros((1200, 8, 32, 64, 3), np.uint8)
    clips[:, 0, 0, 0, 0] = np.arange(1200) % 256
    np.savez_compressed(tmp_path / "clips.npz", clips)
    assert member(tmp_path / "clips.npz", 1199)[0, 0, 0, 0] == 1199 % 256
    start = time.perf_counter()
    for number in (1198, 1197, 600, 1196, 10, 1195):
        assert member(tmp_path / "clips.npz", number)[0, 0, 0, 0] == number % 256
    per_clip = (time.perf_counter() - start) / 6
    start = time.perf_counter()
    with np.load(tmp_path / "clips.npz") as archive, archive.zip.open("arr_0.npy") as file:
        while file.read(2**20):
            pass
    assert per_clip < 0.5 * (time.perf_counter() - start)


def test_a_file_that_changes_is_looked_at_anew(tmp_path):
    for value in (3, 7):
        np.savez_compressed(tmp_path / "clips.npz", np.full((2, 4, 4, 4, 3), value, np.uint8))
        assert member(tmp_path / "clips.npz", 1).max() == value


# Floats.


def test_floats_from_0_to_1_are_read_with_a_warning(tmp_path):
    clip = RNG.random((4, 6, 6, 3)).astype(np.float32)
    np.save(tmp_path / "unit.npy", clip)
    with pytest.warns(UserWarning, match=r"unit.npy: its floats lie in \[0, 1\] .* pass 2 \* clip - 1 or uint8"):
        again = media.read_clip(tmp_path / "unit.npy")
    np.testing.assert_array_equal(again, media.to_pixels(clip))  # Said, not guessed.
    with pytest.warns(UserWarning, match=r"`clip`: its floats lie in \[0, 1\]"):
        media.encode_clip(clip, ".webm")


@pytest.mark.parametrize("clip", [np.zeros((2, 4, 4, 1)), np.linspace(-1, 1, 32).reshape(2, 4, 4, 1)])
def test_other_floats_are_read_in_silence(tmp_path, clip, recwarn):
    np.save(tmp_path / "clip.npy", clip)
    media.read_clip(tmp_path / "clip.npy")
    media.encode_clip(clip, ".webm")
    assert not recwarn.list
