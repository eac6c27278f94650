"""`kvdiff play`: the video of the sampler, and nothing for those who ask for too much, without a token or no more."""

from __future__ import annotations

import dataclasses
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion import AveragePool, DenoiserEngine, FrameVectors, ModelSpec, Sampler
from kvdiff.web.live import Limits, LiveSampler
from kvdiff.web.server import PageServer
from tests.web.models import SPEC

WORDS = {"name": "digits", "run": "saved_models/digits"}


def denoise(noisy_clip: np.ndarray, noise_label: np.ndarray, inputs: Mapping[str, Any]) -> np.ndarray:
    """Any function will do: what counts is that both sides call it alike."""
    moved = 0.5 * noisy_clip + 0.1 * noise_label[..., None, None, None]
    if "action" in inputs:
        moved = moved + 0.2 * (inputs["told"][:, :1, None] * inputs["action"]).sum(-1)[..., None, None, None]
    return moved.astype(np.float32)


@contextmanager
def serving(
    spec: ModelSpec = SPEC, limits: Limits | None = None, token: str = "", work: Any = denoise, **options: Any
) -> Iterator[PageServer]:
    live = LiveSampler(Sampler(spec, DenoiserEngine(work)), limits or Limits())
    server = PageServer(live, ("127.0.0.1", 0), words=WORDS, runtime="by NumPy", token=token, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def body(head: Mapping[str, Any], numbers: np.ndarray | bytes = b"") -> bytes:
    text = json.dumps(head).encode()
    content = numbers if isinstance(numbers, bytes) else np.ascontiguousarray(numbers, "<f4").tobytes()
    return len(text).to_bytes(4, "little") + text + content


def window(start: np.ndarray, new: list[bool], **changes: Any) -> bytes:
    head = dict(task="predict", solver="dpmpp_2m_sde", steps="5", seed="3", conditions={}, guidance=1)
    head |= dict(draw=0, quiet=False, isNew=new)
    return body({**head, **changes}, start)


def ask(server: PageServer, path: str, content: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    base = {"Content-Type": "application/octet-stream"} if content is not None else {}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET" if content is None else "POST", path, content, {**base, **names})
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


@pytest.fixture
def past(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1, 1, (1, 2, 8, 8, 1)).astype(np.float32)


def start_of(past: np.ndarray, frames: int = 4) -> np.ndarray:
    start = np.zeros((1, frames, *past.shape[2:]), np.float32)
    start[:, : past.shape[1]] = past
    return start


NEW = [False, False, True, True]


def test_a_window_call_by_call_ends_in_the_video_of_the_sampler(past: np.ndarray) -> None:
    with serving() as server:
        sampler = server.live.sampler
        status, content = ask(server, "/api/window", window(start_of(past), NEW))
        calls = np.frombuffer(content, "<f4").reshape(5, 4, 8, 8, 1)
        wanted = sampler.predict_frames(past, num_steps=5, seed=3)
        np.testing.assert_allclose(calls[-1, 2:], wanted[0], atol=1e-6)
        np.testing.assert_array_equal(calls[:, :2], np.broadcast_to(past, calls[:, :2].shape))
        assert status == 200 and np.abs(np.diff(calls[:, 2:], axis=0)).max() > 0.01
        quiet = ask(server, "/api/window", window(start_of(past), NEW, quiet=True))[1]
        np.testing.assert_allclose(np.frombuffer(quiet, "<f4").reshape(4, 8, 8, 1)[2:], wanted[0], atol=1e-6)


def test_actions_and_guidance_reach_the_network(past: np.ndarray) -> None:
    spec = dataclasses.replace(SPEC, conditions={"action": FrameVectors(2)})
    action = np.arange(8.0).reshape(4, 2) / 8
    sent = {"action": {"shape": [4, 2], "data": action.ravel().tolist()}}
    with serving(spec) as server:
        content = ask(server, "/api/window", window(start_of(past), NEW, conditions=sent, guidance=2.5, quiet=True))[1]
        wanted = server.live.sampler.predict_frames(
            past, num_steps=5, seed=3, conditions={"action": action}, guidance=2.5
        )
        np.testing.assert_allclose(np.frombuffer(content, "<f4").reshape(4, 8, 8, 1)[2:], wanted[0], atol=1e-5)


def test_a_model_with_a_codec_sends_numbers_and_what_the_network_has(past: np.ndarray) -> None:
    with serving(dataclasses.replace(SPEC, codec=AveragePool(2))) as server:
        status, latent = ask(server, "/api/encode", body({"frames": 2}, past))
        spec = server.live.sampler.spec
        np.testing.assert_allclose(np.frombuffer(latent, "<f4").reshape(1, 2, 4, 4, 1), spec.encode(past), atol=1e-6)
        start = start_of(spec.encode(past))
        content = np.frombuffer(ask(server, "/api/window", window(start, NEW, quiet=True))[1], "<f4")
        numbers, x = content[:256].reshape(1, 4, 8, 8, 1), content[256:].reshape(1, 4, 4, 4, 1)
        assert status == 200
        np.testing.assert_allclose(numbers, spec.decode(x), atol=1e-6)
        wanted = server.live.sampler.predict_frames(past, num_steps=5, seed=3)
        np.testing.assert_allclose(numbers[:, 2:], wanted, atol=1e-5)


def test_the_page_and_its_files_agree_with_their_manifest(rng: np.random.Generator) -> None:
    clip = rng.integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    with serving(examples=[clip]) as server:
        assert b"<title>digits</title>" in ask(server, "/")[1] and ask(server, "/page.js")[0] == 200
        files = json.loads(ask(server, "/manifest.json")[1])["files"]
        assert set(files) == {"spec.json", "tables.bin", "examples/1.npy"}
        for name, record in files.items():
            assert len(ask(server, f"/{name}")[1]) == record["bytes"]
        spec = json.loads(ask(server, "/spec.json")[1])
        assert spec["engine"] == "server" and spec["run"] == "saved_models/digits"
        assert ask(server, "/api/runtime") == (200, b"by NumPy")
        for name in ("/../pyproject.toml", "/live.py", "/gallery.html", "/examples/2.npy"):
            assert ask(server, name)[0] == 404


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"solver": "magic"}, "`solver`: expected one of"),
        ({"task": "infill"}, "`task`"),
        ({"steps": "101"}, "`steps`: expected"),
        ({"steps": "x"}, "invalid literal"),
        ({"draw": -1}, "`draw`"),
        ({"seed": str(2**64)}, "`seed`"),
        ({"guidance": "much"}, "`guidance`"),
        ({"quiet": 1}, "`quiet`"),
        ({"conditions": {"action": {"shape": [4], "data": [1] * 4}}}, "`conditions`: expected names among"),
        ({"conditions": []}, "`conditions`"),
        ({"isNew": [False] * 4}, "`isNew`"),
        ({"isNew": [True] * 17}, "`isNew`: expected up to 16"),
        ({"isNew": [True] * 3}, "request: expected 768 bytes"),
        ({"isNew": [0, 1, 1, 1]}, "`isNew`"),
    ],
)
def test_what_is_not_the_models_is_refused_by_name(past: np.ndarray, changes: dict[str, Any], why: str) -> None:
    with serving() as server:
        status, content = ask(server, "/api/window", window(start_of(past), NEW, **changes))
        assert status == 400 and why in content.decode()


