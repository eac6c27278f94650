"""Checkpoints on a disk that fails: nothing damaged is taken for whole, and nothing whole is lost."""

from __future__ import annotations

import errno
import os
import resource
import stat
import warnings

import numpy as np
import pytest

pytest.importorskip("filelock")

from kvdiff.training.checkpoint_file import DamagedCheckpointError, TrainingState, read_checkpoint, write_checkpoint
from kvdiff.training.checkpoint_folder import CheckpointFolder


def state(step):
    """Arrays of every kind that a training has, and facts of every kind."""
    rng = np.random.default_rng(step)
    arrays = {
        "model/0000": rng.normal(size=(7, 5)).astype(np.float32),
        "model/0001": np.float32(step),
        "optimizer/0000": np.int64(step),
        "metric/0000": np.zeros((0, 3)),
        "seed": np.array([step, 2**32 - 1], np.uint32),
        "flag": np.array([True, False]),
    }
    return TrainingState(arrays, {"step": step, "best": float("inf"), "text": "ü", "list": [1, None, {"a": 0.1}]})


def is_state(found, step):
    expected = state(step)
    same = found.arrays.keys() == expected.arrays.keys() and found.facts == expected.facts
    return same and all(
        np.asarray(a).dtype == found.arrays[name].dtype and np.array_equal(a, found.arrays[name])
        for name, a in expected.arrays.items()
    )


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of steps 1, 2 and 3."""
    folder = CheckpointFolder(tmp_path / "checkpoints")
    folder.lock()
    for step in (1, 2, 3):
        folder.save(step, state(step))
    return folder


def newest(folder):
    """The newest whole checkpoint's step, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = folder.newest()
    assert is_state(found[1], found[1].facts["step"])
    return found[1].facts["step"], [str(warning.message) for warning in caught]


def test_what_is_written_is_read_back(tmp_path):
    write_checkpoint(tmp_path / "a.npz", state(4))
    assert is_state(read_checkpoint(tmp_path / "a.npz"), 4)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_bfloat16_keeps_its_type(tmp_path):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    array = np.arange(5).astype(bfloat16)
    write_checkpoint(tmp_path / "a.npz", TrainingState({"x": array}, {}))
    found = read_checkpoint(tmp_path / "a.npz").arrays["x"]
    assert found.dtype == bfloat16 and np.array_equal(found, array)


def test_the_last_three_stay(folder):
    folder.save(20, state(20))
    assert [path.name for path in folder.paths()] == [f"step-{step:010d}.npz" for step in (2, 3, 20)]
    assert newest(folder) == (20, [])


def test_an_empty_folder_has_none(tmp_path):
    assert CheckpointFolder(tmp_path / "new").newest() is None


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_a_truncated_checkpoint_is_passed_over_and_named(folder, share):
    last = folder.paths()[-1]
    size = last.stat().st_size
    os.truncate(last, min(int(share * size), size - 1))
    step, (warning,) = newest(folder)
    assert step == 2 and str(last) in warning and ":" in warning.split(str(last))[1]
    assert newest(folder) == (2, [])  # It was set aside, and does not count as one of the three.
    folder.save(4, state(4))
    assert [path.name[-5:-4] for path in folder.paths()] == ["1", "2", "4"]


def test_two_hundred_bit_flips_are_seen_or_harmless(folder):
    last = folder.paths()[-1]
    content = last.read_bytes()
    rng, seen = np.random.default_rng(0), 0
    for bit in rng.choice(8 * len(content), 200, replace=False):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        last.write_bytes(damaged)
        try:
            assert is_state(read_checkpoint(last), 3)  # A flip in what nobody reads, such as a date in the archive.
        except DamagedCheckpointError:
            seen += 1
    assert seen > 100


def test_a_missing_checkpoint_leaves_the_one_before(folder):
    folder.paths()[-1].unlink()
    assert newest(folder) == (2, [])


def test_where_all_are_damaged_nothing_is_begun_anew(folder):
    for path in folder.paths():
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(DamagedCheckpointError, match="no older checkpoint"):
        folder.newest()
    assert len(folder.paths()) == 3


