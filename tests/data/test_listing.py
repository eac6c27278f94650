"""Listings: links, names that are no UTF-8, what systems leave behind, and arrays of very many clips."""

from __future__ import annotations

import errno
import json
import os
import time
import warnings

import numpy as np
import pytest

pytest.importorskip("av")

from kvdiff import media
from kvdiff.data import (
    VideoError,
    inspect_videos,
    kinetics,
    list_directory,
    list_paths,
    ucf101,
    video_batches,
    video_dataset_from_csv,
    video_dataset_from_directory,
)
from tests.data.conftest import SMALL, numbered_clip

READING = dict(num_frames=4, image_size=8, num_workers=1, batch_size=1)


def first_greys(listing, **options) -> list[int]:
    """Of the clip of every video, the first."""
    batches = video_batches(listing, clip_sampling="all", window_step=100, shuffle=False, **READING, **options)
    return [int(batches.sample(0, position)[0][0, 0, 0, 0]) for position in range(batches.num_samples)]


# Links.


@pytest.fixture
def hub(tmp_path):
    """As a hub's cache: named links to blobs outside of the folder, one of them a class."""
    blobs, root = tmp_path / "blobs", tmp_path / "snapshot"
    (blobs / "folder").mkdir(parents=True)
    (root / "a").mkdir(parents=True)
    for index, name in enumerate(("0af3", "folder/1.gif")):
        (blobs / name).write_bytes(media.encode_clip(numbered_clip(20 * index), ".gif", fps=10))
    (root / "a" / "0.gif").symlink_to("../../blobs/0af3")
    (root / "b").symlink_to(blobs / "folder")
    return root, blobs


def test_links_out_of_a_folder_are_bad_files_unless_allowed(hub, tmp_path):
    root, blobs = hub
    for listing in (list_directory(root), list_directory(root, None), list_paths([root])):
        with pytest.raises(VideoError, match="`links` says where links may lead"):
            first_greys(listing)
    for links in ("anywhere", blobs, str(blobs)):
        for listing in (
            list_directory(root, links=links),
            list_directory(root, None, links=links),
            list_paths([root], links=links),
        ):
            assert first_greys(listing) == [0, 20]
    assert list_directory(root, links=blobs).labels.tolist() == [0, 1]
    with pytest.raises(NotADirectoryError, match="`links`"):
        list_directory(root, links=tmp_path / "none")
    with media.ClipReader(1) as reader:
        assert len(inspect_videos(list_directory(root, links=blobs), reader).good) == 2
        assert len(inspect_videos(list_directory(root), reader).bad) == 2


def test_every_loader_has_the_option(hub, tmp_path):
    pytest.importorskip("tensorflow")
    root, blobs = hub
    (root / "clips.csv").write_text("path,label\na/0.gif,x\n")
    (root / "classInd.txt").write_text("1 a\n")
    (root / "trainlist01.txt").write_text("a/0.gif 1\n")
    (root / "train.csv").write_text("label,youtube_id,time_start,time_end\nx,0,0,10\n")
    options = dict(SMALL, clip_sampling="uniform")
    loaders = {
        "directory": lambda **more: video_dataset_from_directory(root, **more),
        "csv": lambda **more: video_dataset_from_csv(root / "clips.csv", **more),
        "ucf101": lambda **more: ucf101(root, root, **more),
        "kinetics": lambda **more: kinetics(root, root / "train.csv", **more),
    }
    for loader in loaders.values():
        assert loader(links=blobs, **options).batches.sample(0, 0)[0].shape == (4, 8, 8, 3)
        with pytest.raises(VideoError, match="`links`"):
            loader(**options).batches.sample(0, 0)


def test_a_path_that_is_named_is_followed(hub):
    root, _ = hub
    assert first_greys(list_paths([root / "a" / "0.gif"])) == [0]
    assert first_greys(list_paths([root / "b"])) == [20]


def test_commands_have_the_option(hub, tmp_path):
    typer = pytest.importorskip("typer.testing")
    from kvdiff.cli.app import app

    root, blobs = hub
    run = typer.CliRunner().invoke
    assert run(app, ["data", "inspect", str(root), "-o", str(tmp_path / "a")]).exit_code == 1
    allowed = ["data", "inspect", str(root), "-o", str(tmp_path / "a"), "--links", str(blobs), "--workers", "1"]
    assert run(app, allowed).exit_code == 0
    for command in ("train", "evaluate", "predict", "interpolate", "infill", "rollout"):
        assert "--links" in run(app, [command, "--help"]).output


# Names.


@pytest.fixture
def odd_names(tmp_path):
    """Four clips, one of whose names is Latin-1."""
    root = tmp_path / "clips"
    root.mkdir()
    for index, name in enumerate((b"a.gif", b"caf\xe9.gif", b"b.gif", b"c.gif")):
        try:
            with open(os.fsencode(root) + b"/" + name, "wb") as file:
                file.write(media.encode_clip(numbered_clip(20 * index), ".gif", fps=10))
        except OSError:
            pytest.skip("this file system wants UTF-8")
    return root


