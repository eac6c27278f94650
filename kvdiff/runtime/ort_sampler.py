"""The fused ONNX Runtime sampler: one call of one graph makes a clip, whatever the solver and the task."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.noise import video_noise
from kvdiff.diffusion.sampler import ClipSampler
from kvdiff.diffusion.steps import StepTable
from kvdiff.runtime.manifest import load_artefact
from kvdiff.runtime.ort import Provider, check_session, open_session

__all__ = ["COLUMNS", "FILE", "KIND", "FusedOrtSampler"]

KIND = "onnx-sampler"
FILE = "sampler.onnx"
COLUMNS = ("c_in", "c_noise", "c_skip", "c_out", "a", "std")
"""The columns of a step table in the order of the graph's input `table`; `b` is an input of its own."""


class FusedOrtSampler(ClipSampler):
    """Samples with a graph that `kvdiff.export.export_onnx_sampler` wrote: the loop runs inside ONNX Runtime.

    The same verbs, keywords and videos as `OrtSampler`; convenient where a host can only call a model once. The noise
    of all steps is made beforehand, so a stochastic solver holds steps × clip of it in memory, and progress is reported
    once a batch.

    Args:
        path: `sampler.onnx`, or its directory; its manifest must lie beside it.
        providers, threads: as for `OrtSampler`.

    Raises:
        ArtefactError: a missing, foreign or changed file.
        ImportError: no onnxruntime.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        providers: Sequence[Provider] | None = None,
        threads: int | None = None,
    ) -> None:
        artefact = load_artefact(path, KIND, FILE)
        super().__init__(artefact.clip_spec, artefact.schedule, artefact.prediction)
        self.manifest, self.path = artefact.manifest, artefact.path
        self._session = open_session(artefact.path, providers, threads)
        check_session(artefact, self._session)

    def denoise(self, noisy_clip: Any, noise_label: np.ndarray) -> Any:
        """Not to be had: the network is inside the loop."""
        raise NotImplementedError("FusedOrtSampler makes whole clips; for single network calls use OrtSampler.")

    def _run(
        self,
        table: StepTable,
        clip: np.ndarray,
        known: np.ndarray,
        seed: int,
        samples: Sequence[int] | np.ndarray,
        report: Callable[[int], None],
    ) -> np.ndarray:
        """As in `ClipSampler`, with the rows as one input."""
        if type(table) is not StepTable:
            raise ValueError("FusedOrtSampler: expected a solver without learned variance. Use OrtSampler.")

        def noise(index: int) -> np.ndarray:
            return video_noise(seed, index, np.asarray(samples), clip.shape[1:])

        held = known[:, :, None, None, None]
        feed = table_inputs(table.with_known(known), clip.shape[0], clip.shape[1])
        feed["start"] = np.where(held, clip, np.float32(table.init_std) * noise(0))
        if table.std.any():
            feed["noise"] = np.stack([noise(index + 1) for index in range(table.num_steps)])
        else:
            feed["noise"] = np.zeros((table.num_steps, 1, 1, 1, 1, 1), np.float32)
        (made,) = self._session.run(["clip"], feed)
        report(table.num_steps)
        return np.where(held, clip, made)


def table_inputs(table: StepTable, batch: int, frames: int) -> dict[str, np.ndarray]:
    """The graph's inputs `table` [calls, columns, batch, frames] and `b` [calls, memory, batch, frames], float32."""
    shape = (table.num_steps, batch, frames)
    columns = [np.broadcast_to(getattr(table, name), shape) for name in COLUMNS]
    b = np.broadcast_to(table.b, (table.num_steps, table.memory, batch, frames))
    return {"table": np.stack(columns, axis=1).astype(np.float32), "b": b.astype(np.float32)}
