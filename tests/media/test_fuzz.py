"""Damaged files: nothing crashes, nothing hangs, nothing leaks, and only `VideoError` comes out."""

from __future__ import annotations

import os
import pathlib
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("av")

from kvdiff import media
from tests.media.conftest import descriptors, encoded, memory

CODECS = ("h264.mp4", "vp9.webm", "mpeg4.avi", "gif.gif")
SECONDS = 5.0


def cut_off(content: bytearray, rng: np.random.Generator) -> bytearray:
    return content[: rng.integers(1, len(content))]


def flip_bits(content: bytearray, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(0, len(content), rng.integers(1, 30)):
        content[place] ^= 1 << rng.integers(8)
    return content


def blank_out(content: bytearray, rng: np.random.Generator) -> bytearray:
    start = rng.integers(len(content))
    length = int(rng.integers(1, len(content) // 4))
    content[start : start + length] = bytes(len(content[start : start + length]))
    return content


def set_extremes(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Numbers of four bytes, often sizes and counts, to their largest; in the first part, where headers are."""
    for start in rng.integers(0, max(len(content) // 4, 8), rng.integers(1, 6)):
        content[start : start + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0"])
    return content[: len(content)]


def shuffle_parts(content: bytearray, rng: np.random.Generator) -> bytearray:
    """A piece doubled, dropped or moved."""
    a, b, c = np.sort(rng.integers(0, len(content), 3))
    head, first, second, tail = content[:a], content[a:b], content[b:c], content[c:]
    return [head + second + first + tail, head + first + first + second + tail, head + second + tail][rng.integers(3)]


MUTATIONS = (cut_off, flip_bits, blank_out, set_extremes, shuffle_parts)


def run(reader: media.ClipReader, folder: pathlib.Path, seeds: range) -> Counter:
    """Read every (codec, mutation, seed); how many were "decoded" and how many "refused"."""
    outcome: Counter = Counter()
    originals = {codec: encoded(codec) for codec in CODECS}
    for seed in seeds:
        for codec, original in originals.items():
            for number, mutate in enumerate(MUTATIONS):
                damaged = mutate(bytearray(original), np.random.default_rng([seed, number]))
                outcome[read_one(reader, folder / codec, bytes(damaged), mutate)] += 1
    return outcome


def read_one(reader: media.ClipReader, path: pathlib.Path, content: bytes, mutate: Callable) -> str:
    path.write_bytes(content)
    start, reason = time.monotonic(), ""
    try:
        clip = reader.read(media.ClipRequest(path=str(path), size=(32, 32)))
    except media.VideoError as error:
        reason = error.reason
    assert time.monotonic() - start < SECONDS
    if reason:
        assert "died" not in reason and "to be decoded in" not in reason, (mutate.__name__, reason)
        return "refused"
    assert clip.frames.shape == (len(clip.times), 32, 32, 3) and len(clip.times) > 0
    assert (np.diff(clip.times) >= 0).all()
    return "decoded"


def fuzz(folder: pathlib.Path, seeds: range) -> Counter:
    with media.ClipReader(1, media.ReadLimits(seconds=SECONDS)) as reader:
        run(reader, folder, range(10**6, 10**6 + 2))  # Whatever is allocated once.
        (worker,) = reader._running
        held = {pid: (memory(pid), descriptors(pid)) for pid in (os.getpid(), worker._process.pid)}
        outcome = run(reader, folder, seeds)
        assert reader._running == {worker}  # The same process survived all of it.
        for pid, (bytes_before, files_before) in held.items():
            assert memory(pid) - bytes_before <= 50 * 2**20
            assert descriptors(pid) <= files_before
    return outcome


def test_damaged_files(tmp_path):
    outcome = fuzz(tmp_path, range(20))
    assert outcome.total() == len(CODECS) * len(MUTATIONS) * 20 == 400
    assert outcome["refused"] > 100  # Damage is noticed, and
    assert outcome["decoded"] > 20  # what decodes all the same went through the decoder.


@pytest.mark.slow
def test_ten_thousand_damaged_files(tmp_path):
    outcome = fuzz(tmp_path, range(1000, 1500))
    assert outcome.total() == 10_000
    assert outcome["refused"] > 2500 and outcome["decoded"] > 500
    print(dict(outcome))
