"""A small server of one model's page, for models too large for a browser: it samples, and the page shows.

It serves on loopback unless asked otherwise, and then asks for a token. One window is sampled at a time; what nobody
waits for any more is stopped.
"""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import select
import socket
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import numpy as np

from kvdiff.runtime.manifest import FORMAT, FORMAT_VERSION
from kvdiff.web.description import described
from kvdiff.web.folder import index_of, npy, page_files
from kvdiff.web.live import LiveSampler

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_MOST_DISCARDED = 2**26  # Bytes of a request that is refused.
_PATIENCE = 0.2  # Seconds between two looks at whether somebody still waits.


class GoneError(Exception):
    """Nobody waits for the answer any more."""


class PageServer(http.server.ThreadingHTTPServer):
    """Serves a page and samples for it.

    Args:
        live: what samples.
        address: host and port; port 0 takes a free one.
        words: the page's `name`, and the `run` that its commands open.
        runtime: what samples, in words for a person.
        token: what requests must carry; "" asks for none.
        actions: as of `described`.
        examples: clips [frames, height, width, channels] to go on from, in users' numbers.
    """

    daemon_threads = True

    def __init__(
        self,
        live: LiveSampler,
        address: tuple[str, int],
        *,
        words: Mapping[str, str],
        runtime: str,
        token: str = "",
        actions: Any = None,
        examples: Sequence[np.ndarray] = (),
    ) -> None:
        self.live, self.token, self.runtime = live, token, runtime
        self.turn, self.waiting = threading.Lock(), threading.Semaphore(live.limits.waiting + 1)
        listed: list[dict[str, Any]] = [
            {"file": f"examples/{number + 1}.npy", "generated": False, "conditions": {}}
            for number in range(len(examples))
        ]
        spec = live.sampler.spec
        content, tables = described(spec, **words, actions=actions, examples=listed, engine="server")
        self.coded: bool = content["coded"]
        self.open_files = {path.name: path.read_bytes() for path in page_files()}
        self.open_files[""] = self.open_files["index.html"] = index_of(words["name"]).encode()
        self.files = {"spec.json": json.dumps(content).encode(), "tables.bin": tables}
        self.files |= {entry["file"]: npy(clip[None]) for entry, clip in zip(listed, examples, strict=True)}
        self.files["manifest.json"] = _manifest(self.files)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line: the answer was cut off, and the page says so."""
        print(f"A request failed: {' '.join(str(sys.exception()).split())}", file=sys.stderr)

    @property
    def url(self) -> str:
        """Where to open the page."""
        host, port = str(self.server_address[0]), self.server_address[1]
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{port}/" + (f"?token={self.token}" if self.token else "")


def _manifest(files: Mapping[str, bytes]) -> bytes:
    """The manifest that the page checks its files against."""
    records = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }
    return json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, "kind": "web", "files": records}).encode()


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: PageServer

    def setup(self) -> None:
        """Nobody may hold a thread by saying nothing."""
        self.timeout = self.server.live.limits.seconds  # type: ignore[misc]
        super().setup()

    def log_message(self, *_: Any) -> None:
        """Say nothing: a game asks ten times a second."""

    def do_GET(self) -> None:
        """The page's files; what says anything of the model needs the token."""
        name = self.path.partition("?")[0].lstrip("/")
        if not self._own_host():
            return self._refuse(HTTPStatus.FORBIDDEN, "this address is not the server's")
        if name in self.server.open_files:
            return self._send(self.server.open_files[name], _TYPES.get(f".{name.rpartition('.')[2]}", "text/html"))
        if not self._allowed():
            return self._refuse(HTTPStatus.FORBIDDEN, "the token is missing or wrong")
        if name == "api/runtime":
            return self._send(self.server.runtime.encode(), "text/plain; charset=utf-8")
        if name in self.server.files:
            return self._send(self.server.files[name], "application/octet-stream")
        return self._refuse(HTTPStatus.NOT_FOUND, "no such file")

    def do_POST(self) -> None:
        """A window, or frames to encode."""
        act = {"/api/window": self._window, "/api/encode": self._encode}.get(self.path)
        length = self.headers.get("Content-Length", "")
        self.close_connection = True
        most = self.server.live.most_bytes
        if not (self._own_host() and self._same_origin() and self._allowed()):
            return self._refuse_unread(HTTPStatus.FORBIDDEN, "the token is missing or wrong")
        if act is None:
            return self._refuse_unread(HTTPStatus.NOT_FOUND, "no such action")
        if not length.isdecimal() or int(length) > most:
            return self._refuse_unread(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {most} bytes")
        if self.headers.get("Content-Type") != "application/octet-stream":
            return self._refuse_unread(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/octet-stream")
        if not self.server.waiting.acquire(blocking=False):
            return self._refuse_unread(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests wait already")
        try:
            act(self.rfile.read(int(length)))
        except (GoneError, ConnectionError, TimeoutError):
            pass  # Nobody to tell.
        finally:
            self.server.waiting.release()
        return None

    def _window(self, body: bytes) -> None:
        asked = self._read(self.server.live.asked, body)
        if asked is None:
            return
        with _Turn(self):
            self._begin("application/octet-stream")
            for numbers, x in self.server.live.run(asked):
                self._chunk((numbers.tobytes(), x.tobytes()) if self.server.coded else (x.tobytes(),))
                self._check_waits()
            self._chunk(())

    def _encode(self, body: bytes) -> None:
        encoded = self._read(self.server.live.encoded, body)
        if encoded is not None:
            self._send(encoded.tobytes(), "application/octet-stream")

    def _read(self, read: Any, body: bytes) -> Any:
        """What a request says; None, and an answer that says why, where it says nothing that can be done."""
        try:
            return read(body)
        except KeyError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, f"expected {error.args[0]!r} in the request")
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error)[:1000])
        return None

    # Who may ask.

    def _own_host(self) -> bool:
        """Whether the request names this server: a page of another name must not reach it through a browser."""
        if self.server.token:
            return True
        host = self.headers.get("Host", "").rpartition(":")[0].strip("[]")
        return host in LOOPBACK

    def _same_origin(self) -> bool:
        origin = self.headers.get("Origin")
        return origin is None or origin == f"http://{self.headers.get('Host', '')}"

    def _allowed(self) -> bool:
        given = self.headers.get("X-Token", "").encode("utf-8", "replace")
        return not self.server.token or hmac.compare_digest(given, self.server.token.encode())

    def _check_waits(self) -> None:
        """Raise GoneError where the other side has closed."""
        ready = select.select([self.connection], [], [], 0)[0]
        if ready and not self.connection.recv(1, socket.MSG_PEEK):
            raise GoneError

    # Answers.

    def _begin(self, kind: str, length: int | None = None, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(*(("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _send(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._begin(kind, len(content), status)
        self.wfile.write(content)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send(why.encode(), "text/plain; charset=utf-8", status)

    def _refuse_unread(self, status: HTTPStatus, why: str) -> None:
        """Refuse a request without its body, of which some is read: a sender that is cut off never sees the answer."""
        length = self.headers.get("Content-Length", "")
        left = min(int(length), _MOST_DISCARDED) if length.isdecimal() else 0
        while left > 0 and (part := self.rfile.read(min(left, 2**16))):
            left -= len(part)
        self._refuse(status, why)

    def _chunk(self, parts: Iterable[bytes]) -> None:
        """A part of an answer whose length nobody knows yet; an empty one ends it."""
        content = b"".join(parts)
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()


class _Turn:
    """The right to sample, which one request has at a time; one that nobody waits for any more gives up."""

    def __init__(self, handler: _Handler) -> None:
        self.handler = handler

    def __enter__(self) -> None:
        while not self.handler.server.turn.acquire(timeout=_PATIENCE):
            self.handler._check_waits()

    def __exit__(self, *_: object) -> None:
        self.handler.server.turn.release()
