"""GIFs without delays, which FFmpeg takes for a single picture."""

from __future__ import annotations

import io
from typing import BinaryIO

_CONTROL = b"\x21\xf9\x04\0\0\0\0\0"  # A graphic control extension that says nothing.


def with_delays(file: BinaryIO) -> BinaryIO:
    """The same file, or a copy in memory in which every picture has a control extension; at its beginning."""
    bare = _bare_pictures(file)
    file.seek(0)
    if not bare:
        return file
    content = file.read()
    ends = [*bare[1:], len(content)]
    parts = [b"GIF89a", content[6 : bare[0]]]
    for begin, end in zip(bare, ends, strict=True):
        parts += [_CONTROL, content[begin:end]]
    return io.BytesIO(b"".join(parts))


def _bare_pictures(file: BinaryIO) -> list[int]:
    """Where the pictures begin that no control extension stands before, as far as the blocks make sense."""
    head = file.read(13)
    file.seek(_table(head[10]) if len(head) == 13 else 0, 1)
    bare, has_control = [], False
    while (kind := file.read(1)) in (b"\x21", b"\x2c"):
        if kind == b"\x21":
            has_control |= file.read(1) == b"\xf9"
        else:
            if not has_control:
                bare.append(file.tell() - 1)
            has_control = False
            place = file.read(9)
            file.seek(1 + (_table(place[8]) if len(place) == 9 else 0), 1)
        while (length := file.read(1)) not in (b"", b"\0"):
            file.seek(length[0], 1)
    return bare


def _table(flags: int) -> int:
    """Bytes of the colour table that `flags` announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
