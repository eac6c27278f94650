"""Data sets from folders: shapes, labels, order, split, cache, bad files."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("av")

import tensorflow as tf

from kvdiff import media
from kvdiff.data import VideoError, list_directory, list_paths, video_batches, video_dataset_from_directory
from tests.data.conftest import SMALL, first_values, numbered_clip


def test_shapes_are_static_and_the_pixels_those_of_the_files(folder):
    dataset = video_dataset_from_directory(folder, **SMALL)
    clips, labels = dataset.element_spec
    assert (clips.shape, clips.dtype) == ((None, 4, 8, 8, 3), tf.uint8)
    assert (labels.shape, labels.dtype) == ((None,), tf.int32)
    assert dataset.class_names == ["a", "b"]
    assert dataset.file_paths == sorted(dataset.file_paths) and len(dataset.file_paths) == 10
    assert int(dataset.cardinality()) == 3
    seen = []
    for clips, labels in dataset:
        steps = np.diff(clips.numpy().astype(int), axis=1)
        assert (steps == 1).all()  # Frames follow each other, every pixel.
        seen += zip(labels.numpy().tolist(), (clips.numpy()[:, 0, 0, 0, 0] // 20).tolist(), strict=True)
    assert sorted(seen) == [(0, index) for index in range(6)] + [(1, index) for index in range(6, 10)]


def test_an_epoch_is_a_function_of_seed_and_number(folder):
    one, other = (video_dataset_from_directory(folder, **SMALL, seed=5) for _ in range(2))
    first, second = first_values(one), first_values(one)
    assert first != second
    assert [first_values(other), first_values(other)] == [first, second]
    assert first_values(video_dataset_from_directory(folder, **SMALL, seed=6)) != first


@pytest.mark.parametrize("start", [1, 2, 5])
def test_a_data_set_begins_at_any_step(folder, start):
    batches = video_dataset_from_directory(folder, **SMALL, seed=5).batches
    assert batches.steps_per_epoch == 2
    every = first_values(batches.dataset().take(8))
    assert all(len(batch) == 4 for batch in every)
    assert first_values(batches.dataset(start).take(8 - start)) == every[start:]


def test_fewer_clips_than_a_batch_make_no_endless_data_set(folder):
    batches = video_dataset_from_directory(folder, **{**SMALL, "batch_size": 11}).batches
    with pytest.raises(ValueError, match="`batch_size`: expected at most 10, .* Received: 11"):
        batches.dataset()


def test_the_configuration_tells_other_data_apart(folder, tmp_path):
    def config(**options):
        return video_dataset_from_directory(folder, **{**SMALL, **options}).batches.config

    assert json.loads(json.dumps(config())) == json.loads(json.dumps(config()))
    changes = (
        dict(seed=1),
        dict(batch_size=2),
        dict(image_size=16),
        dict(frame_stride=2),
        dict(class_names=["b", "a"]),
    )
    assert all(config(**change) != config() for change in changes)


def test_uniform_clips_in_order_stay_where_they_are(folder):
    dataset = video_dataset_from_directory(folder, **SMALL, clip_sampling="uniform", shuffle=False)
    values = first_values(dataset)
    assert values == first_values(dataset)
    assert values[0] == [4, 24, 44, 64]  # The middle of nine beginnings.


def test_all_clips_of_every_video(folder):
    dataset = video_dataset_from_directory(
        folder, labels=None, **SMALL, clip_sampling="all", window_step=4, shuffle=False, cache="memory"
    )
    values = np.concatenate(first_values(dataset)).tolist()
    assert values == [20 * video + start for video in range(10) for start in (0, 4, 8)]


def test_times_decide_with_a_rate(folder):
    dataset = video_dataset_from_directory(
        folder, labels=None, **SMALL, target_fps=5.0, clip_sampling="uniform", shuffle=False
    )
    clip = next(iter(dataset)).numpy()[0, :, 0, 0, 0]
    assert clip.tolist() == [2, 4, 6, 8]  # Of 10 frames a second.


@pytest.mark.parametrize(
    ("mode", "first", "last"),
    [("int", 0, 1), ("categorical", [1.0, 0.0], [0.0, 1.0]), ("binary", [0.0], [1.0])],
)
def test_label_modes(folder, mode, first, last):
    dataset = video_dataset_from_directory(folder, **SMALL, label_mode=mode, shuffle=False)
    labels = np.concatenate([labels.numpy() for _, labels in dataset])
    assert labels[0].tolist() == first and labels[-1].tolist() == last


def test_labels_given_left_out_and_renamed(folder):
    assert video_dataset_from_directory(folder, None, **SMALL).element_spec.shape == (None, 4, 8, 8, 3)
    assert video_dataset_from_directory(folder, **SMALL, label_mode=None).element_spec.shape == (None, 4, 8, 8, 3)
    given = video_dataset_from_directory(folder, list(range(10)), **SMALL, shuffle=False)
    assert np.concatenate([labels for _, labels in given]).tolist() == list(range(10))
    renamed = video_dataset_from_directory(folder, class_names=["b"], **SMALL)
    assert renamed.class_names == ["b"] and len(renamed.file_paths) == 4


def test_grey_clips(folder):
    clips, _ = next(iter(video_dataset_from_directory(folder, **SMALL, color_mode="grayscale")))
    assert clips.shape == (4, 4, 8, 8, 1)


def test_the_split_is_by_file(folder):
    training, validation = video_dataset_from_directory(folder, **SMALL, validation_split=0.3, subset="both", seed=2)
    assert (len(training.file_paths), len(validation.file_paths)) == (7, 3)
    assert not set(training.file_paths) & set(validation.file_paths)
    alone = video_dataset_from_directory(folder, **SMALL, validation_split=0.3, subset="validation", seed=2)
    assert alone.file_paths == validation.file_paths
    videos = {value // 20 for batch in first_values(validation) for value in batch}
    assert len(videos) == 3


def test_every_kind_of_clip_in_one_folder(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    clips = [numbered_clip(20 * index) for index in range(7)]
    np.save(tmp_path / "0.npy", clips[0])
    np.save(tmp_path / "1.npy", np.stack(clips[1:3]))  # Two clips in one file.
    np.savez_compressed(tmp_path / "2.npz", clips=clips[3])
    np.save(tmp_path / "3.npy", np.asfortranarray(np.stack(clips[4:6])))
    media.write_clip(tmp_path / "4.gif", clips[6], fps=10)
    (tmp_path / "5").mkdir()
    for index, frame in enumerate(numbered_clip(140)):
        pillow.fromarray(frame).save(tmp_path / "5" / f"frame_{index}.png")  # 10 comes after 9.
    (tmp_path / "notes.txt").write_text("no clip")
    dataset = video_dataset_from_directory(
        tmp_path, None, **SMALL, clip_sampling="all", window_step=4, shuffle=False, cache="memory"
    )
    values = np.concatenate(first_values(dataset)).tolist()
    assert values == [20 * video + start for video in range(8) for start in (0, 4, 8)]
    with pytest.raises(VideoError, match="expected a clock, .*`default_fps` says"):
        video_dataset_from_directory(tmp_path, None, **SMALL, clip_sampling="all", target_fps=5)
    clocked = video_dataset_from_directory(
        tmp_path, None, **SMALL, clip_sampling="uniform", target_fps=5, default_fps=10, shuffle=False
    )
    assert next(iter(clocked)).numpy()[0, :, 0, 0, 0].tolist() == [2, 4, 6, 8]


def test_the_cache_holds_what_was_decoded_and_sees_changes(folder, tmp_path, monkeypatch):
    options = dict(**SMALL, clip_sampling="uniform", shuffle=False, cache=tmp_path / "cache")
    plain = [clips.numpy() for clips, _ in video_dataset_from_directory(folder, **{**options, "cache": None})]
    written = [clips.numpy() for clips, _ in video_dataset_from_directory(folder, **options)]
    monkeypatch.setattr("kvdiff.media.ClipReader.read", None)  # From here on nothing may be decoded.
    kept = [clips.numpy() for clips, _ in video_dataset_from_directory(folder, **options)]
    for one, two, three in zip(plain, written, kept, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    monkeypatch.undo()
    files = sorted((tmp_path / "cache").rglob("*.npy"))
    assert len(files) == 20
    for file in files:
        file.write_bytes(file.read_bytes()[:-7])  # Cut off: decoded again.
    again = [clips.numpy() for clips, _ in video_dataset_from_directory(folder, **options)]
    np.testing.assert_array_equal(plain[0], again[0])


def test_a_changed_file_is_decoded_again(tmp_path):
    path = media.write_clip(tmp_path / "clip.gif", numbered_clip(0), fps=10)
    options = dict(**SMALL, clip_sampling="uniform", cache=tmp_path / ".cache")
    before = next(iter(video_dataset_from_directory(tmp_path, None, **options))).numpy()
    media.write_clip(path, numbered_clip(50), fps=10)
    after = next(iter(video_dataset_from_directory(tmp_path, None, **options))).numpy()
    assert (after - before == 50).all()


# What is said, and what is refused.


def test_what_was_found_and_how_fast_is_printed(folder, capsys):
    dataset = video_dataset_from_directory(
        folder, **{**SMALL, "verbose": True}, validation_split=0.3, subset="training"
    )
    list(dataset)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["Found 10 files belonging to 2 classes.", "Using 7 files for training."]
    assert lines[2].startswith("Read 7 clips, 28 frames, in ") and lines[2].endswith(" frames/s.")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(validation_split=0.5), "expected both or neither"),
        (dict(validation_split=0.01, subset="training"), "leaves files on both sides"),
        (dict(validation_split=1.5, subset="training"), "`validation_split`"),
        (dict(subset="test", validation_split=0.5), "`subset`: expected one of"),
        (dict(color_mode="rgba"), "`color_mode`: expected one of"),
        (dict(label_mode="one-hot"), "`label_mode`: expected one of"),
        (dict(on_bad="ignore"), "`on_bad`: expected one of"),
        (dict(labels="folders"), "`labels`: expected one of"),
        (dict(labels=[0, 1]), "expected one integer >= 0 a file, 10"),
        (dict(class_names=["c"]), "`class_names`: expected folders"),
        (dict(num_frames=0), "`num_frames`"),
        (dict(batch_size=0), "`batch_size`"),
        (dict(image_size=(8, 8, 3)), r"`image_size`: expected \(height, width\)"),
        (dict(seed=-1), "`seed`"),
        (dict(cache="{folder}/a/cache"), "`cache`: expected a folder outside"),
    ],
)
def test_bad_arguments_are_named(folder, options, message):
    options = {key: value.format(folder=folder) if key == "cache" else value for key, value in options.items()}
    with pytest.raises((ValueError, TypeError), match=message):
        video_dataset_from_directory(folder, **{**SMALL, **options})


def test_folders_without_videos(tmp_path):
    with pytest.raises(NotADirectoryError, match="no such folder"):
        video_dataset_from_directory(tmp_path / "none")
    with pytest.raises(ValueError, match="a folder a class"):
        video_dataset_from_directory(tmp_path)
    with pytest.raises(ValueError, match="files that hold clips"):
        video_dataset_from_directory(tmp_path, None)


def test_batches_need_no_tensorflow_to_be_read(folder):
    batches = video_batches(list_directory(folder, None), num_frames=4, image_size=(8, 8), num_workers=1, seed=5)
    clip, label = batches.sample(epoch=0, position=3)
    assert clip.shape == (4, 8, 8, 3) and label is None
    np.testing.assert_array_equal(clip, batches.sample(0, 3)[0])


def test_paths_may_be_files_and_folders(folder):
    listing = list_paths([folder / "b", folder / "a" / "1.gif"])
    assert [video.path.name for video in listing.videos] == ["0.gif", "1.gif", "2.gif", "3.gif", "1.gif"]
    assert listing.labels is None
    with pytest.raises(ValueError, match="expected at least one video"):
        list_paths([])
    for name in ("none.gif", "none"):
        with pytest.raises(FileNotFoundError, match=f"{name}: no such file or folder"):
            list_paths([folder / name])


def test_long_videos_are_measured_before_their_frames_are_kept(folder, monkeypatch):
    asked = []
    read = media.ClipReader.read
    monkeypatch.setattr(
        "kvdiff.media.ClipReader.read", lambda self, request: asked.append(request.wanted) or read(self, request)
    )
    options = dict(**{**SMALL, "batch_size": 1}, clip_sampling="uniform", shuffle=False)
    whole = video_dataset_from_directory(folder, None, **options).batches.sample(0, 0)[0]
    assert asked == [None]
    monkeypatch.setattr("kvdiff.data.store._SPARE", 10)
    batches = video_dataset_from_directory(folder, None, **options).batches
    np.testing.assert_array_equal(batches.sample(0, 0)[0], whole)
    np.testing.assert_array_equal(batches.sample(1, 0)[0], whole)
    assert asked == [None, None, (4, 5, 6, 7), (4, 5, 6, 7)]  # The second kept nothing.