def test_requests_that_are_no_requests_are_refused(past: np.ndarray) -> None:
    with serving() as server:
        for content, status in (
            (b"", 400),
            (b"\xff\xff\xff\x7f{}", 400),
            (body({}), 400),
            (b"\x02\0\0\0[]", 400),
            (b"\x04\0\0\0" + b"\xff" * 4, 400),
            (window(np.full((1, 4, 8, 8, 1), np.nan), NEW), 400),
            (b"x" * (server.live.most_bytes + 1), 413),
        ):
            assert ask(server, "/api/window", content)[0] == status, content[:20]
        assert ask(server, "/api/other", b"")[0] == 404
        assert ask(server, "/api/window", b"", Content_Type="text/plain")[0] == 415
        assert ask(server, "/api/window", window(start_of(past), NEW))[0] == 200  # It goes on.


def test_other_pages_cannot_ask_through_a_browser(past: np.ndarray) -> None:
    with serving() as server:
        asked = window(start_of(past), NEW)
        assert ask(server, "/api/window", asked, Origin="http://elsewhere.example")[0] == 403
        assert ask(server, "/spec.json", Host="elsewhere.example:80")[0] == 403  # A name that leads to loopback.
        origin = f"http://127.0.0.1:{server.server_address[1]}"
        assert ask(server, "/api/window", asked, Origin=origin)[0] == 200


