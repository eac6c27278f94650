"""Signs that a file was cut off, for containers whose decoders stay silent about it."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

__all__ = ["check_whole"]


def check_whole(suffix: str, file: BinaryIO) -> None:
    """Raise ValueError where a .gif or .avi ends before its time; leave the file at its beginning."""
    if suffix == ".gif":
        _check_gif(file)
    elif suffix == ".avi":
        _check_avi(file)
    file.seek(0)


def _check_gif(file: BinaryIO) -> None:
    """Cut off, it decodes without complaint to fewer frames; its missing last byte tells. Zeros may follow that."""
    if file.read(6) not in (b"GIF87a", b"GIF89a"):
        raise ValueError("no GIF")
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 4096, 0))
    if not file.read().rstrip(b"\0").endswith(b"\x3b"):
        raise ValueError("a GIF that ends before its trailer (cut off?)")


def _check_avi(file: BinaryIO) -> None:
    """Its first chunk declares its size; the number of frames that it declares counts those shown twice, too."""
    head = file.read(8)
    if head[:4] != b"RIFF" or len(head) < 8:
        raise ValueError("no AVI")
    declared = struct.unpack("<I", head[4:])[0] + 8
    size = file.seek(0, os.SEEK_END)
    if size < declared:
        raise ValueError(f"{size} of its {declared} bytes (cut off?)")