def test_another_file_of_its_name_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, weights=np.ones(3))
    with pytest.raises(DamagedCheckpointError, match="manifest"):
        read_checkpoint(path)


@pytest.mark.parametrize("limit", [0, 700, 3000])
def test_a_full_disk_costs_the_new_checkpoint_and_no_old_one(folder, limit):
    assert folder.paths()[-1].stat().st_size > 3000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            folder.save(4, state(4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert newest(folder) == (3, [])
    assert sorted(folder.folder.glob("*step*")) + sorted(folder.folder.glob(".*")) == folder.paths()


def test_on_a_full_disk_older_checkpoints_go_first_and_the_newest_stays(folder, monkeypatch):
    from kvdiff.training import checkpoint_file

    real, room = checkpoint_file._write, iter([False, True, False, False, False])

    def full(*args):
        if not next(room):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args)

    monkeypatch.setattr(checkpoint_file, "_write", full)
    folder.save(4, state(4))
    assert [path.name[-5:-4] for path in folder.paths()] == ["2", "3", "4"]
    with pytest.raises(OSError, match="No space left"):
        folder.save(5, state(5))
    assert newest(folder) == (4, []) and len(folder.paths()) == 1


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch):
    import filelock

    for error in (OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")):

        def refuse(lock, *args, error=error, **options):
            raise error

        monkeypatch.setattr(filelock.BaseFileLock, "acquire", refuse)
        with pytest.warns(UserWarning, match="its file system has no locks"):
            CheckpointFolder(tmp_path / "new").lock()
    monkeypatch.setattr(filelock.BaseFileLock, "acquire", lambda *args: (_ for _ in ()).throw(PermissionError(13, "x")))
    with pytest.raises(PermissionError):
        CheckpointFolder(tmp_path / "new").lock()


def test_a_file_system_that_cannot_flush_folders_loses_nothing(folder, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    folder.save(4, state(4))
    assert newest(folder) == (4, [])


@pytest.mark.parametrize(("field", "text"), [("facts", "'facts'"), ("arrays", "'arrays'"), ("sha256", "array00000")])
def test_a_manifest_without_a_field_is_named(tmp_path, field, text):
    import json

    from kvdiff.runtime.manifest import sealed

    write_checkpoint(tmp_path / "a.npz", state(1))
    with np.load(tmp_path / "a.npz") as members:
        arrays = dict(members)
    manifest = json.loads(arrays.pop("manifest").tobytes())
    del (manifest["arrays"]["array00000"] if field == "sha256" else manifest)[field]
    np.savez(tmp_path / "a.npz", manifest=np.frombuffer(json.dumps(sealed(manifest)).encode(), np.uint8), **arrays)
    with pytest.raises(DamagedCheckpointError, match=f"expected .*{text}.*|{text}: expected .* none for .*sha256"):
        read_checkpoint(tmp_path / "a.npz")


def test_reading_makes_no_folder(tmp_path):
    assert CheckpointFolder(tmp_path / "none").newest() is None and not (tmp_path / "none").exists()


def test_a_disk_that_forgets_what_it_was_given_is_found_out(folder, monkeypatch):
    real = np.savez

    def forgetful(file, **arrays):
        arrays["array00000"] = arrays["array00000"] + 1
        real(file, **arrays)

    monkeypatch.setattr(np, "savez", forgetful)
    with pytest.raises(OSError, match="reads back differently"):
        folder.save(4, state(4))
    assert newest(folder) == (3, [])


def test_a_reader_leaves_everything_as_it_is(folder):
    folder.paths()[-1].write_bytes(b"")
    before = sorted(folder.folder.iterdir())
    assert newest(CheckpointFolder(folder.folder))[0] == 2
    assert sorted(folder.folder.iterdir()) == before


def test_a_second_training_is_refused(folder):
    with pytest.raises(RuntimeError, match="which another one holds"):
        CheckpointFolder(folder.folder).lock()
    folder.unlock()
    CheckpointFolder(folder.folder).lock()
