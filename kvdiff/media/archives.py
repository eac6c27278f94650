"""Members of .npz files, read in parts: NumPy and `zipfile` decompress from the beginning for every part."""

from __future__ import annotations

import bisect
import os
import threading
import zipfile
import zlib
from typing import Any, BinaryIO

_PIECE = 2**18
_NUM_MARKS = 256
_SHORTEST = 2**22
_HIGHEST_RATIO = 1100  # Deflate reaches 1032.
_LONGEST_END = 2**16 + 100  # Of an archive: its comment, and what says how large its directory is.
_LARGEST_DIRECTORY = 2**24


class Member:
    """The bytes of one member, stored or deflated.

    Marks on the way through a deflated one, 256 at most, let a later reading begin at the nearest.

    Args:
        offset: of its data in the file.
        info: its entry in the archive's directory.
    """

    def __init__(self, offset: int, info: zipfile.ZipInfo) -> None:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise ValueError("a member that is neither stored nor deflated")
        if info.file_size > _HIGHEST_RATIO * (info.compress_size + 1):
            raise ValueError(f"a member of {info.compress_size} bytes that claims to hold {info.file_size}")
        self.size = info.file_size
        self._offset, self._info = offset, info
        self._marks: list[tuple[int, int, Any]] = [(0, 0, zlib.decompressobj(-15))]
        self._between = max(self.size // _NUM_MARKS, _SHORTEST)
        self._num_seen, self._crc = 0, 0
        self._lock = threading.Lock()

    @property
    def has_marks(self) -> bool:
        """Whether it is worth remembering."""
        return len(self._marks) > 1

    def read(self, file: BinaryIO, start: int, count: int) -> bytes:
        """`count` bytes from `start` on, fewer where it ends.

        Raises:
            ValueError, zlib.error: it is damaged.
        """
        with self._lock:
            if self._info.compress_type == zipfile.ZIP_DEFLATED:
                return self._inflated(file, start, min(start + count, self.size))
            file.seek(self._offset + start)
            piece = file.read(max(min(count, self.size - start), 0))
            self._see(start, piece)
            return piece

    def _inflated(self, file: BinaryIO, start: int, end: int) -> bytes:
        at, taken, engine = self._marks[bisect.bisect_right(self._marks, start, key=lambda mark: mark[0]) - 1]
        engine, parts, rest = engine.copy(), [], b""
        file.seek(self._offset + taken)
        while at < end:
            if not rest:
                rest = file.read(min(_PIECE, self._info.compress_size - taken))
                taken += len(rest)
            piece = engine.decompress(rest, _PIECE)
            if not piece and not rest:
                raise ValueError(f"{at} of its {self.size} bytes (cut off?)")
            rest = engine.unconsumed_tail
            self._see(at, piece)
            parts.append(piece[max(start - at, 0) : end - at])
            at += len(piece)
            if at - self._marks[-1][0] >= self._between:
                self._marks.append((at, taken - len(rest), engine.copy()))
        return b"".join(parts)

    def _see(self, at: int, piece: bytes) -> None:
        """Add what comes next to the checksum, which counts once all has been seen."""
        if at <= self._num_seen < at + len(piece):
            self._crc = zlib.crc32(piece[self._num_seen - at :], self._crc)
            self._num_seen = at + len(piece)
            if self._num_seen >= self.size and self._crc != self._info.CRC:
                raise ValueError("a checksum that does not fit (damaged?)")


_last: list[tuple[tuple[int, ...], Member]] = []


def first_array(file: BinaryIO, identity: tuple[int, ...]) -> Member | None:
    """The first .npy member of an archive; None where it has none.

    Args:
        file: the archive.
        identity: of the file and its state. The one asked for last is remembered, with its marks.
    """
    for known, member in _last:
        if known == identity and member.has_marks:
            return member
    found = _find(file)
    if found is not None:
        _last[:] = [(identity, found)]
    return found


def _find(file: BinaryIO) -> Member | None:
    _check_directory(file)
    with zipfile.ZipFile(file) as archive:
        info = next((info for info in archive.infolist() if info.filename.endswith(".npy")), None)
    if info is None:
        return None
    file.seek(info.header_offset + 26)
    lengths = file.read(4)
    offset = info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    return Member(offset, info)


def _check_directory(file: BinaryIO) -> None:
    """Refuse a directory that `zipfile` would fill the memory with; leave the file at its beginning.

    Its end says how large it is, or where that is not enough the record of 56 bytes and its locator of 20 before that.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _LONGEST_END, 0))
    tail = file.read()
    file.seek(0)
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 22:
        raise ValueError("a ZIP archive without an end (cut off?)")
    directory = int.from_bytes(tail[end + 12 : end + 16], "little")
    if end >= 76 and tail[end - 20 : end - 16] == b"PK\6\7":
        directory = int.from_bytes(tail[end - 36 : end - 28], "little")
    if directory > _LARGEST_DIRECTORY:
        raise ValueError(f"a directory of {directory} bytes, more than {_LARGEST_DIRECTORY}")
