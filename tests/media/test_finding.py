"""Which files and folders are clips: litter, thumbnails, links."""

from __future__ import annotations

import os

import pytest

from kvdiff import media


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def found(folder, **options) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in media.find_clips(folder, **options)]


def test_what_systems_leave_behind_is_not_found(tmp_path):
    litter = (
        "__MACOSX/._a.mp4",
        "__MACOSX/a.mp4",
        "._a.mp4",
        ".DS_Store",
        "@eaDir/a.mp4/thumb.jpg",
        "$RECYCLE.BIN/b.mp4",
    )
    more = (
        "System Volume Information/c.mp4",
        "lost+found/d.mp4",
        ".ipynb_checkpoints/e.mp4",
        "Thumbs.db",
        "desktop.ini",
    )
    make(tmp_path, "a.mp4", "inner/b.webm", *litter, *more)
    assert found(tmp_path) == ["a.mp4", "inner/b.webm"]
    assert media.list_folders(tmp_path) == ["inner"]


@pytest.mark.parametrize(
    ("names", "frames"),
    [
        (("v1.mp4", "v2.mp4", "v1.jpg", "v2.jpg"), False),
        (("v1.mp4", "v2.mp4", "v1_thumb.jpg", "v2.thumb.png", "v1-0001.png"), False),
        (("v1.mp4", "folder.jpg", "poster.png"), False),
        (("v1.mp4", "cover.jpg"), False),
        (("preview.gif", "0001.png", "0002.png", "0003.png"), True),
        (("1.mp4", "10.png", "11.png"), True),  # Not named after 1.mp4.
        (("0001.png",), True),
    ],
)
def test_pictures_beside_clips_are_thumbnails_unless_they_are_a_sequence(tmp_path, names, frames):
    make(tmp_path, *names)
    clips = [name for name in names if name.endswith((".mp4", ".gif"))]
    assert found(tmp_path) == [*(["."] if frames else []), *clips]


def test_what_is_named_after_a_video_goes_with_it(tmp_path):
    """Previews, features, poses: another clip of the same, or none at all."""
    make(tmp_path, "v1.mp4", "v1.gif", "v1.npy", "v1_flow.npz", "v2.webm", "v2.mp4", "v10.npy", "alone.gif", "b/v1.npy")
    assert found(tmp_path) == ["alone.gif", "b/v1.npy", "v1.mp4", "v10.npy", "v2.mp4", "v2.webm"]


def test_thumbnails_in_a_folder_of_their_own_are_still_a_folder_of_pictures(tmp_path):
    make(tmp_path, "a.mp4", "frames/1.png")
    assert found(tmp_path) == ["a.mp4", "frames"]


@pytest.fixture
def linked(tmp_path):
    """A folder of links: to a file and a folder inside, to both outside, to itself, to nothing."""
    root, blobs = tmp_path / "root", tmp_path / "blobs"
    make(root, "own/a.mp4")
    make(blobs, "b.mp4", "inner/c.mp4", "notes/readme.txt")
    for name, target in (
        ("file_in.mp4", root / "own" / "a.mp4"),
        ("folder_in", root / "own"),
        ("file_out.mp4", blobs / "b.mp4"),
        ("folder_out", blobs / "inner"),
        ("notes_out", blobs / "notes"),
        ("own/circle", root),
        ("broken.mp4", root / "none.mp4"),
    ):
        (root / name).symlink_to(target)
    (root / "looping.mp4").symlink_to(root / "looping.mp4")
    return root, blobs


INSIDE = ["broken.mp4", "file_in.mp4", "file_out.mp4", "folder_in/a.mp4"]


def test_linked_folders_inside_are_entered_and_others_listed(linked):
    """So that reading the latter says why they cannot be; those without clips do not matter."""
    root, _ = linked
    assert found(root) == [*INSIDE, "folder_out", "looping.mp4", "own/a.mp4"]


def test_linked_folders_outside_are_entered_where_links_allows_it(linked, tmp_path):
    root, blobs = linked
    everything = [*INSIDE, "folder_out/c.mp4", "looping.mp4", "own/a.mp4"]
    assert found(root, links="anywhere") == everything
    assert found(root, links=str(blobs)) == everything
    (tmp_path / "elsewhere").mkdir()
    assert "folder_out" in found(root, links=str(tmp_path / "elsewhere"))


def test_one_rule_for_what_is_listed(linked):
    root, blobs = linked
    with pytest.raises(media.VideoError, match="no such file"):
        media.list_clip_files([root])
    for name in ("broken.mp4", "looping.mp4"):
        (root / name).unlink()
    with pytest.raises(media.VideoError, match="`links` says where links may lead"):
        media.list_clip_files([root])
    for links in ("anywhere", str(blobs)):
        assert len(media.list_clip_files([root], links)) == 5
    # What is named is followed.
    assert media.list_clip_files([root / "file_out.mp4"]) == [root / "file_out.mp4"]
    assert media.list_clip_files([root / "folder_out"]) == [root / "folder_out" / "c.mp4"]


def test_places_for_links_are_checked(tmp_path):
    assert media.check_links(None) is None and media.check_links("anywhere") == "anywhere"
    assert media.check_links(tmp_path) == str(tmp_path)
    with pytest.raises(NotADirectoryError, match="`links`: expected None"):
        media.check_links(tmp_path / "none")


def test_what_is_not_there_is_named(tmp_path):
    (tmp_path / "broken.mp4").symlink_to(tmp_path / "none.mp4")
    with pytest.raises(FileNotFoundError, match="none: no such file or folder$"):
        media.list_clip_files([tmp_path / "none"])
    with pytest.raises(FileNotFoundError, match=r"broken.mp4: no such file or folder \(a broken link\)"):
        media.list_clip_files([tmp_path / "broken.mp4"])


def test_a_folder_that_cannot_be_listed_is_not_passed_over(tmp_path, monkeypatch):
    make(tmp_path, "a.mp4", "closed/b.mp4")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("kvdiff.media.finding.os.scandir", refusing)
    with pytest.raises(PermissionError, match="closed"):
        media.find_clips(tmp_path)
