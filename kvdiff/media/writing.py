"""Write clips to files: the whole file or none of it."""

from __future__ import annotations

import io
import itertools
import math
import pathlib
import warnings
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from kvdiff.diffusion.checks import check_array, check_choice, check_path, check_real, received, unit_range
from kvdiff.media.files import check_file_writable, whole_file, write_bytes
from kvdiff.media.layout import enlarge, grid
from kvdiff.media.libraries import import_av, import_pillow
from kvdiff.media.pixels import check_single_clip, to_pixels, with_channels

WRITABLE = (".npy", ".gif", ".mp4", ".webm")
"""The suffixes that `write_clip` knows."""


_CODECS = {".mp4": "libx264", ".webm": "libvpx-vp9"}
_SAME_BYTES = {".webm": {"fflags": "bitexact"}}  # Else it gets a random number.
_BT_601, _LIMITED = 6, 1  # FFmpeg's AVCOL_SPC_SMPTE170M and AVCOL_RANGE_MPEG: how RGB becomes YUV here.


def write_clip(path: str | pathlib.Path, clip: np.ndarray, *, fps: float = 8.0, scale: int = 1) -> pathlib.Path:
    """Write one clip to `path`, replacing what was there; returns the path.

    A .npy file keeps the values as they are, a .gif the pixels of up to 256 colours (more are reduced to 256); .mp4
    (H.264) and .webm (VP9) are lossy. The file appears whole or not at all.

    Args:
        path: where to; its suffix, one of `WRITABLE`, says how. Its folder must exist.
        clip: [frames, height, width, 1 or 3], uint8 or floats in [-1, 1].
        fps: frames a second, at most 50 in a .gif (players slow down anything faster).
        scale: repeat every pixel so many times in both directions, so that tiny frames can be seen.

    Raises:
        ValueError, TypeError: a suffix, clip, `fps` or `scale` that is not as above.
        FileNotFoundError, PermissionError: the folder does not exist or cannot be written to.
    """
    path = check_path("path", path)
    return write_bytes(path, encode_clip(clip, _check_suffix(path, fps), fps=fps, scale=scale))


def write_clips(path: str | pathlib.Path, clips: np.ndarray, *, fps: float = 8.0, scale: int = 1) -> pathlib.Path:
    """Write several clips to one file: a .npy file holds them all, in the others they play together in a grid.

    Args:
        path, fps, scale: as in `write_clip`.
        clips: [clips, frames, height, width, 1 or 3], uint8 or floats in [-1, 1]; of an ensemble [members, clips, …],
            whose members stand in a row of the grid, one row a clip, or as they are in a .npy file.
    """
    path, clips = check_path("path", path), check_array("clips", clips)
    if clips.ndim not in (5, 6) or 0 in clips.shape:
        wanted = "[clips, frames, height, width, 1 or 3], or [members, clips, …]"
        raise ValueError(f"`clips`: expected shape {wanted}. Received: {list(clips.shape)}")
    if _check_suffix(path, fps) == ".npy":
        if clips.ndim == 5:
            clips = np.stack([check_single_clip("clips", clip) for clip in clips])
        return write_bytes(path, _npy(enlarge(clips, scale)))
    if clips.shape[:-4] in ((1,), (1, 1)):
        return write_clip(path, clips.reshape(clips.shape[-4:]), fps=fps, scale=scale)
    return write_clip(path, together(clips, scale), fps=fps)


