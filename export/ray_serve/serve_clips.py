"""Serve an exported model by many replicas: `serve run serve_clips:app model=/models/exported replicas=4`."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import numpy as np
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from kvdiff.runtime import OrtSampler


@serve.deployment(max_ongoing_requests=1)
class Clips:
    """One replica of the model, on a core or a GPU of its own."""

    def __init__(self, model: str, provider: str) -> None:
        self._sampler = OrtSampler(model, providers=[provider], threads=1)

    async def __call__(self, request: Request) -> Response:
        """POST past frames, a .npy file, to have them continued, or nothing, to have clips generated.

        The query says how: `num_clips`, `num_steps`, `solver`, `seed`, `first_sample`. The answer is a .npy file.
        """
        past, query = await request.body(), dict(request.query_params)
        try:
            sampling = {name: int(query.get(name, value)) for name, value in _DEFAULTS.items()}
            # In a thread, so that the replica goes on answering Ray that it is alive.
            clips = await asyncio.to_thread(self._sample, past, solver=query.get("solver", "dpmpp_2m_sde"), **sampling)
        except (TypeError, ValueError) as error:
            return Response(str(error), status_code=400)
        file = io.BytesIO()
        np.save(file, clips)
        return Response(file.getvalue(), media_type="application/octet-stream")

    def _sample(self, past: bytes, *, num_clips: int, **sampling: Any) -> np.ndarray:
        if past:
            return self._sampler.predict_frames(np.load(io.BytesIO(past), allow_pickle=False), **sampling)
        return self._sampler.generate(num_clips, **sampling)


_DEFAULTS = {"num_clips": 1, "num_steps": 20, "seed": 0, "first_sample": 0}


def app(args: dict[str, str]) -> serve.Application:
    """What `serve run` deploys. Arguments: `model` (a path that every node sees), `replicas`, and `gpus` for each."""
    gpus = float(args.get("gpus", 0))
    provider = "CUDAExecutionProvider" if gpus else "CPUExecutionProvider"
    resources = {"num_cpus": 1, "num_gpus": gpus}
    deployment = Clips.options(num_replicas=int(args.get("replicas", 2)), ray_actor_options=resources)
    return deployment.bind(args["model"], provider)
