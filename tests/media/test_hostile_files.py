"""Files that would lead a careless reader elsewhere, block it, or fill its memory."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
import zipfile
import zlib

import numpy as np
import pytest

pytest.importorskip("av")

from kvdiff import media
from tests.media.conftest import encoded, memory


@pytest.fixture(scope="module")
def reader():
    with media.ClipReader(1, media.ReadLimits(seconds=5.0)) as reader:
        yield reader


@pytest.fixture
def root(tmp_path):
    """A folder with a good clip, beside a clip that is none of its business."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "good.mp4").write_bytes(encoded("h264.mp4"))
    (tmp_path / "secret.mp4").write_bytes(encoded("h264.mp4"))
    return tmp_path / "root"


@pytest.fixture
def listener():
    """A server on this machine that counts who comes: (port, connections)."""
    connections: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        done = threading.Event()

        def watch():
            while not done.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                connections.append(address)
                connection.close()

        thread = threading.Thread(target=watch)
        thread.start()
        yield server.getsockname()[1], connections
        done.set()
        thread.join()


def refused(reader: media.ClipReader, path: object, root: object = None) -> str:
    """Why the file is refused; fails where it is not, or where that takes long."""
    start = time.monotonic()
    with pytest.raises(media.VideoError) as refusal:
        reader.read(media.ClipRequest(path=str(path), root=None if root is None else str(root), size=(8, 8)))
    assert time.monotonic() - start < 5.0
    assert "died" not in refusal.value.reason and "to be decoded in" not in refusal.value.reason
    return refusal.value.reason


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {target}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="1" mimeType="video/mp4"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period>'
    "</MPD>",
    "url": "{target}",
}


@pytest.mark.parametrize("playlist", PLAYLISTS)
def test_playlists_reach_nothing(reader, root, listener, playlist):
    port, connections = listener
    for target in (f"http://127.0.0.1:{port}/a.mp4", f"tcp://127.0.0.1:{port}", "good.mp4", f"file:{root}/good.mp4"):
        for suffix in (".mp4", ".mkv", ".avi", ".ts", ".mpg", ".gif", ".flv", ".wmv", ".npy", ".npz"):
            path = root / f"clip{suffix}"
            path.write_text(PLAYLISTS[playlist].format(target=target, port=port))
            refused(reader, path, root)
    assert connections == []


def test_urls_are_not_followed(reader, root, listener):
    port, connections = listener
    for url in (f"http://127.0.0.1:{port}/a.mp4", f"rtmp://127.0.0.1:{port}/a.flv", f"tcp://127.0.0.1:{port}/a.ts"):
        assert "no such file" in refused(reader, url, root)
    for name in ("file:good.mp4", "concat:good.mp4", "subfile,,start,0,end,9,,:good.mp4", "pipe:0.mp4", "data:,x.mp4"):
        assert "no such file" in refused(reader, root / name, root)
    assert connections == []


def test_the_listener_would_have_noticed(listener):
    port, connections = listener
    socket.create_connection(("127.0.0.1", port)).close()
    deadline = time.monotonic() + 5
    while not connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(connections) == 1


def test_links_out_of_the_root_are_refused_and_inside_it_followed(reader, root):
    (root / "out.mp4").symlink_to(root.parent / "secret.mp4")
    (root / "in.mp4").symlink_to(root / "good.mp4")
    (root / "loop.mp4").symlink_to(root / "loop.mp4")
    (root / "folder").symlink_to(root.parent)
    assert "expected a file inside" in refused(reader, root / "out.mp4", root)
    assert "expected a file inside" in refused(reader, root / "folder" / "secret.mp4", root)
    assert "expected a file inside" in refused(reader, root / ".." / "secret.mp4", root)
    assert "no such file" in refused(reader, root / "loop.mp4", root)
    clip = reader.read(media.ClipRequest(path=str(root / "in.mp4"), root=str(root)))
    assert len(clip.frames) == 10
    assert len(reader.read(media.ClipRequest(path=str(root / "out.mp4"))).frames) == 10  # Without a root, anywhere.


def test_a_picture_of_a_folder_cannot_lead_out(reader, root):
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (8, 8)).save(root.parent / "secret.png")
    (root / "frames").mkdir()
    (root / "frames" / "0.png").symlink_to(root.parent / "secret.png")
    assert "expected a file inside" in refused(reader, root / "frames", root)
    with pytest.raises(media.VideoError, match="expected a file inside"):
        media.read_clip(root / "frames")
    for links in ("anywhere", root.parent):
        assert media.read_clip(root / "frames", links=links).shape == (1, 8, 8, 1)


