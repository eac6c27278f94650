"""Folders of pictures: their order, what is none of them, and pictures that 8 bits cannot hold."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("PIL")

from PIL import Image

from kvdiff import media
from kvdiff.media.reading import decode_clip

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def frames_of(folder) -> np.ndarray:
    return decode_clip(media.ClipRequest(path=str(folder)), media.ReadLimits()).frames


def png(bits: int, kind: int, rows: np.ndarray) -> bytes:
    """A PNG of big-endian rows; `kind` as in its header: 0 grey, 2 RGB, 4 grey and opacity, 6 RGB and opacity."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], bits, kind, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


# The order.


def test_frames_come_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 1, 2, 100):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(tmp_path / f"frame{number}.png")
    assert frames_of(tmp_path)[:, 0, 0, 0].tolist() == [1, 2, 9, 10, 100]


def test_names_that_are_hard_to_sort(tmp_path):
    """A digit that is no number, and names that differ in zeros alone."""
    for value, name in enumerate(("01", "1", "1²2", "٣")):
        Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(tmp_path / f"{name}.png")
    assert frames_of(tmp_path)[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("one", "other"), [("rgb_{}.png", "depth_{}.png"), ("{}.png", "{}.jpg"), ("a/{}L.png", "a/{}R.png")]
)
def test_two_sequences_side_by_side_are_not_one(tmp_path, one, other):
    for number in range(3):
        for name in (one, other):
            path = tmp_path / name.format(number)
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(COLOUR).save(path)
    folder = (tmp_path / one).parent
    with pytest.raises(media.VideoError, match="expected one sequence of pictures"):
        frames_of(folder)
    for path in folder.glob("*2*"):
        path.unlink()
        break  # Now their numbers differ.
    assert len(frames_of(folder)) == 5


def test_what_systems_leave_behind_is_no_frame(tmp_path):
    for name in ("1.png", "2.png"):
        Image.fromarray(COLOUR).save(tmp_path / name)
        (tmp_path / f"._{name}").write_bytes(b"\0\5\x16\7" + bytes(100))  # As macOS does on foreign disks.
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png"):
        (tmp_path / name).write_bytes(b"none")
    assert len(frames_of(tmp_path)) == 2


# What pictures say of themselves.


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_pictures_are_turned_upright(tmp_path, orientation, suffix):
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:4, :8] = 255  # The upper left quarter is white.
    turns = {1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud, 5: lambda p: p.swapaxes(0, 1)}
    turns |= {6: np.rot90, 7: lambda p: np.rot90(p, 2).swapaxes(0, 1), 8: lambda p: np.rot90(p, 3)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {".jpg": {"quality": 100}, ".webp": {"lossless": True}}.get(suffix, {})
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](upright)))
    stored.save(tmp_path / f"1{suffix}", exif=exif, **options)
    (frame,) = frames_of(tmp_path)
    assert np.abs(frame.astype(int) - upright).max() < 8


def test_what_is_transparent_lies_on_white(tmp_path):
    opacity = np.full((6, 8, 1), 255, np.uint8)
    opacity[:, 4:] = 0
    picture = Image.fromarray(np.concatenate([COLOUR, opacity], axis=-1))
    picture.save(tmp_path / "1.png")
    picture.save(tmp_path / "2.webp", lossless=True)
    palette = Image.fromarray(np.repeat(np.arange(8, dtype=np.uint8)[None], 6, axis=0), mode="P")
    palette.putpalette(np.repeat(np.arange(8, dtype=np.uint8), 3).tobytes())
    palette.save(tmp_path / "3.png", transparency=5)
    first, second, third = frames_of(tmp_path)
    for frame in (first, second):
        np.testing.assert_array_equal(frame[:, :4], COLOUR[:, :4])
        assert (frame[:, 4:] == 255).all()
    assert third[0, :, 0].tolist() == [0, 1, 2, 3, 4, 255, 6, 7]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "RGB"])
def test_every_kind_of_8_bit_picture_is_read(tmp_path, mode):
    picture = Image.fromarray(COLOUR).convert(mode)
    picture.save(tmp_path / ("1.jpg" if mode == "CMYK" else "1.png"))
    (frame,) = frames_of(tmp_path)
    assert np.abs(frame.astype(int) - np.asarray(picture.convert("RGB"))).max() < 60  # A .jpg is lossy.


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_fill_the_range(tmp_path, bits):
    (tmp_path / "1.png").write_bytes(png(bits, 0, np.array([[0b11110000], [0]], np.uint8)))
    assert frames_of(tmp_path).max() == 255


def deep_pictures():
    tifffile = pytest.importorskip("tifffile")
    grey, colour = (RNG.integers(0, 2**16, shape).astype(np.uint16) for shape in ((4, 5), (4, 5, 3)))
    opaque = np.concatenate([colour, grey[..., None]], axis=-1)

    def tif(values, **options):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, values, **options)
        return buffer.getvalue()

    return {
        "grey.png": png(16, 0, grey.astype(">u2")),
        "rgb.png": png(16, 2, colour.astype(">u2")),
        "rgba.png": png(16, 6, opaque.astype(">u2")),
        "la.png": png(16, 4, opaque[..., :2].astype(">u2")),
        "grey.tif": tif(grey),
        "deflated.tif": tif(grey, compression="zlib"),
        "rgb.tif": tif(colour, photometric="rgb"),
        "int16.tif": tif(grey.astype(np.int16)),
        "int32.tif": tif(grey.astype(np.int32)),
        "float.tif": tif((grey / 65535).astype(np.float32)),
        "double.tif": tif(grey / 65535),
    }


@pytest.mark.parametrize("name", deep_pictures())
def test_more_than_8_bits_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(deep_pictures()[name])
    with pytest.raises(media.VideoError, match="values of more than 8 bits|cannot identify"):
        frames_of(tmp_path)


# Several pictures in one.


def test_files_of_several_pictures_are_refused(tmp_path):
    pages = [Image.fromarray(RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)) for _ in range(3)]
    for suffix in (".tif", ".png", ".webp"):
        (tmp_path / suffix[1:]).mkdir()
        pages[0].save(tmp_path / suffix[1:] / f"1{suffix}", save_all=True, append_images=pages[1:])
        with pytest.raises(media.VideoError, match="3 pages or frames in one file"):
            frames_of(tmp_path / suffix[1:])


def test_what_cameras_add_to_a_picture_is_no_page(tmp_path):
    """A smaller version in a TIFF, and a second picture behind a JPEG."""
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "1.tif") as file:
        file.write(COLOUR, photometric="rgb")
        file.write(COLOUR[::2, ::2].copy(), photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(frames_of(tmp_path), COLOUR[None])
    (tmp_path / "1.tif").unlink()
    pictures = [Image.fromarray(np.full((6, 8, 3), value, np.uint8)) for value in (50, 200)]
    pictures[0].save(tmp_path / "1.jpg", "MPO", save_all=True, append_images=pictures[1:])
    assert np.abs(frames_of(tmp_path).astype(int) - 50).max() < 3


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
def test_a_picture_cut_off_is_refused(tmp_path, suffix):
    path = tmp_path / f"1{suffix}"
    Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(media.VideoError, match="readable picture"):
            frames_of(tmp_path)
