"""Bad and short files: raised, skipped and reported, or left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("av")

import tensorflow as tf

from kvdiff import media
from kvdiff.data import VideoError, list_paths, video_batches, video_dataset_from_directory
from tests.data.conftest import SMALL, first_values, numbered_clip


@pytest.fixture
def bad_folder(tmp_path):
    for index in range(8):
        media.write_clip(tmp_path / f"{index}.gif", numbered_clip(20 * index), fps=10)
    (tmp_path / "3.gif").write_bytes(b"GIF89a, or not")
    media.write_clip(tmp_path / "5.gif", numbered_clip(0, frames=3), fps=10)  # Too short.
    return tmp_path


def test_a_bad_file_raises(bad_folder):
    dataset = video_dataset_from_directory(bad_folder, None, **SMALL)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(3|5).gif: expected"):
        list(dataset)
    with pytest.raises(VideoError, match=r"3.gif: expected a readable"):
        video_dataset_from_directory(bad_folder, None, **SMALL, clip_sampling="all")


def test_skipped_files_are_reported_and_their_places_taken(bad_folder, tmp_path):
    options = dict(**SMALL, on_bad="skip", max_bad_share=0.25, report=tmp_path / "bad.json", seed=1)
    dataset = video_dataset_from_directory(bad_folder, None, **options)
    values = first_values(dataset)
    assert [len(batch) for batch in values] == [4, 4]
    assert {value // 20 for batch in values for value in batch} == {0, 1, 2, 4, 6, 7}
    report = json.loads((tmp_path / "bad.json").read_text())
    assert (report["num_videos"], report["num_bad"]) == (8, 2)
    reasons = {path.rsplit("/")[-1]: reason for path, reason in (row.values() for row in report["bad"])}
    assert "readable .gif" in reasons["3.gif"] and "at least 4 frames. Received: 3" in reasons["5.gif"]
    assert {error.path.name for error in dataset.batches.bad_files.errors.values()} == {"3.gif", "5.gif"}
    # The same batches for one who has known the bad files all along, and one who begins in the middle.
    batches = dataset.batches
    assert first_values(batches.dataset().take(2)) == values
    late = video_dataset_from_directory(bad_folder, None, **options).batches.dataset(1).take(1)
    assert first_values(late) == values[1:]


def test_too_many_bad_files_raise_after_all(bad_folder):
    options = dict(**SMALL, on_bad="skip", max_bad_share=0.2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="bad file 2 of 8, more than the share of 0.2"):
        list(video_dataset_from_directory(bad_folder, None, **options))


def test_all_clips_leave_out_short_videos_and_say_so(bad_folder):
    said: list[str] = []
    batches = video_batches(
        list_paths([bad_folder / "5.gif", bad_folder / "6.gif"]),
        num_frames=4,
        image_size=8,
        clip_sampling="all",
        batch_size=3,
        num_workers=1,
        shuffle=False,
        announce=said.append,
    )
    assert said == [f"Note: {bad_folder / '5.gif'} has 3 frames, fewer than 4; left out."]
    assert batches.num_samples == 3
    assert [batches.sample(0, position)[0][0, 0, 0, 0] for position in range(3)] == [120, 124, 128]
    assert said[1].startswith("Read 3 clips, 12 frames, in ")


def test_the_command_reads_with_the_same_loader(bad_folder, tmp_path):
    train = pytest.importorskip("kvdiff.cli.train_data")
    said: list[str] = []
    options = dict(
        window_step=4, target_fps=5.0, cache=tmp_path / ".cache", seed=0, on_bad="skip", announce=said.append
    )
    with pytest.raises(VideoError, match="3.gif: expected a readable .gif.*more than the share of 0.1"):
        train.windows_of([bad_folder], (4, 8, 8, 1), 16, **options)
    (bad_folder / "3.gif").unlink()
    batches = train.windows_of([bad_folder], (4, 8, 8, 1), 16, **options)
    assert said[-1] == f"Note: {bad_folder / '5.gif'} has 2 frames, fewer than 4; left out."
    assert batches.num_samples == batches.batch_size == 6 and batches.steps_per_epoch == 1
    clip, _ = batches.sample(0, 0)
    assert clip.shape == (4, 8, 8, 1) and np.diff(clip[:, 0, 0, 0].astype(int)).tolist() == [2, 2, 2]
