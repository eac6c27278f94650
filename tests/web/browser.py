"""Chromium for tests: found, started, and watched. A page that asks for more than its own server is a failure."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 120_000  # Milliseconds; a busy machine is slow.
ENDS = "body[data-state=done], body[data-state=error]"


def chromium() -> str:
    """The program: `CHROMIUM`, or one on the path."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "expected Chromium on the path, or its place in CHROMIUM"
    return found


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass

    def end_headers(self) -> None:
        for name, value in self.server.more_headers.items():  # type: ignore[attr-defined]
            self.send_header(name, value)
        super().end_headers()


@contextmanager
def served(folder: Path, headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a static server of `folder`, on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    server.more_headers = headers or {}  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class Visit:
    """A page of the browser, with what it asked for and what its console said."""

    def __init__(self, page: Any, url: str, query: str = "") -> None:
        self.page, self.url = page, url
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda said: said.type in ("error", "warning") and self.errors.append(said.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)
        page.goto(url + query)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.elsewhere.append(request.url)

    def ready(self) -> Visit:
        """Once the model is loaded."""
        self.page.wait_for_selector("body[data-state=ready], body[data-state=error]")
        return self

    @property
    def error(self) -> str:
        """What a person is told of a failure; "" where nothing failed."""
        found = self.page.query_selector("#error")
        return found.inner_text() if found and found.is_visible() else ""

    def settings(self, **values: Any) -> None:
        """Choose settings by their labels, with `_` for a space."""
        if not self.page.locator("#settings").evaluate("each => each.open"):
            self.page.click("#settings summary")
        for name, value in values.items():
            field = self.page.locator("#settings-body label", has_text=name.replace("_", " ")).first
            if name == "Seed":
                field.locator("input").fill(str(value))
                field.locator("input").blur()
            else:
                field.locator("select").select_option(str(value))

    def run(self) -> None:
        """Press the button and wait for the end."""
        self.page.evaluate("document.body.dataset.state = 'asked'")
        self.page.click("#go")
        self.page.wait_for_selector(ENDS)

    def until(self, expression: str) -> None:
        """Wait until an expression of the page is true; the page allows none to be evaluated inside it."""
        ends = time.monotonic() + PATIENCE / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < ends, expression
            self.page.wait_for_timeout(50)

    def video(self) -> Any:
        """The result, float32 [frames, numbers of a frame]."""
        import numpy as np

        frames, numbers = self.page.evaluate("[kvdiff.result.frames, Array.from(kvdiff.result.video)]")
        return np.array(numbers, np.float32).reshape(frames, -1)
