"""Signs that a file was cut off, for containers whose decoders stay silent about it.

A transport stream, a program stream and a bare MPEG video declare nothing, so a cut between two pictures of one is a
shorter video.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import BinaryIO


def check_whole(demuxer: str, file: BinaryIO) -> None:
    """Raise ValueError where a file ends before its time; leave it at its beginning.

    Args:
        demuxer: what FFmpeg calls the file's container.
        file: the open file.
    """
    if demuxer in _CHECKS:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        _CHECKS[demuxer](file, size)
    file.seek(0)


def _cut(size: int, declared: int) -> ValueError:
    return ValueError(f"{size} of its {declared} bytes (cut off?)")


def _check_gif(file: BinaryIO, size: int) -> None:
    """Cut off, it decodes without complaint to fewer frames; its missing last byte tells. Zeros may follow that."""
    if file.read(6) not in (b"GIF87a", b"GIF89a"):
        raise ValueError("no GIF")
    file.seek(max(size - 4096, 0))
    if not file.read().rstrip(b"\0").endswith(b"\x3b"):
        raise ValueError("a GIF that ends before its trailer (cut off?)")


def _check_avi(file: BinaryIO, size: int) -> None:
    """Its first chunk declares its size; the number of frames that it declares counts those shown twice, too."""
    head = file.read(8)
    if head[:4] != b"RIFF" or len(head) < 8:
        raise ValueError("no AVI")
    declared = struct.unpack("<I", head[4:])[0] + 8
    if size < declared:
        raise _cut(size, declared)


def _check_asf(file: BinaryIO, size: int) -> None:
    """Its file properties declare its size, but for broadcasts."""
    head = file.read(2**16)
    at = head.find(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    if at < 0 or len(head) < at + 92:
        return
    declared, flags = struct.unpack_from("<Q", head, at + 40)[0], struct.unpack_from("<I", head, at + 88)[0]
    if not flags & 1 and size < declared:
        raise _cut(size, declared)


def _check_iso(file: BinaryIO, size: int) -> None:
    """A file in fragments has no count of frames; but each of its boxes declares its size."""
    at, is_fragmented = 0, False
    while at < size:
        file.seek(at)
        if at + 8 > size:
            if is_fragmented:
                raise _cut(size, at + 8)
            return
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        is_fragmented |= kind == b"moof"
        if is_fragmented and kind in (b"moof", b"mdat") and at + length > size:
            raise _cut(size, at + length)
        if length < 8:  # 0: to the end of the file. Else: no box.
            return
        at += length


# Matroska and WebM. An element is a name, a size and so many bytes; an unknown size is all ones.

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_UNKNOWN = -1


def _check_matroska(file: BinaryIO, size: int) -> None:
    """The segment declares its size; in one written to a pipe, the elements inside do."""
    at, is_inside = 0, False
    while at < size:
        file.seek(at)
        name, length = _name(file), _length(file)
        begin = file.tell()
        if name is None or length is None:  # Nothing of this kind: the decoder's business.
            return
        is_inside |= name == _SEGMENT
        if is_inside and begin + length > size:
            raise _cut(size, begin + length)
        if length == _UNKNOWN and name in (_SEGMENT, _CLUSTER):
            length = 0  # Go inside.
        elif length == _UNKNOWN or name == _SEGMENT:
            return
        at = begin + length


def _name(file: BinaryIO) -> int | None:
    first = file.read(1)
    return int.from_bytes(first + file.read(8 - first[0].bit_length()), "big") if first and first[0] > 15 else None


def _length(file: BinaryIO) -> int | None:
    """How many bytes an element has, or `_UNKNOWN`."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    num_bytes = 9 - first[0].bit_length()
    number = int.from_bytes(first + file.read(num_bytes - 1), "big") - (1 << 7 * num_bytes)
    return _UNKNOWN if number == (1 << 7 * num_bytes) - 1 else number


# Flash video. A tag is its kind, its size, a time, so many bytes, and its whole size again.


def _check_flv(file: BinaryIO, size: int) -> None:
    """Its tags must be whole, and the last one as late as the header says, where it says so."""
    head = file.read(9)
    at, last, script = struct.unpack(">I", head[5:])[0] + 4 if len(head) == 9 else size, 0.0, b""
    while at < size:
        file.seek(at)
        tag = file.read(11)
        length = int.from_bytes(tag[1:4], "big")
        if len(tag) < 11 or at + 11 + length > size:
            raise ValueError("a file that ends inside a tag (cut off?)")
        if tag[0] & 31 == 18 and not script:
            script = file.read(length)
        last = max(last, int.from_bytes(tag[7:8] + tag[4:7], "big") / 1000)
        at += 15 + length
    declared, duration = _declared(script, b"filesize"), _declared(script, b"duration")
    # Either may be sloppy or stale; both together are not.
    if size < declared and last + 0.02 < duration - _frame(script):
        raise _cut(size, int(declared))
    if last + 1.0 < 0.95 * duration:
        raise ValueError(f"{last:g} of its {duration:g} s (cut off?)")


def _declared(script: bytes, name: bytes) -> float:
    """A number of the header's script; 0 where it has none."""
    at = script.find(struct.pack(">H", len(name)) + name + b"\0")
    value = script[at + len(name) + 3 : at + len(name) + 11]
    return struct.unpack(">d", value)[0] if at >= 0 and len(value) == 8 else 0.0


def _frame(script: bytes) -> float:
    rate = _declared(script, b"framerate")
    return 1.0 / rate if rate > 0 else 0.0


_CHECKS: dict[str, Callable[[BinaryIO, int], None]] = {
    "gif": _check_gif,
    "avi": _check_avi,
    "asf": _check_asf,
    "flv": _check_flv,
    "matroska,webm": _check_matroska,
    "mov,mp4,m4a,3gp,3g2,mj2": _check_iso,
}
