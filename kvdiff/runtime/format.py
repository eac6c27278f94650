"""`Format`: what there is to say of one kind of exported file, said once."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.sampling.engine import Engine
from kvdiff.diffusion.solvers.step_table import StepTable

COLUMNS = ("c_in", "c_noise", "c_skip", "c_out", "a", "std", "log_var_min", "log_var_max")
"""The columns of a step table that graphs take as an input, in this order; `b` is an input of its own. The last two are
0 where the solver does not use a learned variance."""
SERVED_COLUMNS, STEP_COLUMNS = COLUMNS[:6], COLUMNS[2:6]
"""Those of a SavedModel's signature `sample`, and those of `step.onnx`, which comes after the network call."""
MEMORY = 4
"""How many predictions of x_0 a graph remembers; `b` of a solver that needs fewer is filled up with 0."""


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of exported file: read by the exports, the openers, `kvdiff verify` and the command line.

    Attributes:
        name: what `--to` and `--runtime` call it.
        kind: what its manifest says.
        file: the file's name in float32; other precisions stand before the suffix. Of a format that is a folder, the
            file by which it is known.
        precisions: in which it can be exported, float32 first.
        package: what must be installed to run it.
        engine: from an `Artefact` and options, e.g. `threads`, to what runs it.
        export: where its exporter is, "module:function": (model, directory, *, precision, overwrite) -> path. A
            reference and no import, for exporters stand on a floor above.
        operators: likewise the function that lists a file's operators: path -> names.
        tolerance: the largest difference of a network call from Keras in float32, relative to the output's scale.
        folder: the folder of the exports inside a run, of a format that is a folder of versions.
    """

    name: str
    kind: str
    file: str
    precisions: tuple[str, ...]
    package: str
    engine: Callable[..., Engine]
    export: str
    operators: str
    tolerance: float = 3e-5
    folder: str = ""

    def file_name(self, precision: str) -> str:
        """The file's name for a precision: `denoiser.onnx`, `denoiser.float16.onnx`."""
        path = pathlib.PurePath(self.file)
        return self.file if precision == "float32" else f"{path.stem}.{precision}{path.suffix}"

    @property
    def is_installed(self) -> bool:
        """Whether its runtime is."""
        return importlib.util.find_spec(self.package) is not None


def packed_rows(table: StepTable, columns: Sequence[str], batch: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """A table as graphs take it: rows [calls, columns, batch, frames] and b [calls, MEMORY, batch, frames], float32.

    Raises:
        ValueError: a solver that remembers more than the graph.
    """
    if table.memory > MEMORY:
        raise ValueError(f"`solver`: expected one that remembers at most {MEMORY} calls. Received: {table.memory}")
    missing = (1,) * (3 - table.a.ndim)  # Of the axes batch and frames, where all clips or frames are alike.
    a_shape, b_shape = ((*lead, *missing, *table.a.shape[1:]) for lead in (table.a.shape[:1], table.b.shape[:2]))
    rows = np.zeros((table.num_steps, len(columns), batch, frames), np.float32)
    for index, name in enumerate(columns):
        if hasattr(table, name):
            rows[:, index] = getattr(table, name).reshape(a_shape)
    b = np.zeros((table.num_steps, MEMORY, batch, frames), np.float32)
    b[:, : table.memory] = table.b.reshape(b_shape)
    return rows, b


def resolved(reference: str) -> Any:
    """The function that "module:function" names."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
