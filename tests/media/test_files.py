"""Writing on file systems that allow less: what is essential is found out before, the rest loses nothing."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from kvdiff import media
from tests.media.conftest import random_clip


def failing(code: int):
    def fail(*arguments: object, **keywords: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("name", "code"),
    [("chmod", errno.EPERM), ("chmod", errno.ENOTSUP), ("fsync", errno.ENOTSUP), ("fsync", errno.EINVAL)],
)
def test_what_is_not_essential_may_fail(tmp_path, monkeypatch, name, code):
    monkeypatch.setattr(f"kvdiff.media.files.os.{name}", failing(code))
    path = media.write_clip(tmp_path / "clip.npy", random_clip())
    np.testing.assert_array_equal(np.load(path), random_clip())
    assert os.listdir(tmp_path) == ["clip.npy"]


def test_a_result_that_cannot_take_its_name_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("kvdiff.media.files.os.replace", failing(errno.EBUSY))
    with pytest.raises(OSError, match="what was to be written is in ") as error:
        media.write_bytes(tmp_path / "clip.npy", b"the result")
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == b"the result" and str(kept) in str(error.value)


@pytest.mark.parametrize("check", [media.check_writable, media.check_file_writable])
@pytest.mark.parametrize("step", ["os.replace", "tempfile.mkstemp"])
def test_what_is_essential_is_tried_before_the_work(tmp_path, monkeypatch, check, step):
    check(tmp_path / "clip.npy")
    monkeypatch.setattr(f"kvdiff.media.files.{step}", failing(errno.EROFS))
    with pytest.raises(OSError, match="clip.npy: expected a place that can be written to. Received: Read-only"):
        check(tmp_path / "clip.npy")
    assert os.listdir(tmp_path) == []


def test_a_name_that_is_too_long_is_known_before(tmp_path):
    long = tmp_path / ("x" * 300 + ".npy")
    with pytest.raises(OSError, match="expected a place that can be written to. Received: File name too long"):
        media.check_writable(long)
    fits = tmp_path / ("x" * 251 + ".npy")
    media.check_writable(fits)
    media.write_clip(fits, random_clip())


@pytest.mark.parametrize(("suffix", "fps"), [(".gif", 60), (".gif", 0), (".mp4", -1), (".webm", 2000)])
def test_rates_that_cannot_be_written_are_known_before(tmp_path, suffix, fps):
    with pytest.raises(ValueError, match="`fps`"):
        media.check_writable(tmp_path / f"clip{suffix}", fps=fps)


@pytest.mark.parametrize(("suffix", "library"), [(".gif", "av"), (".gif", "PIL"), (".mp4", "av"), (".webm", "av")])
def test_libraries_that_are_missing_are_known_before(tmp_path, run_python, suffix, library):
    run_python(f"""if True:
        import sys
        sys.modules[{library!r}] = None
        from kvdiff import media
        try:
            media.check_writable({str(tmp_path / ("clip" + suffix))!r})
        except ImportError as error:
            assert "keras-video-diffusion[media]" in str(error)
        else:
            raise AssertionError
        media.check_writable({str(tmp_path / "clip.npy")!r})
    """)


def test_a_grey_gif_needs_no_pillow(tmp_path, run_python):
    run_python(f"""if True:
        import sys
        sys.modules["PIL"] = None
        import numpy as np
        from kvdiff import media
        media.write_clip({str(tmp_path / "clip.gif")!r}, np.zeros((2, 4, 4, 1), np.uint8))
    """)


def test_folders_are_tried_and_left_as_they_were(tmp_path, monkeypatch):
    media.check_folder_writable(tmp_path / "a" / "b")
    assert os.listdir(tmp_path) == []
    (tmp_path / "kept").mkdir()
    media.check_folder_writable(tmp_path / "kept")
    assert os.listdir(tmp_path) == ["kept"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="expected a place that can be written to"):
        media.check_folder_writable(tmp_path / "file" / "inner")
    monkeypatch.setattr("kvdiff.media.files.tempfile.mkstemp", failing(errno.EACCES))
    with pytest.raises(PermissionError, match="expected a place that can be written to"):
        media.check_folder_writable(tmp_path / "kept")


def test_new_files_have_the_permissions_of_others(tmp_path):
    mask = os.umask(0o027)
    try:
        path = media.write_bytes(tmp_path / "file", b"content")
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o640