def write_frames(
    path: str | pathlib.Path, frames: Iterable[np.ndarray], *, fps: float = 8.0, scale: int = 1
) -> pathlib.Path:
    """Write a video of frames that are taken one after the other, such as a stream's; returns the path.

    An .mp4 or .webm takes the memory of a few frames, however many there are. The colours of a .gif are chosen for all
    of them, so it keeps their pixels until the last. The file is that of `write_clips`, whole or not there at all.

    Args:
        path, fps, scale: as in `write_clip`, but for .npy, whose beginning says how many frames there are.
        frames: at least one; each [clips, height, width, 1 or 3], uint8 or floats in [-1, 1], or of an ensemble
            [members, clips, …]. Several play together in a grid, as in `write_clips`.

    Raises:
        ValueError, TypeError: as `write_clip`, of a frame when it is taken.
    """
    path = check_path("path", path)
    suffix = _check_suffix(path, fps)
    if suffix == ".npy":
        raise ValueError(f"{path}: expected a file ending in .gif, .mp4 or .webm. Received: '.npy'")
    if not isinstance(frames, Iterable):
        raise TypeError(f"`frames`: expected arrays one after the other. Received: {received(frames)}")
    pictures = (_picture(frame, scale) for frame in frames)
    if (first := next(pictures, None)) is None:
        raise ValueError("`frames`: expected at least one. Received: none")
    every = itertools.chain([first], pictures)
    with whole_file(path) as file:
        if suffix == ".gif":
            _write_gif(np.stack(list(every)), file, fps)
        else:
            _write_video(every, suffix, first.shape[:2], file, fps)
    return path


def _picture(frame: np.ndarray, scale: int) -> np.ndarray:
    """One frame of clips or an ensemble as a picture, uint8 [height, width, 1 or 3]."""
    frame = check_array("frames", frame)
    if frame.ndim not in (4, 5) or 0 in frame.shape:
        wanted = "[clips, height, width, 1 or 3], or [members, clips, …]"
        raise ValueError(f"`frames`: expected shape {wanted}. Received: {list(frame.shape)}")
    return together(frame[..., None, :, :, :], scale)[0]


def together(clips: np.ndarray, scale: int) -> np.ndarray:
    """Clips [clips, frames, …] or [members, clips, frames, …] as one that shows them all, uint8 [frames, …]."""
    columns = None
    if clips.ndim == 6:
        columns = None if clips.shape[1] == 1 else len(clips)
        clips = np.swapaxes(clips, 0, 1).reshape(-1, *clips.shape[2:])
    each = [enlarge(check_single_clip("clips", clip), scale) for clip in clips]
    return to_pixels(each[0]) if len(each) == 1 else grid(each, columns or math.isqrt(len(each) - 1) + 1, gap=2)


def check_writable(path: str | pathlib.Path, *, fps: float = 8.0) -> None:
    """Raise unless `write_clip(path, …, fps=fps)` will work; call it before the long work whose result goes there.

    Raises:
        ValueError, TypeError: a suffix or `fps` that cannot be written.
        ImportError: what encodes such files is not installed.
        OSError: no such folder, or nothing can be written there.
    """
    path = check_path("path", path)
    suffix = _check_suffix(path, fps)
    if suffix != ".npy":
        codec = "gif" if suffix == ".gif" else _CODECS[suffix]
        if codec not in import_av().codecs_available:
            raise ImportError(f"{path}: expected PyAV with the encoder {codec}. Received: one without it")
    if suffix == ".gif":
        import_pillow()
    check_file_writable(path)


def encode_clip(clip: np.ndarray, suffix: str, *, fps: float = 8.0, scale: int = 1) -> bytes:
    """The bytes of a clip's file. Arguments as in `write_clip`."""
    check_choice("suffix", suffix, WRITABLE)
    _check_rate(suffix, fps)
    clip = enlarge(check_single_clip("clip", clip), scale)
    if suffix == ".npy":
        return _npy(clip)
    if note := unit_range(clip):
        warnings.warn(f"`clip`: {note}", stacklevel=2)
    pixels, file = to_pixels(clip), io.BytesIO()
    if suffix == ".gif":
        _write_gif(pixels, file, fps)
    else:
        _write_video(pixels, suffix, pixels.shape[1:3], file, fps)
    return file.getvalue()