def test_what_is_no_regular_file_is_refused_at_once(reader, root):
    os.mkfifo(root / "pipe.mp4")
    (root / "zero.mp4").symlink_to("/dev/zero")
    (root / "folder.mp4").mkdir()
    assert "special file" in refused(reader, root / "pipe.mp4", root)
    assert "special file" in refused(reader, root / "zero.mp4")
    assert "a folder of pictures. Received: an empty one" in refused(reader, root / "folder.mp4", root)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "s.mp4"))
        refused(reader, root / "s.mp4", root)
    os.mkfifo(root / "pipe.npy")
    assert "special file" in refused(reader, root / "pipe.npy", root)


def test_a_file_without_permission_or_content(reader, root):
    (root / "empty.mp4").write_bytes(b"")
    assert "expected a readable .mp4" in refused(reader, root / "empty.mp4", root)
    assert "no such file" in refused(reader, root / "null\0byte.mp4", root)


# Bombs: small files that ask for gigabytes.


def huge_gif(path):
    """65,535 × 65,535 pixels in a few bytes."""
    header = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6)
    picture = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x44\x01\x00"
    path.write_bytes(header + picture + b"\x3b")


def huge_png(path):
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(bytes(1 + 60000 * 3) * 20)
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    path.mkdir()
    (path / "0.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def huge_npy(path):
    """A header that promises 3 TB."""
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1024, 1024, 3), }".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode())


def huge_npz(path):
    """Two gigabytes of zeros, compressed a thousandfold."""
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (700, 1024, 1024, 3), }".ljust(117) + "\n"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("clip.npy", "w") as file,
    ):
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode())
        for _ in range(50):
            file.write(bytes(2**20))


def huge_mp4(path):
    """One black frame of 8192×4096, a megabyte at most."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 8192, 4096, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(8192, 4096, "yuv420p")))
        container.mux(stream.encode())


def huge_vp9(path):
    """A frame header that says 16,384 × 8,192 in a file whose pictures are 64 × 64."""
    content = bytearray(encoded("vp9.webm"))
    sync = content.index(b"\x49\x83\x42")  # VP9's sync code; bit depth, colour space and the sizes follow.
    bits = int.from_bytes(content[sync + 3 : sync + 9], "big")
    sizes_at = 48 - 4 - 32  # Three bits of colour space, one of range, then 16 + 16 bits of width - 1 and height - 1.
    mask = (1 << 32) - 1
    bits = bits & ~(mask << sizes_at) | ((16383 << 16 | 8191) << sizes_at)
    content[sync + 3 : sync + 9] = bits.to_bytes(6, "big")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("bomb", "suffix", "reason"),
    [
        (huge_gif, ".gif", "expected a readable .gif"),
        (huge_png, "", "60000×60000 pixels|readable picture"),
        (huge_npy, ".npy", "expected 3145728000000 bytes of values. Received: 0"),
        (huge_npz, ".npz", "expected 2202009600 bytes of values. Received: 52428800"),
        (huge_mp4, ".mp4", "expected a readable .mp4"),
        (huge_vp9, ".webm", "expected a readable .webm"),
    ],
)
def test_bombs_are_refused_before_they_go_off(reader, tmp_path, bomb, suffix, reason):
    reader.read(media.ClipRequest(path=str(_good(tmp_path))))
    (worker,) = reader._running
    before = memory(worker._process.pid)
    path = tmp_path / f"bomb{suffix}"
    bomb(path)
    assert path.is_dir() or path.stat().st_size < 2**20
    message = refused(reader, path)
    assert any(part in message for part in reason.split("|")), message
    assert memory(worker._process.pid) - before < 50 * 2**20


def _good(folder):
    path = folder / "good.gif"
    path.write_bytes(encoded("gif.gif"))
    return path


def test_a_long_video_of_nothing_is_refused(tmp_path):
    path = media.write_clip(tmp_path / "long.gif", np.zeros((3000, 2, 2, 1), np.uint8), fps=50)
    assert path.stat().st_size < 100_000
    with media.ClipReader(1, media.ReadLimits(frames=2000)) as reader:
        assert "more than 2000 frames" in refused(reader, path)