def test_a_token_guards_all_that_says_anything_of_the_model(past: np.ndarray) -> None:
    with serving(token="secret") as server:
        assert server.url.endswith("?token=secret")
        assert ask(server, "/")[0] == 200 and ask(server, "/page.js")[0] == 200
        for name in ("/spec.json", "/tables.bin", "/manifest.json", "/api/runtime"):
            assert ask(server, name)[0] == 403 and ask(server, name, X_Token="wrong")[0] == 403
            assert ask(server, name, X_Token="secret", Host="computer.local:1")[0] == 200
        asked = window(start_of(past), NEW)
        assert ask(server, "/api/window", asked)[0] == 403
        assert ask(server, "/api/window", asked, X_Token="secret")[0] == 200


def test_work_that_nobody_waits_for_is_stopped(past: np.ndarray) -> None:
    calls, entered = [], threading.Event()

    def slowly(*inputs: Any) -> np.ndarray:
        calls.append(1)
        entered.set()
        time.sleep(0.05)
        return denoise(*inputs)

    with serving(work=slowly) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
        content = window(start_of(past), NEW, steps="100")
        connection.request("POST", "/api/window", content, {"Content-Type": "application/octet-stream"})
        assert entered.wait(20)
        connection.close()
        status, _ = ask(server, "/api/window", window(start_of(past), NEW, steps="2"))
        assert status == 200 and len(calls) < 60  # Of 102.


def test_more_requests_than_may_wait_are_sent_away(past: np.ndarray) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def blocked(*inputs: Any) -> np.ndarray:
        entered.set()
        assert go_on.wait(20)
        return denoise(*inputs)

    with serving(work=blocked, limits=Limits(waiting=0)) as server:
        asked = window(start_of(past), NEW)
        found: list[int] = []
        first = threading.Thread(target=lambda: found.append(ask(server, "/api/window", asked)[0]))
        first.start()
        assert entered.wait(20)
        assert ask(server, "/api/window", asked) == (503, b"too many requests wait already")
        go_on.set()
        first.join(20)
        assert found == [200]


def test_a_network_that_fails_cuts_the_answer_off_and_the_server_goes_on(past: np.ndarray) -> None:
    outputs = iter([np.nan])

    def failing(noisy_clip: np.ndarray, *rest: Any) -> np.ndarray:
        return noisy_clip * np.float32(next(outputs, 0.5))

    with serving(work=failing) as server:
        with pytest.raises(http.client.IncompleteRead):
            ask(server, "/api/window", window(start_of(past), NEW))
        assert ask(server, "/api/window", window(start_of(past), NEW))[0] == 200


@pytest.mark.parametrize(
    "options", [dict(frames=0), dict(steps=0), dict(waiting=-1), dict(seconds=0.0), dict(steps="many")]
)
def test_limits_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=f"`{next(iter(options))}`"):
        Limits(**options)
