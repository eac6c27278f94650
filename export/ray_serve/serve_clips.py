"""Serve an exported model by many replicas: `serve run serve_clips:app model=/models/exported replicas=4`."""

from __future__ import annotations

import asyncio
import io
import threading
from typing import Any

import numpy as np
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from kvdiff.runtime import OrtSampler

MAX_BODY = 64 * 2**20
"""Bytes of past frames in one request."""
MAX_QUEUED = 64
"""Requests that wait for a replica; further ones are answered with 503 at once."""

_DEFAULTS = {"num_clips": 1, "num_steps": 20, "seed": 0, "first_sample": 0}


@serve.deployment(max_ongoing_requests=1, max_queued_requests=MAX_QUEUED)
class Clips:
    """One replica of the model, on a core or a GPU of its own.

    Args:
        model: `denoiser.onnx` or its folder.
        provider: ONNX Runtime's execution provider.
        max_clips, max_steps: the most of each in one request, which bound its time and memory.
    """

    def __init__(self, model: str, provider: str, max_clips: int, max_steps: int) -> None:
        self._sampler = OrtSampler(model, providers=[provider], threads=1)
        self._most = {"num_clips": max_clips, "num_steps": max_steps, "seed": 2**64 - 1, "first_sample": 2**32 - 1}

    async def __call__(self, request: Request) -> Response:
        """POST past frames, a .npy file, to have them continued, or nothing, to have clips generated.

        The query says how: `num_clips`, `num_steps`, `solver`, `seed`, `first_sample`. The answer is a .npy file; 400
        and a sentence for a request that cannot be met, 413 for one that is too large. A client that hangs up stops the
        sampling after the network call that is running.
        """
        abandoned = threading.Event()
        try:
            body = await _body(request)
            if body is None:
                return Response(f"body: expected at most {MAX_BODY} bytes", status_code=413)
            how = self._asked(request.query_params.multi_items())
            past = _array(body) if body else None
            # In a thread, so that the replica goes on answering Ray that it is alive.
            clips = await asyncio.to_thread(self._sample, past, how, abandoned)
        except asyncio.CancelledError:
            abandoned.set()
            raise
        except (TypeError, ValueError) as error:
            return Response(str(error), status_code=400)
        file = io.BytesIO()
        np.save(file, clips)
        return Response(file.getvalue(), media_type="application/octet-stream")

    def _asked(self, query: list[tuple[str, str]]) -> dict[str, Any]:
        """The sampler's arguments that a query says, every one known, said once, and within its bounds."""
        names = [name for name, _ in query]
        if wrong := sorted(name for name in set(names) if name not in (*_DEFAULTS, "solver") or names.count(name) > 1):
            raise ValueError(f"query: expected {[*_DEFAULTS, 'solver']}, each at most once. Received: {wrong}"[:500])
        asked: dict[str, Any] = {"solver": "dpmpp_2m_sde", **_DEFAULTS, **dict(query)}
        for name, least in (("num_clips", 1), ("num_steps", 1), ("seed", 0), ("first_sample", 0)):
            text = str(asked[name])
            if not (text.isascii() and text.isdecimal() and len(text) <= 20 and least <= int(text) <= self._most[name]):
                raise ValueError(
                    f"`{name}`: expected an integer from {least} to {self._most[name]}. Received: {text[:40]}"
                )
            asked[name] = int(text)
        return asked

    def _sample(self, past: np.ndarray | None, how: dict[str, Any], abandoned: threading.Event) -> np.ndarray:
        def progress(done: int, total: int) -> None:
            if abandoned.is_set():
                raise InterruptedError("the client has hung up")

        num_clips = how.pop("num_clips")
        if past is None:
            return self._sampler.generate(num_clips, progress=progress, **how)
        if past.ndim and len(past) > self._most["num_clips"]:
            raise ValueError(f"body: expected at most {self._most['num_clips']} clips. Received: {len(past)}")
        return self._sampler.predict_frames(past, progress=progress, **how)


async def _body(request: Request) -> bytes | None:
    """The request's body, or None as soon as it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _array(content: bytes) -> np.ndarray:
    """The array of a .npy file, of as many numbers as the file has, whatever it claims."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"body: expected a .npy file of version 1 or 2. Received: {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if by_columns else "C")


def app(args: dict[str, str]) -> serve.Application:
    """What `serve run` deploys.

    Arguments: `model` (a path that every node sees), `replicas`, `gpus` for each, and the most that one request may
    ask for, `max_clips` and `max_steps`.
    """
    if unknown := sorted(set(args) - {"model", "replicas", "gpus", "max_clips", "max_steps"}):
        raise ValueError(f"serve_clips: expected model, replicas, gpus, max_clips, max_steps. Received: {unknown}")
    gpus = float(args.get("gpus", 0))
    provider = "CUDAExecutionProvider" if gpus else "CPUExecutionProvider"
    resources = {"num_cpus": 1, "num_gpus": gpus}
    deployment = Clips.options(num_replicas=int(args.get("replicas", 2)), ray_actor_options=resources)
    return deployment.bind(args["model"], provider, int(args.get("max_clips", 16)), int(args.get("max_steps", 250)))
