"""`kvdiff data inspect` and what stands behind it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("typer")
pytest.importorskip("PIL")

from PIL import Image
from typer.testing import CliRunner

from kvdiff import media
from kvdiff.cli.app import app
from kvdiff.data import inspect_videos, list_directory
from tests.data.conftest import numbered_clip


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Two classes; a GIF, a wide MP4, an array of two clips, and two files that are no clips."""
    root = tmp_path_factory.mktemp("mixed")
    for name in ("a", "b"):
        (root / name).mkdir()
    media.write_clip(root / "a" / "one.gif", numbered_clip(0, frames=12), fps=10)
    media.write_clip(root / "a" / "wide.mp4", np.full((20, 16, 32, 3), 90, np.uint8), fps=25)
    np.save(root / "b" / "two.npy", np.stack([numbered_clip(100), numbered_clip(120)]))
    (root / "b" / "broken.mp4").write_bytes(b"not a video")
    shutil.copy(root / "a" / "one.gif", root / "b" / "cut.gif")
    (root / "b" / "cut.gif").write_bytes((root / "b" / "cut.gif").read_bytes()[:-40])
    return root


def test_facts_of_every_video(mixed):
    with media.ClipReader(1) as reader:
        calls = []
        found = inspect_videos(list_directory(mixed), reader, progress=lambda *call: calls.append(call))
    rows = {row.path: row for row in found.good}
    assert list(rows) == ["a/one.gif", "a/wide.mp4", "b/two.npy", "b/two.npy[1]"]
    gif, wide, array = rows["a/one.gif"], rows["a/wide.mp4"], rows["b/two.npy[1]"]
    assert (gif.container, gif.codec, gif.frames, gif.fps, gif.label) == ("gif", "gif", 12, 10.0, "a")
    assert (wide.height, wide.width, wide.frames, wide.fps, wide.codec) == (16, 32, 20, 25.0, "h264")
    assert array.label == "b" and np.isnan(array.fps) and array.frames == 12
    assert [error.path.name for error in found.bad] == ["broken.mp4", "cut.gif"]
    assert calls == [(done, 6) for done in range(1, 7)]
    assert found.sheet.dtype == np.uint8 and found.sheet.shape[-1] == 3


def test_uneven_rates_are_noticed(tmp_path):
    path = tmp_path / "uneven.gif"
    frames = [Image.fromarray(frame) for frame in numbered_clip(0, frames=6)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[100, 100, 900, 100, 100, 100])
    with media.ClipReader(1) as reader:
        (row,) = inspect_videos(list_directory(tmp_path, None), reader).good
    assert row.frames == 6 and not row.is_even


def test_the_command_reports_and_writes(mixed, tmp_path):
    result = CliRunner().invoke(
        app, ["data", "inspect", str(mixed), "--classes", "-o", str(tmp_path / "look"), "--workers", "1"]
    )
    assert result.exit_code == 1, result.output  # There are bad files.
    for line in (
        "6 videos: 4 good, 2 bad",
        "frames: 56 in all; a video has 12 to 20, median 12",
        "sizes: 16×16 (3), 16×32 (1)",
        "frames a second: 10 to 25, median 17.5",
        "classes: 2; a class has 2 videos",
        "broken.mp4: expected a readable .mp4 video",
    ):
        assert line in result.output
    report = json.loads((tmp_path / "look" / "report.json").read_text())
    assert [len(report["good"]), len(report["bad"])] == [4, 2]
    assert report["good"][2]["fps"] is None
    sheet = Image.open(tmp_path / "look" / "contact_sheet.png")
    assert sheet.width > 4 * 96 and sheet.height > 96


def test_a_folder_of_good_files_exits_with_0_and_writes_beside_it(tmp_path):
    (tmp_path / "clips").mkdir()
    media.write_clip(tmp_path / "clips" / "one.gif", numbered_clip(0), fps=10)
    result = CliRunner().invoke(app, ["data", "inspect", str(tmp_path / "clips")])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "clips-inspection").iterdir()) == [
        "contact_sheet.png",
        "report.json",
    ]
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["one.gif"]
    assert "Example: kvdiff data inspect" in CliRunner().invoke(app, ["data", "inspect", "--help"]).output
    missing = CliRunner().invoke(app, ["data", "inspect", str(tmp_path / "none")])
    assert missing.exit_code == 2 and "expected a folder" in missing.output
