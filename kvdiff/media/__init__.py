"""Clips in and out: videos, arrays and folders of frames, and pictures of several clips.

Here a clip is [frames, height, width, channels] with 1 or 3 channels: uint8 pixels, or floats in [-1, 1].
Videos need PyAV, PNG pictures and labels need Pillow; both are imported only when used.
"""

from kvdiff.media.decoding import Clip, ClipFacts
from kvdiff.media.errors import VideoError, printable
from kvdiff.media.files import check_file_writable, check_folder_writable, flush, whole_file, write_bytes
from kvdiff.media.finding import find_clips, list_clip_files, list_folders
from kvdiff.media.layout import BACKGROUND, enlarge, filmstrip, framed, grid, labelled, side_by_side
from kvdiff.media.limits import ReadLimits
from kvdiff.media.notebook import show
from kvdiff.media.opening import ANYWHERE, READABLE, check_links
from kvdiff.media.pixels import to_pixels
from kvdiff.media.reader import ClipReader
from kvdiff.media.reading import ClipRequest, TimedClips, num_clips, read_clip, read_clips, read_timed_clips
from kvdiff.media.scaling import check_size
from kvdiff.media.seeking import MANY, FrameIndex, NotIndexedError
from kvdiff.media.stills import list_stills
from kvdiff.media.writing import (
    WRITABLE,
    check_writable,
    encode_clip,
    encode_png,
    write_array,
    write_clip,
    write_clips,
    write_frames,
)

__all__ = [
    "ANYWHERE",
    "BACKGROUND",
    "MANY",
    "READABLE",
    "WRITABLE",
    "Clip",
    "ClipFacts",
    "ClipReader",
    "ClipRequest",
    "FrameIndex",
    "NotIndexedError",
    "ReadLimits",
    "TimedClips",
    "VideoError",
    "check_file_writable",
    "check_folder_writable",
    "check_links",
    "check_size",
    "check_writable",
    "encode_clip",
    "encode_png",
    "enlarge",
    "filmstrip",
    "find_clips",
    "flush",
    "framed",
    "grid",
    "labelled",
    "list_clip_files",
    "list_folders",
    "list_stills",
    "num_clips",
    "printable",
    "read_clip",
    "read_clips",
    "read_timed_clips",
    "show",
    "side_by_side",
    "to_pixels",
    "whole_file",
    "write_array",
    "write_bytes",
    "write_clip",
    "write_clips",
    "write_frames",
]
