"""Read clips from files. Files may be foreign, damaged or hostile: sizes are capped before pixels are decoded."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_count
from kvdiff.media.libraries import import_av
from kvdiff.media.pixels import check_single_clip, to_pixels, with_channels

__all__ = ["MAX_CLIP_BYTES", "MAX_FRAME_PIXELS", "READABLE", "list_clip_files", "read_clip", "read_clips"]

_CONTAINERS = {
    ".avi": "avi",
    ".gif": "gif",
    ".mkv": "matroska,webm",
    ".mov": "mov,mp4,m4a,3gp,3g2,mj2",
    ".mp4": "mov,mp4,m4a,3gp,3g2,mj2",
    ".webm": "matroska,webm",
}
READABLE = (".npy", *_CONTAINERS)
"""The suffixes that `read_clip` knows."""

MAX_FRAME_PIXELS = 4096 * 4096
"""A larger frame is refused before it is decoded: a file of 12 kB can ask for gigabytes."""

MAX_CLIP_BYTES = 2**30
"""A clip that grows beyond this while it is read is refused."""


def read_clip(
    path: str | pathlib.Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    max_frames: int | None = None,
) -> np.ndarray:
    """Read one clip: uint8 [frames, height, width, channels].

    Every frame of a GIF counts once, however long it is shown. Phone videos are turned upright.

    Args:
        path: a file that ends in one of `READABLE`. A .npy file holds [frames, height, width, 1 or 3], uint8 or floats
            in [-1, 1].
        size: (height, width) that every frame is resized to cover, what stands over cut off evenly; by default frames
            keep their size. Not for .npy.
        channels: 1 (grey) or 3 (colour); by default 1 where every pixel is grey, else 3.
        max_frames: stop after so many frames.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown suffix, content of another kind, damage, or more pixels than the caps above.
        ImportError: PyAV, which decodes videos, is not installed.
    """
    clips = read_clips(path, size=size, channels=channels, max_frames=max_frames)
    if len(clips) != 1:
        raise ValueError(f"{path}: expected one clip. Received: {len(clips)} clips; `read_clips` reads them all")
    return clips[0]


def read_clips(
    path: str | pathlib.Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    max_frames: int | None = None,
) -> np.ndarray:
    """Read every clip of a file: uint8 [clips, frames, height, width, channels].

    A video holds one clip; a .npy file may hold [clips, frames, height, width, channels]. Arguments as in `read_clip`.
    """
    path = pathlib.Path(path)
    if max_frames is not None:
        check_count("max_frames", max_frames)
    if path.suffix.lower() not in READABLE:
        raise ValueError(f"{path}: expected a file ending in {', '.join(READABLE)}. Received: {path.suffix!r}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.is_file():  # A pipe would block for ever.
        raise ValueError(f"{path}: expected a file. Received: a folder or a special file")
    if path.suffix.lower() == ".npy":
        if size is not None:
            raise ValueError(f"{path}: `size` cannot resize a .npy file. Received: {size}")
        clips = _read_npy(path, max_frames)
    else:
        clips = _read_video(path, size, max_frames)[None]
    return with_channels(clips, channels)


def list_clip_files(paths: Iterable[str | pathlib.Path]) -> list[pathlib.Path]:
    """The clip files among `paths`; of a folder, every readable file below it, sorted by name."""
    files: list[pathlib.Path] = []
    for path in map(pathlib.Path, paths):
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in READABLE and p.is_file())
        if path.is_dir() and not inside:
            raise ValueError(f"{path}: expected files ending in {', '.join(READABLE)}. Received: a folder with none")
        files += inside if path.is_dir() else [path]
    if not files:
        raise ValueError("`paths`: expected at least one file or folder. Received: none")
    return files


def _read_npy(path: pathlib.Path, max_frames: int | None) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # Maps first, so the caps come before the bytes.
    except Exception as error:  # A damaged header makes NumPy raise almost anything.
        raise ValueError(f"{path}: expected a .npy array. Received: {error}") from error
    clips = array if array.ndim == 5 else array[None]
    clips = clips if max_frames is None else clips[:, :max_frames]
    if clips.size > MAX_CLIP_BYTES:
        raise ValueError(f"{path}: expected at most {MAX_CLIP_BYTES} values. Received: {clips.size}")
    if clips.ndim != 5 or 0 in clips.shape:
        raise ValueError(f"{path}: expected an array [frames, height, width, 1 or 3]. Received: {list(array.shape)}")
    return np.stack([to_pixels(check_single_clip(str(path), clip)) for clip in clips])


def _read_video(path: pathlib.Path, size: tuple[int, int] | None, max_frames: int | None) -> np.ndarray:
    if path.suffix.lower() == ".gif":
        _check_gif_is_whole(path)
    with contextlib.closing(_decoded(path)) as decoded:
        frames: list[np.ndarray] = []
        for frame in decoded:
            frames.append(frame if size is None else _resized(frame, size))
            if len(frames) * frames[0].nbytes > MAX_CLIP_BYTES:
                limit = f"{MAX_CLIP_BYTES >> 20} MiB of pixels"
                raise ValueError(f"{path}: expected at most {limit}. Received: more; pass `max_frames` or `size`")
            if len(frames) == max_frames:
                break
    if not frames:
        raise ValueError(f"{path}: expected at least one frame. Received: none")
    if len({frame.shape for frame in frames}) > 1:
        raise ValueError(f"{path}: expected frames of one size. Received: {sorted({f.shape[:2] for f in frames})}")
    return np.stack(frames)


def _check_gif_is_whole(path: pathlib.Path) -> None:
    """A GIF that was cut off decodes without complaint, to fewer frames; its missing last byte tells."""
    content = path.read_bytes()
    if content[:6] not in (b"GIF87a", b"GIF89a"):
        raise ValueError(f"{path}: expected a GIF. Received: other content")
    if not content.rstrip(b"\0").endswith(b"\x3b"):
        raise ValueError(f"{path}: expected a whole GIF. Received: one that ends before its trailer (cut off?)")


def _decoded(path: pathlib.Path) -> Generator[np.ndarray, None, None]:
    """The upright frames of a video, uint8 [height, width, 3], one at a time."""
    av = import_av()
    try:
        # Only the container that the suffix promises, and no protocol: a playlist in disguise could reach other files.
        options = {"format_whitelist": _CONTAINERS[path.suffix.lower()], "protocol_whitelist": "file"}
        with path.open("rb") as file, av.open(file, options=options, metadata_errors="ignore") as container:
            if not container.streams.video:
                raise ValueError("no video stream")
            stream = container.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode", "max_pixels": str(MAX_FRAME_PIXELS)}
            yield from _upright_frames(container, stream)
    except GeneratorExit:
        raise
    except Exception as error:  # Hostile bytes make the decoder raise almost anything.
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path}: expected a readable {path.suffix} video. Received: {reason}") from error


def _upright_frames(container: Any, stream: Any) -> Iterator[np.ndarray]:
    declared, seen = stream.frames, 0  # 0 where the container does not say.
    for packet in container.demux(stream):
        seen += bool(packet.is_discard)
        for frame in packet.decode():
            seen += 1
            yield np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
    if seen < declared:
        raise ValueError(f"only {seen} of its {declared} frames (damaged?)")


def _resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 [height, width, 3] scaled to cover `size` = (height, width) by area averaging, then cut in the middle."""
    av = import_av()
    height, width = (check_count("size", side) for side in size)
    ratio = max(height / frame.shape[0], width / frame.shape[1])
    new_height, new_width = max(round(frame.shape[0] * ratio), height), max(round(frame.shape[1] * ratio), width)
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    scaled = picture.reformat(width=new_width, height=new_height, interpolation="AREA").to_ndarray()
    top, left = (new_height - height) // 2, (new_width - width) // 2
    return scaled[top : top + height, left : left + width]
