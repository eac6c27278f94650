"""The units of a coded picture of H.264 or HEVC, as far as they say what it depends on."""

from __future__ import annotations

from collections.abc import Iterator

NEEDS_NONE = {"h264": frozenset((5,)), "hevc": frozenset((19, 20))}
"""Kinds of pictures after which nothing earlier is needed."""

_RANDOM_ACCESS = {"h264": frozenset((5,)), "hevc": frozenset(range(16, 22))}
_PARAMETERS = {"h264": frozenset((7, 8)), "hevc": frozenset((32, 33, 34))}
_RECOVERY_POINT = 6


def units(packet: memoryview | bytes, codec: str, extra: bytes) -> Iterator[memoryview]:
    """The units of a packet one after the other, without start codes or sizes.

    Args:
        packet: what one picture is coded as.
        codec: "h264" or "hevc".
        extra: the stream's extra data, which says how long a size is.

    Raises:
        ValueError: a damaged packet, once that is found.
    """
    if not extra.startswith(b"\x01"):  # Units after start codes, not after their sizes.
        content = bytes(packet)
        at = content.find(b"\0\0\1")
        while at >= 0:
            end = content.find(b"\0\0\1", at + 3)
            if unit := content[at + 3 : end if end >= 0 else None].rstrip(b"\0"):
                yield memoryview(unit)
            at = end
        return
    view, where = memoryview(packet), 4 if codec == "h264" else 21
    size = ((extra[where] if where < len(extra) else 3) & 3) + 1
    at = 0
    while at + size < len(view):
        length = int.from_bytes(view[at : at + size], "big")
        if at + size + length > len(view):
            break
        if length:
            yield view[at + size : at + size + length]
        at += size + length
    if at != len(view):
        raise ValueError("a packet that ends inside a unit")


def kind_of(unit: memoryview, codec: str) -> int:
    """The number of a unit's kind."""
    return unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63


def is_picture(kind: int, codec: str) -> bool:
    """Whether a unit of this kind holds a part of a picture."""
    return 1 <= kind <= 5 if codec == "h264" else kind < 32


def begins_anew(packet: memoryview | bytes, codec: str, extra: bytes) -> str | None:
    """Whether all pictures shown from this one on are exact where decoding begins with it.

    Returns:
        "reset" for a picture that makes the decoder forget what was before: IDR, BLA and CRA. "recovery" for an exact
        recovery point of H.264: later pictures may name earlier ones without needing them. None for all others.
    """
    recovers = False
    for unit in units(packet, codec, extra):
        kind = kind_of(unit, codec)
        if is_picture(kind, codec):
            return "reset" if kind in _RANDOM_ACCESS[codec] else "recovery" if recovers else None
        recovers |= codec == "h264" and kind == 6 and _recovers_at_once(unit)
    return None


def changes_parameters(packet: memoryview | bytes, codec: str, extra: bytes) -> bool:
    """Whether a packet has parameter sets before its picture that are not those of the stream's extra data."""
    for unit in units(packet, codec, extra):
        kind = kind_of(unit, codec)
        if is_picture(kind, codec):
            return False
        if kind in _PARAMETERS[codec] and bytes(unit) not in extra:
            return True
    return False


def _recovers_at_once(unit: memoryview) -> bool:
    """Whether H.264's supplemental information has a recovery point: exact, after no further frame, not broken."""
    at = 1
    while at + 2 < len(unit):
        numbers = []
        for _ in range(2):  # What kind, and how many bytes.
            number = 0
            while at < len(unit) and unit[at] == 255:
                number, at = number + 255, at + 1
            if at >= len(unit):
                return False
            numbers.append(number + unit[at])
            at += 1
        if numbers[0] == _RECOVERY_POINT and at < len(unit):
            return unit[at] >> 5 == 0b110
        at += numbers[1]
    return False
