"""The fused ONNX Runtime sampler: one call of one graph makes a clip, whatever the solver and the task."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.conditions.kinds import TOLD
from kvdiff.diffusion.sampling.loop import Draws
from kvdiff.diffusion.sampling.sampler import ClipSampler
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.runtime.manifest import load_artefact
from kvdiff.runtime.ort import Provider, artefact_session

__all__ = ["COLUMNS", "FILE", "KIND", "MEMORY", "FusedOrtSampler"]

KIND = "onnx-sampler"
FILE = "sampler.onnx"
COLUMNS = ("c_in", "c_noise", "c_skip", "c_out", "a", "std", "log_var_min", "log_var_max")
"""The columns of a step table in the order of the graph's input `table`; `b` is an input of its own. The last two are 0
where the solver does not use a learned variance."""
MEMORY = 4
"""How many predictions of x_0 the graph remembers; `b` of a solver that needs fewer is filled up with 0."""


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
        super().__init__(**artefact.sampler_arguments)
        self.manifest, self.path = artefact.manifest, artefact.path
        self._session = artefact_session(artefact, providers, threads)

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use, most wanted first."""
        return tuple(self._session.get_providers())

    def denoise(self, noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any] | None = None) -> Any:
        """Not to be had: the network is inside the loop."""
        raise NotImplementedError("FusedOrtSampler makes whole clips; for single network calls use OrtSampler.")

    def _window(
        self,
        table: StepTable,
        x: np.ndarray,
        history: np.ndarray,
        noise: Draws,
        told: Conditioning,
        report: Callable[[int], None],
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in `ClipSampler`, with the rows as one input."""
        feed = table_inputs(table, *x.shape[:2])
        feed |= {
            "start": x,
            "start_std": np.zeros(x.shape[:2], np.float32),
            "history": np.zeros((MEMORY, *x.shape), np.float32),
            "noise": np.zeros((0, 1, 1, 1, 1, 1), np.float32),
            "seed": np.full(len(x), noise.seed, np.uint64).view(np.int64),
            "sample": np.asarray(noise.samples, np.int64),
            "first_draw": np.array([noise.first], np.int64),
        }
        feed["history"][: len(history)] = history
        feed |= told.inputs
        if TOLD in told.inputs:
            feed |= guidance_inputs(table, told)
        made, remembered = self._session.run(["clip", "history_out"], feed)
        report(table.num_steps)
        return made, remembered[: len(history)]


def guidance_inputs(table: StepTable, told: Conditioning) -> dict[str, np.ndarray]:
    """The graph's inputs `guidance` float32 [calls, batch], 1 where it does not act, and `guidance_rescale` [1]."""
    rows = [told.at(row.c_noise).guidance for row in table.rows()]
    ones = np.ones(len(told.inputs[TOLD]), np.float32)
    weights = np.stack([ones if weight is None else weight for weight in rows])
    return {"guidance": weights.astype(np.float32), "guidance_rescale": np.full(1, told.rescale, np.float32)}


def table_inputs(table: StepTable, batch: int, frames: int) -> dict[str, np.ndarray]:
    """The graph's inputs `table` [calls, columns, batch, frames] and `b` [calls, MEMORY, batch, frames], float32.

    Raises:
        ValueError: a solver that remembers more than the graph.
    """
    if table.memory > MEMORY:
        raise ValueError(f"`solver`: expected one that remembers at most {MEMORY} calls. Received: {table.memory}")
    missing = (1,) * (3 - table.a.ndim)  # Of the axes batch and frames, where all clips or frames are alike.
    a_shape, b_shape = ((*lead, *missing, *table.a.shape[1:]) for lead in (table.a.shape[:1], table.b.shape[:2]))
    rows = np.zeros((table.num_steps, len(COLUMNS), batch, frames), np.float32)
    for index, name in enumerate(COLUMNS):
        if hasattr(table, name):
            rows[:, index] = getattr(table, name).reshape(a_shape)
    b = np.zeros((table.num_steps, MEMORY, batch, frames), np.float32)
    b[:, : table.memory] = table.b.reshape(b_shape)
    return {"table": rows, "b": b}
