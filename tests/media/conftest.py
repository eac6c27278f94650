"""Small video files of many kinds, and what a process holds."""

from __future__ import annotations

import io
import os
import pathlib
import subprocess

import numpy as np
import pytest

KINDS = {
    "h264.mp4": ("mp4", "libx264", "yuv420p"),
    "vp9.webm": ("webm", "libvpx-vp9", "yuv420p"),
    "mpeg4.avi": ("avi", "mpeg4", "yuv420p"),
    "gif.gif": ("gif", "gif", "rgb8"),
    "hevc.mp4": ("mp4", "libx265", "yuv420p"),
    "av1.mkv": ("matroska", "libsvtav1", "yuv420p"),
    "vp8.webm": ("webm", "libvpx", "yuv420p"),
    "mpeg2.ts": ("mpegts", "mpeg2video", "yuv420p"),
    "mpeg1.mpg": ("mpeg", "mpeg1video", "yuv420p"),
    "mjpeg.avi": ("avi", "mjpeg", "yuvj420p"),
    "ffv1.mkv": ("matroska", "ffv1", "yuv420p"),
    "flv1.flv": ("flv", "flv", "yuv420p"),
    "wmv2.wmv": ("asf", "wmv2", "yuv420p"),
    "prores.mov": ("mov", "prores_ks", "yuv422p10le"),
}
"""File name: (container, encoder, pixel format)."""


def encoded(kind: str, frames: int = 10, size: int = 64, rate: int = 25) -> bytes:
    """A file of a kind of `KINDS`: a bright square on a ramp, moving; skips where this PyAV has no such encoder."""
    av = pytest.importorskip("av")
    container_name, codec, pixel_format = KINDS[kind]
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV cannot encode {codec}")
    ramp = np.arange(size)[:, None, None] * np.array([2, 1, 1]) + np.arange(size)[None, :, None]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container_name) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height = stream.width = size
        stream.pix_fmt = pixel_format
        for index in range(frames):
            picture = (ramp + 3 * index).astype(np.uint8)
            picture[10 : size // 2, 2 * index : 2 * index + 16] = 250
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def ffmpeg(*arguments: object) -> None:
    """Run ffmpeg's command; skips where it is not there."""
    command = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    subprocess.run([command, "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True, timeout=60)


def film(
    path: pathlib.Path, *options: object, seconds: float = 1.0, size: str = "32x24", rate: int = 25
) -> pathlib.Path:
    """ffmpeg's test picture, moving, encoded with `options`; by default H.264."""
    source = f"testsrc=size={size}:rate={rate}:duration={seconds}"
    options = options or ("-c:v", "libx264")
    ffmpeg("-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", *options, "-threads", 1, path)
    return path


def memory(pid: int) -> int:
    """Resident bytes of a process; skips where the system does not say."""
    status = pathlib.Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("needs /proc")
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def random_clip(channels: int = 1, frames: int = 6, height: int = 12, width: int = 14) -> np.ndarray:
    rng = np.random.default_rng(channels)
    return rng.integers(0, 256, (frames, height, width, channels), dtype=np.uint8)


def smooth_clip(channels: int, frames: int = 6, height: int = 16, width: int = 24) -> np.ndarray:
    """A brightness ramp that moves: what a lossy codec keeps well."""
    ramp = np.arange(width)[None, :] * 4 + np.arange(height)[:, None] * 3
    clip = np.stack([ramp + 8 * frame for frame in range(frames)]).astype(np.uint8)
    return np.repeat(clip[..., None], channels, axis=-1)
