"""Protobuf's wire format, read without its library: where each field of a message lies.

A deployment host has onnxruntime, not onnx, and what a model file refers to must be known before anything opens it.
What parsers may read differently is refused: numbers of fields from 2^29 on, lengths that end outside their message,
and the groups of protobuf 1, which parsers skip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Protocol

MAX_FIELDS = 4 * 2**20
"""How many fields of one file are read, which takes seconds; a network of a thousand layers has some ten thousand."""

Span = tuple[int, int]
"""Where a field's content begins and ends in the file."""


class WireError(ValueError):
    """Bytes that are no message."""


class Content(Sized, Protocol):
    """`bytes`, or a file that is mapped into memory."""

    def __getitem__(self, index: slice, /) -> bytes:
        """Some of the bytes."""


class Reader:
    """Reads the messages of one file; nothing is copied but the texts asked for.

    Args:
        content: the file's bytes.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._left = MAX_FIELDS

    @property
    def whole(self) -> Span:
        """The span of the outermost message."""
        return 0, len(self._content)

    def fields(self, message: Span) -> Iterator[tuple[int, int | Span]]:
        """Each field of a message in its order: its number, and an integer or the span of its content.

        Raises:
            WireError: what no parser reads, what parsers read differently, or more fields than any model has.
        """
        at, stop = message
        while at < stop:
            self._left -= 1
            if self._left < 0:
                raise WireError(f"more than {MAX_FIELDS} fields")
            tag, at = self._varint(at, stop)
            number, wire = tag >> 3, tag & 7
            if not 0 < number < 2**29:
                raise WireError(f"a field of the number {number} at byte {at}")
            if wire == 0:
                value, at = self._varint(at, stop)
                yield number, value
                continue
            size, at = (8, at) if wire == 1 else (4, at) if wire == 5 else self._size(wire, at, stop)
            if size > stop - at:
                raise WireError(f"a field of {size} bytes at byte {at}, beyond its message's end at {stop}")
            yield number, (at, at + size)
            at += size

    def text(self, span: Span) -> str:
        """The content of a string."""
        return self.data(span).decode("utf-8", "replace")

    def data(self, span: Span) -> bytes:
        """The content of a field."""
        return self._content[slice(*span)]

    def integers(self, span: Span) -> Iterator[int]:
        """The content of a packed field of integers."""
        at, stop = span
        while at < stop:
            value, at = self._varint(at, stop)
            yield value

    def _size(self, wire: int, at: int, stop: int) -> Span:
        if wire != 2:
            raise WireError(f"a field of the kind {wire} at byte {at}")
        return self._varint(at, stop)

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        """An integer of seven bits a byte, the lowest first, and where it ends."""
        value = 0
        for index, byte in enumerate(self._content[at : min(at + 10, stop)]):
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return value, at + index + 1
        raise WireError(f"an integer without end at byte {at}")
