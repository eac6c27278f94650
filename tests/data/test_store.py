"""Clips of long videos without a cache: decoded from the key frame before them, the same as from the beginning."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("av")
pytest.importorskip("imageio_ffmpeg")

from kvdiff.data import VideoError, list_paths, video_batches
from kvdiff.media import ClipReader
from tests.media.conftest import film

LONG = dict(num_frames=4, image_size=8, batch_size=2, num_workers=1, label_mode=None, clips_per_video=6)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """520 frames, a key frame every 40."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    return film(path, "-c:v", "libx264", "-g", 40, "-sc_threshold", 0, seconds=20.8)


def samples(batches, epoch: int = 0) -> np.ndarray:
    return np.stack([batches.sample(epoch, place)[0] for place in range(batches.num_samples)])


@pytest.mark.parametrize("options", [{}, dict(target_fps=10.0), dict(frame_stride=9), dict(clip_sampling="all")])
def test_clips_are_those_of_the_decoded_whole(long, options):
    options = {**LONG, **options, **(dict(window_step=90) if options.get("clip_sampling") else {})}
    without, whole = (video_batches(list_paths([long]), cache=cache, **options) for cache in (None, "memory"))
    assert without.num_samples == whole.num_samples > 4
    np.testing.assert_array_equal(samples(without), samples(whole))
    assert without.config == whole.config
    assert without.store.frames_decoded < 40 * without.num_samples


def test_an_index_is_kept_and_one_that_is_damaged_made_again(long, tmp_path, monkeypatch):
    made = []
    index = ClipReader.index
    monkeypatch.setattr(ClipReader, "index", lambda self, request: made.append(1) or index(self, request))

    def clips() -> np.ndarray:
        return samples(video_batches(list_paths([long]), index=tmp_path / "indices", **LONG))

    first = clips()
    (path,) = (tmp_path / "indices").rglob("*.index")
    np.testing.assert_array_equal(clips(), first)
    assert len(made) == 1
    path.write_bytes(path.read_bytes()[:-100])
    np.testing.assert_array_equal(clips(), first)
    assert len(made) == 2
    with pytest.raises(ValueError, match="`index`: expected a folder outside"):
        video_batches(list_paths([long.parent]), index=long.parent / "indices", **LONG)


def test_a_long_file_that_cannot_be_sought_says_so_once(tmp_path):
    path = film(tmp_path / "long.avi", "-c:v", "mpeg4", seconds=20.8)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        clips = [samples(video_batches(list_paths([path]), cache=cache, **LONG)) for cache in (None, "memory")]
    np.testing.assert_array_equal(*clips)
    assert [str(warning.message) for warning in said] == [
        f"{path}: each of its clips is decoded from its beginning; a `cache` spares that (its codec is mpeg4) (said of "
        "the first such file alone)"
    ]


def test_which_clips_of_a_damaged_file_are_good_does_not_depend_on_their_order(long, tmp_path):
    import av

    with av.open(str(long)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(long.read_bytes())
    place, size = packets[200]  # A key frame.
    content[place + size // 2 : place + size] = bytes(size - size // 2)
    (tmp_path / "long.mp4").write_bytes(content)
    options = {**LONG, "clips_per_video": 30, "on_bad": "skip", "max_bad_share": 1.0}

    def found(places) -> dict[int, np.ndarray]:
        batches = video_batches(list_paths([tmp_path / "long.mp4"]), **options)
        clips = {place: batches.sample(0, place)[0] for place in places}
        assert batches.bad_files.errors
        return clips

    forwards, backwards = found(range(30)), found(reversed(range(30)))
    for place in range(30):
        np.testing.assert_array_equal(forwards[place], backwards[place])
    batches = video_batches(list_paths([tmp_path / "long.mp4"]), **{**options, "on_bad": "raise"})
    with pytest.raises(VideoError, match="expected a readable .mp4"):
        samples(batches)
