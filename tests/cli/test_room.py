"""Room for a result is made sure of before the work, and given back after it."""

from __future__ import annotations

import errno
import os

import pytest

from kvdiff.cli.room import room_for


def test_the_room_is_there_until_it_is_freed(tmp_path):
    with room_for(tmp_path / "model.keras", 10_000) as free:
        (held,) = tmp_path.iterdir()
        assert held.name == ".room-for-model.keras" and held.stat().st_size == 10_000
        free()
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_taken_over(tmp_path):
    (tmp_path / ".room-for-model.keras").write_bytes(b"x" * 50)
    with room_for(tmp_path / "model.keras", 100):
        assert (tmp_path / ".room-for-model.keras").stat().st_size == 100
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_frees_it_too(tmp_path):
    with pytest.raises(KeyboardInterrupt), room_for(tmp_path / "model.keras", 100):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="asks a POSIX system")
@pytest.mark.parametrize(("number", "is_refused"), [(errno.ENOSPC, True), (errno.EOPNOTSUPP, False)])
def test_a_full_disk_is_refused_and_one_that_cannot_promise_is_not(tmp_path, monkeypatch, number, is_refused):
    def fallocate(*args):
        raise OSError(number, "no")

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    if is_refused:
        room = room_for(tmp_path / "model.keras", 5_000_000)
        with pytest.raises(OSError, match=r"model.keras: expected 5 MB of room"), room:
            pass
    else:
        with room_for(tmp_path / "model.keras", 100):
            pass
    assert list(tmp_path.iterdir()) == []
