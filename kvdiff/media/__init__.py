"""Clips in and out: GIF, MP4, WebM and NPY files, and pictures made of several clips.

Here a clip is [frames, height, width, channels] with 1 or 3 channels: uint8 pixels, or floats in [-1, 1].
Videos need PyAV, PNG pictures and labels need Pillow; both are imported only when used.
"""

from kvdiff.media.layout import BACKGROUND, enlarge, filmstrip, framed, grid, labelled, side_by_side
from kvdiff.media.pixels import to_pixels
from kvdiff.media.reading import READABLE, list_clip_files, read_clip, read_clips
from kvdiff.media.writing import WRITABLE, check_writable, encode_clip, encode_png, write_bytes, write_clip, write_clips

__all__ = [
    "BACKGROUND",
    "READABLE",
    "WRITABLE",
    "check_writable",
    "encode_clip",
    "encode_png",
    "enlarge",
    "filmstrip",
    "framed",
    "grid",
    "labelled",
    "list_clip_files",
    "read_clip",
    "read_clips",
    "side_by_side",
    "to_pixels",
    "write_bytes",
    "write_clip",
    "write_clips",
]