def test_names_that_are_no_utf8_can_be_listed_split_and_read(odd_names):
    listing = list_directory(odd_names, None)
    assert sorted(first_greys(listing)) == [0, 20, 40, 60]
    parts = [listing.split(0.5, part, seed=1) for part in ("training", "validation")]
    assert sorted(path for part in parts for path in part.file_paths) == sorted(listing.file_paths)
    assert len(json.loads(json.dumps(video_batches(listing, **READING).config))["sha256"]) == 64


def test_names_that_are_utf8_keep_their_split():
    """Trainings that exist go on with the split that they had."""
    from kvdiff.data.order import held_out

    assert held_out(["a.gif", "é.gif", "b.gif", "c.gif"], 0.5, 3).tolist() == [False, True, True, False]


def test_names_that_are_no_utf8_are_reported(odd_names, tmp_path):
    typer = pytest.importorskip("typer.testing")
    from kvdiff.cli.app import app

    (odd_names / os.fsdecode(b"caf\xe9.gif")).write_bytes(b"GIF89a")
    result = typer.CliRunner().invoke(app, ["data", "inspect", str(odd_names), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1 and "caf\\udce9.gif: expected a readable .gif" in result.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert os.fsencode(report["bad"][0]["path"]).endswith(b"caf\xe9.gif")
    batches = video_batches(
        list_directory(odd_names, None), **READING, on_bad="skip", max_bad_share=0.5, report=tmp_path / "bad.json"
    )
    for position in range(4):
        batches.sample(0, position)
    (bad,) = json.loads((tmp_path / "bad.json").read_text())["bad"]
    assert os.fsencode(bad["path"]).endswith(b"caf\xe9.gif")


def test_a_table_may_name_files_elsewhere_where_links_allow_it(tmp_path):
    pytest.importorskip("tensorflow")
    (tmp_path / "tables").mkdir()
    for index in range(3):
        media.write_clip(tmp_path / f"{index}.gif", numbered_clip(20 * index), fps=10)
    rows = "".join(f"{tmp_path / str(index)}.gif\n" for index in range(3))
    (tmp_path / "tables" / "clips.csv").write_text(f"path\n{rows}")
    options = dict(SMALL, label_column=None, validation_split=0.4, subset="both", links=tmp_path)
    training, validation = video_dataset_from_csv(tmp_path / "tables" / "clips.csv", **options)
    assert len(training.file_paths) == 2 and len(validation.file_paths) == 1
    assert training.batches.sample(0, 0)[0].shape == (4, 8, 8, 3) and training.batches.config["num_samples"] == 2


def test_what_systems_leave_behind_is_no_class(tmp_path):
    for name in ("a/1.gif", "b/1.gif"):
        (tmp_path / name).parent.mkdir()
        media.write_clip(tmp_path / name, numbered_clip(0))
        (tmp_path / name).with_name("._1.gif").write_bytes(b"\0\5\x16\7")
    for name in ("__MACOSX", ".git", "@eaDir", "lost+found"):
        (tmp_path / name).mkdir()
    listing = list_directory(tmp_path)
    assert listing.class_names == ("a", "b") and len(listing.videos) == 2


# Arrays of very many clips.


def test_millions_of_clips_are_listed_at_once(tmp_path):
    np.save(tmp_path / "many.npy", np.zeros((2_000_000, 1, 1, 1, 1), np.uint8))
    np.save(tmp_path / "one.npy", np.zeros((4, 4, 4, 3), np.uint8))
    start = time.process_time()
    listing = list_directory(tmp_path, [3, 4])
    assert time.process_time() - start < 1.0
    assert len(listing.videos) == 2_000_001 and listing.labels[[0, -1]].tolist() == [3, 4]
    assert listing.videos[1_234_567].member == 1_234_567
    assert listing.videos[-1].path.name == "one.npy" and listing.videos[-1].member == 0
    assert [path.rsplit(os.sep)[-1] for path in listing.file_paths] == ["many.npy", "one.npy"]


def test_a_header_that_claims_millions_is_one_bad_file(tmp_path):
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (10000000, 8, 16, 16, 3), }".ljust(117) + "\n"
    (tmp_path / "claim.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00" + text.encode())
    listing = list_directory(tmp_path, None)
    assert len(listing.videos) == 1
    with pytest.raises(VideoError, match="bytes of values. Received: 0"):
        video_batches(listing, **READING).sample(0, 0)


# What is known before the work.


@pytest.mark.parametrize("option", ["cache", "report"])
def test_places_that_cannot_be_written_to_are_known_before_anything_is_decoded(tmp_path, monkeypatch, option):
    media.write_clip(tmp_path / "1.gif", numbered_clip(0))

    def refuse(*arguments, **keywords):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("kvdiff.media.files.tempfile.mkstemp", refuse)
    monkeypatch.setattr("kvdiff.media.ClipReader.read", None)
    with pytest.raises(OSError, match="expected a place that can be written to. Received: Read-only"):
        video_batches(list_directory(tmp_path, None), **READING, on_bad="skip", **{option: tmp_path / ".place"}).sample(
            0, 0
        )


def test_a_cache_that_is_full_may_be_read_only(tmp_path, monkeypatch):
    media.write_clip(tmp_path / "1.gif", numbered_clip(0))
    options = dict(READING, cache=tmp_path / ".cache", seed=3)
    clip, _ = video_batches(list_directory(tmp_path, None), **options).sample(0, 0)
    monkeypatch.setattr("kvdiff.media.files.tempfile.mkstemp", None)
    np.testing.assert_array_equal(video_batches(list_directory(tmp_path, None), **options).sample(0, 0)[0], clip)


def test_inspection_knows_before_it_decodes_that_it_cannot_write(tmp_path, monkeypatch):
    typer = pytest.importorskip("typer.testing")
    from kvdiff.cli.app import app

    media.write_clip(tmp_path / "1.gif", numbered_clip(0))

    def refuse(*arguments, **keywords):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("kvdiff.media.files.tempfile.mkstemp", refuse)
    monkeypatch.setattr("kvdiff.media.ClipReader.read", None)
    result = typer.CliRunner().invoke(app, ["data", "inspect", str(tmp_path), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2 and "expected a place that can be written to" in result.output
    assert not (tmp_path / "out").exists()


def test_without_pyav_no_video_is_called_bad(tmp_path, run_python):
    (tmp_path / "1.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    run_python(f"""if True:
        import sys
        sys.modules["av"] = None
        from kvdiff import media
        try:
            media.read_clip({str(tmp_path / "1.mp4")!r})
        except ImportError as error:
            assert "[media]" in str(error)
        else:
            raise AssertionError
    """)


# What is said.


def test_what_should_be_known_of_files_is_said_once_a_kind(tmp_path):
    for index in range(3):
        np.save(tmp_path / f"{index}.npy", np.random.default_rng(index).random((6, 8, 8, 3)).astype(np.float32))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batches = video_batches(list_directory(tmp_path, None), **READING)
        for position in range(3):
            batches.sample(0, position)
    (warning,) = caught
    assert "its floats lie in [0, 1]" in str(warning.message) and "the first such file" in str(warning.message)
    with media.ClipReader(1) as reader:
        found = inspect_videos(list_directory(tmp_path, None), reader)
    assert sum("its floats lie in [0, 1]" in line for line in found.lines()) == 3


def test_the_time_it_took_counts_all_reading_and_no_training(tmp_path, monkeypatch):
    for index in range(3):
        media.write_clip(tmp_path / f"{index}.gif", numbered_clip(20 * index), fps=10)
    read = media.ClipReader.read

    def slow(self, request):
        time.sleep(0.2)
        return read(self, request)

    monkeypatch.setattr("kvdiff.media.ClipReader.read", slow)
    said: list[str] = []
    batches = video_batches(
        list_directory(tmp_path, None), **READING, clip_sampling="all", cache="memory", announce=said.append
    )
    for position in range(batches.num_samples):
        batches.sample(0, position)
        time.sleep(0.3)  # A training step.
    (line,) = said
    seconds = float(line.split(" in ")[1].split(" s:")[0])
    assert 0.6 <= seconds < 2.0


def test_long_files_are_cached_in_parts(tmp_path):
    """Frames that together are more than one answer may hold."""
    path = media.write_clip(tmp_path / "long.gif", numbered_clip(0, frames=200, size=8), fps=50)
    limits = media.ReadLimits(clip_bytes=50 * 8 * 8 * 3)
    for cache in ("memory", tmp_path / ".cache"):
        options = dict(READING, limits=limits, cache=cache, clip_sampling="all", shuffle=False)
        batches = video_batches(list_paths([path]), **options)
        assert [batches.sample(0, position)[0][0, 0, 0, 0] for position in (0, 20, 49)] == [0, 80, 196]
        assert batches.num_samples == 50
    plain = video_batches(list_paths([path]), **dict(READING, limits=limits), clip_sampling="uniform")
    assert plain.sample(0, 0)[0][0, 0, 0, 0] == 98
    with pytest.raises(VideoError, match="`clip_bytes` of `ReadLimits`"):
        media.read_clip(path, limits=limits)


def test_frames_of_arrays_need_a_rate_of_their_own(tmp_path):
    np.save(tmp_path / "1.npy", numbered_clip(0))
    with pytest.raises(VideoError, match="an array or folder of frames, which has none; `default_fps` says"):
        video_batches(list_directory(tmp_path, None), **READING, target_fps=5.0).sample(0, 0)
    batches = video_batches(
        list_directory(tmp_path, None), **READING, target_fps=5.0, default_fps=10.0, clip_sampling="uniform"
    )
    assert batches.sample(0, 0)[0][:, 0, 0, 0].tolist() == [2, 4, 6, 8]