def encode_png(picture: np.ndarray) -> bytes:
    """A PNG file's bytes from one picture, uint8 or floats in [-1, 1], [height, width, 1 or 3]."""
    pillow = import_pillow()
    pixels = with_channels(to_pixels(check_single_clip("picture", check_array("picture", picture)[None])[0]), None)
    buffer = io.BytesIO()
    pillow.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_array(path: str | pathlib.Path, array: np.ndarray) -> pathlib.Path:
    """Write numbers of any kind and shape to a .npy file, replacing what was there; returns the path."""
    return write_bytes(check_path("path", path), _npy(array))


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _check_suffix(path: pathlib.Path, fps: float) -> str:
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ValueError(f"{path}: expected a file ending in {', '.join(WRITABLE)}. Received: {path.suffix!r}")
    _check_rate(suffix, fps)
    return suffix


def _check_rate(suffix: str, fps: float) -> None:
    if check_real("fps", fps, above=0.0, below=1000.0) > 50.0 and suffix == ".gif":
        raise ValueError(
            f"`fps`: expected a number up to 50 for a .gif, which players slow down above. Received: {fps}"
        )


def _write_gif(clip: np.ndarray, file: BinaryIO, fps: float) -> None:
    indices, palette = _palette(with_channels(clip, None))
    _mux(indices, (".gif", "gif", "pal8"), clip.shape[1:3], file, fps, {}, palette)


def _palette(clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Palette indices uint8 [frames, height, width] and colours uint8 [256, 4] (alpha, red, green, blue)."""
    palette = np.full((256, 4), 255, np.uint8)
    if clip.shape[-1] == 1:
        palette[:, 1:] = np.arange(256)[:, None]
        return clip[..., 0], palette
    packed, indices = np.unique(clip.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_inverse=True)
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1)
    if len(colours) > 256:
        colours, indices = _reduced(clip)
    palette[: len(colours), 1:] = colours
    return indices.reshape(clip.shape[:3]).astype(np.uint8), palette


def _reduced(clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """256 colours near all of the clip's (median cut over all frames), and which of them every pixel takes."""
    pillow = import_pillow()
    frames, height, width, _ = clip.shape
    picture = pillow.Image.fromarray(clip.reshape(frames * height, width, 3))
    picture = picture.quantize(256, dither=pillow.Image.Dither.NONE)
    return np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3), np.asarray(picture)


def _write_video(
    pictures: Iterable[np.ndarray], suffix: str, size: tuple[int, int], file: BinaryIO, fps: float
) -> None:
    # Players want colour at half resolution, which odd sizes do not allow.
    pixel_format = "yuv420p" if size[0] % 2 == size[1] % 2 == 0 else "yuv444p"
    options = {"crf": "14"} if suffix == ".mp4" else {"crf": "14", "b": "0"}
    if suffix == ".mp4" and (size[0] % 16 or size[1] % 16):
        # These measure what lies beyond the edge, so that the same clip gave several files.
        options |= {"aq-mode": "none", "mbtree": "0", "weightp": "none"}
    colours = (with_channels(picture, 3) for picture in pictures)
    _mux(colours, (suffix, _CODECS[suffix], pixel_format), size, file, fps, options)


def _mux(
    frames: Iterable[np.ndarray],
    kind: tuple[str, str, str],
    size: tuple[int, int],
    file: BinaryIO,
    fps: float,
    options: dict[str, str],
    palette: np.ndarray | None = None,
) -> None:
    """Encode frames ([height, width, 3], or palette indices [height, width]) into one container."""
    av = import_av()
    suffix, codec, pixel_format = kind
    with av.open(file, "w", format=suffix[1:], options=_SAME_BYTES.get(suffix, {})) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000), options=options)
        stream.height, stream.width, stream.pix_fmt = *size, pixel_format
        if palette is None:  # Untagged, large pictures are taken for BT.709.
            stream.codec_context.colorspace, stream.codec_context.color_range = _BT_601, _LIMITED
        for frame in frames:
            picture = (
                av.VideoFrame.from_ndarray(frame, format="rgb24")
                if palette is None
                else av.VideoFrame.from_ndarray((np.ascontiguousarray(frame), palette), format="pal8")
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
