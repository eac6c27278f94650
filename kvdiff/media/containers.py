"""Which container a file holds, by its first bytes: a suffix can lie."""

from __future__ import annotations

from typing import BinaryIO, NamedTuple


class Container(NamedTuple):
    """What FFmpeg calls a container, and what people do."""

    demuxer: str
    name: str


_ISO = Container("mov,mp4,m4a,3gp,3g2,mj2", "MP4 or QuickTime")
_MATROSKA = Container("matroska,webm", "Matroska or WebM")
_AVI = Container("avi", "AVI")
_FLV = Container("flv", "FLV")
_GIF = Container("gif", "GIF")
_ASF = Container("asf", "ASF or WMV")
_TS = Container("mpegts", "MPEG transport stream")
_PS = Container("mpeg", "MPEG program stream")
_ES = Container("mpegvideo", "MPEG video stream")

_BY_SUFFIX = {
    _ISO: (".3g2", ".3gp", ".f4v", ".m4v", ".mov", ".mp4", ".qt"),
    _MATROSKA: (".mkv", ".webm"),
    _AVI: (".avi", ".divx"),
    _FLV: (".flv",),
    _GIF: (".gif",),
    _ASF: (".asf", ".wmv"),
    _TS: (".m2t", ".m2ts", ".mts", ".ts"),
    _PS: (".mpeg", ".mpg", ".vob"),
    _ES: (".m1v", ".m2v"),
}

VIDEO_SUFFIXES = {suffix: container for container, suffixes in _BY_SUFFIX.items() for suffix in suffixes}
"""The container that a file of each suffix promises. Playlists and network formats are not among them."""

_BEGINNINGS = (
    (b"\x1aE\xdf\xa3", _MATROSKA),
    (b"GIF87a", _GIF),
    (b"GIF89a", _GIF),
    (b"FLV", _FLV),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _ASF),
    (b"\x00\x00\x01\xba", _PS),
    (b"\x00\x00\x01\xb3", _ES),
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")

_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer; the file itself was not fetched (`git lfs pull` does)"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x93NUMPY", "a .npy array"),
    (b"PK\x03\x04", "a ZIP archive or .npz file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
    (b"%PDF", "a PDF document"),
    (b"#EXTM3U", "a playlist"),
    (b"ffconcat", "a playlist"),
    (b"<", "a web page or XML document"),
)


def container_of(suffix: str, file: BinaryIO) -> Container:
    """The container to read an open file as: what its first bytes show, else what its suffix promises.

    Leaves the file at its beginning.

    Raises:
        ValueError: the first bytes are those of something else, which the message names.
    """
    head = file.read(1024)
    file.seek(0)
    for beginning, container in _BEGINNINGS:
        if head.startswith(beginning):
            return container
    if head[4:8] in _BOXES:
        return _ISO
    if head.startswith(b"RIFF"):
        return _riff(head)
    if _is_transport_stream(head):
        return _TS
    for beginning, what in _FOREIGN:
        if head.startswith(beginning):
            raise ValueError(what)
    return VIDEO_SUFFIXES[suffix]


def _riff(head: bytes) -> Container:
    kind = head[8:12]
    if kind == b"WEBP":
        raise ValueError("a WebP picture")
    if kind == b"WAVE":
        raise ValueError("a WAV file")
    return _AVI


def _is_transport_stream(head: bytes) -> bool:
    """Packets of 188 bytes, or of 192 with a clock in front of each, all of which begin with a G."""
    return any(
        len(head) > at + 3 * step and all(head[at + i * step] == 0x47 for i in range(4))
        for at, step in ((0, 188), (4, 192))
    )
