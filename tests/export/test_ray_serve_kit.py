"""The deployment kit `export/ray_serve` without Ray: what it refuses, and that it stops when nobody waits.

`tests/export/serving` runs it with Ray.
"""

from __future__ import annotations

import asyncio
import io
import runpy
import sys
import threading
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from kvdiff.runtime import OrtSampler
from kvdiff.runtime.manifest import METADATA, canonical_json
from tests.export.kit import KITS
from tests.runtime.handmade import SAMPLER, make_graph, write_artefact

PAST = np.zeros((2, 2, 8, 8, 1), np.float32)


class Response:
    """As Starlette's."""

    def __init__(self, content: bytes | str, status_code: int = 200, media_type: str = "") -> None:
        self.content, self.status_code = content, status_code


class Request:
    """As Starlette's, of a query and a body in two chunks."""

    def __init__(self, query: list[tuple[str, str]], body: bytes) -> None:
        self.query_params = types.SimpleNamespace(multi_items=lambda: query)
        self._body = body

    async def stream(self) -> AsyncIterator[bytes]:
        half = len(self._body) // 2
        yield self._body[:half]
        yield self._body[half:]


@pytest.fixture(scope="module")
def kit() -> dict[str, Any]:
    """The program's names, its imports from Ray and Starlette replaced."""
    serve = types.SimpleNamespace(deployment=lambda **options: lambda cls: cls, Application=object)
    modules = {
        "ray": types.SimpleNamespace(serve=serve),
        "starlette": types.SimpleNamespace(),
        "starlette.requests": types.SimpleNamespace(Request=Request),
        "starlette.responses": types.SimpleNamespace(Response=Response),
    }
    with mock.patch.dict(sys.modules, modules):
        return runpy.run_path(str(KITS / "ray_serve" / "serve_clips.py"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artefact(tmp_path_factory.mktemp("served"), make_graph({METADATA: canonical_json(SAMPLER)}))


@pytest.fixture(scope="module")
def replica(kit: dict[str, Any], model: Path) -> Any:
    return kit["Clips"](str(model), "CPUExecutionProvider", max_clips=4, max_steps=50)


def ask(replica: Any, body: bytes = b"", **query: Any) -> Response:
    return asyncio.run(replica(Request([(name, str(value)) for name, value in query.items()], body)))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def claiming(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    """A .npy file of 100 bytes or so that claims to be more."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_it_answers_as_the_sampler(replica: Any, model: Path) -> None:
    sampler = OrtSampler(model, providers=["CPUExecutionProvider"], threads=1)
    found = np.load(io.BytesIO(ask(replica, num_clips=3, num_steps=2, seed=5, first_sample=1, solver="ddpm").content))
    expected = sampler.generate(3, num_steps=2, seed=5, first_sample=1, solver="ddpm")
    np.testing.assert_array_equal(found, expected)
    for past in (PAST, np.asfortranarray(PAST + 0.5), PAST.astype(np.uint8)):
        found = np.load(io.BytesIO(ask(replica, npy(past), num_steps=2, seed=5).content))
        np.testing.assert_array_equal(found, sampler.predict_frames(past, num_steps=2, seed=5))


@pytest.mark.parametrize(
    ("query", "body", "message"),
    [
        ({"num_clips": 200_000}, b"", "`num_clips`: expected an integer from 1 to 4. Received: 200000"),
        ({"num_clips": 0}, b"", "`num_clips`: expected an integer from 1 to 4. Received: 0"),
        ({"num_steps": 1000}, b"", "`num_steps`: expected an integer from 1 to 50. Received: 1000"),
        ({"num_steps": "9" * 10_000}, b"", "`num_steps`: expected an integer from 1 to 50"),
        ({"num_steps": "2.5"}, b"", "`num_steps`: expected an integer"),
        ({"num_steps": "²"}, b"", "`num_steps`: expected an integer"),
        ({"num_steps": ""}, b"", "`num_steps`: expected an integer"),
        ({"seed": -1}, b"", "`seed`: expected an integer from 0 to"),
        ({"seed": 2**64}, b"", "`seed`: expected an integer from 0 to"),
        ({"first_sample": 2**32}, b"", "`first_sample`: expected an integer from 0 to"),
        ({"steps": 5}, b"", "query: expected .* Received: .'steps'."),
        ({"progress": 5}, b"", "query: expected .* Received: .'progress'."),
        ({"solver": "magic"}, b"", "`solver`: expected one of"),
        ({}, b"not an array", "magic string"),
        ({}, b"\x93NUMPY\x03\x00", "a .npy file of version 1 or 2"),
        ({}, npy(PAST)[:-1], "buffer size must be a multiple of element size"),
        ({}, npy(PAST)[:-4], "cannot reshape array"),
        ({}, claiming((10**6, 10**6)), "cannot reshape array|zero-sized"),
        ({}, claiming((10,), "|O"), "cannot create an OBJECT array|object"),
        ({}, npy(np.array({}, object)), "OBJECT|object"),
        ({}, npy(PAST[0]), "`past`: expected shape"),
        ({}, npy(np.float32(3)), "`past`: expected shape"),
        ({}, npy(PAST + 2), r"`past`: expected values in \[-1, 1\]"),
        ({}, npy(PAST.astype("<U1")), "`past`: expected"),
        ({}, npy(PAST.repeat(3, axis=0)), "body: expected at most 4 clips. Received: 6"),
    ],
)
def test_what_cannot_be_met_is_the_clients_fault(replica: Any, query: dict, body: bytes, message: str) -> None:
    answer = ask(replica, body, **query)
    assert answer.status_code == 400
    assert len(answer.content) < 1000
    with pytest.raises(ValueError, match=message):
        raise ValueError(answer.content)


def test_a_parameter_said_twice_is_refused(replica: Any) -> None:
    answer = asyncio.run(replica(Request([("seed", "1"), ("seed", "2")], b"")))
    assert answer.status_code == 400 and "each at most once. Received: ['seed']" in answer.content


def test_a_large_body_is_not_read_to_its_end(kit: dict[str, Any], replica: Any) -> None:
    read: list[int] = []

    class Endless(Request):
        async def stream(self) -> AsyncIterator[bytes]:
            while True:
                read.append(100)
                yield bytes(100)

    with mock.patch.dict(kit["_body"].__globals__, MAX_BODY=1000):
        assert asyncio.run(replica(Endless([], b""))).status_code == 413
    assert sum(read) == 1100


def test_sampling_stops_when_nobody_waits(replica: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, running, go_on = [], threading.Event(), threading.Event()
    denoise = replica._sampler.engine.denoise

    def slow(*inputs: Any) -> Any:
        calls.append(1)
        running.set()
        assert go_on.wait(10)
        return denoise(*inputs)

    monkeypatch.setattr(replica._sampler.engine, "denoise", slow)

    async def hang_up() -> None:
        task = asyncio.create_task(replica(Request([("num_steps", "50")], b"")))
        await asyncio.to_thread(running.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    asyncio.run(hang_up())  # Waits for the thread.
    assert len(calls) == 1


def test_an_argument_that_is_misspelt_is_named(kit: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected model, replicas, .*Received: \['replica'\]"):
        kit["app"]({"model": "m", "replica": "2"})
