"""Step tables as a page reads them: one file of float32 numbers, and where in it each table is."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvdiff.diffusion.sampling.keywords import Keywords, with_defaults
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.solvers.by_name import DEFAULT_NUM_STEPS, DEFAULT_SOLVER, step_table
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.runtime.format import COLUMNS, MEMORY, packed_rows

SHOWN = ("dpmpp_2m_sde", "dpmpp_2m", "unipc", "ddim", "heun")
"""The solvers that a page offers besides the model's own."""
NUM_STEPS = (1, 2, 3, 5, 10, 20, 50)
"""The numbers of steps."""
_WIDTH = len(COLUMNS) + MEMORY


class Tables:
    """Collects step tables; a row is `COLUMNS`, then `MEMORY` numbers of `b`.

    Attributes:
        known: the row of a known frame, which stays clean; the same in every call of every table.
    """

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._size = 0
        self.known: list[float] = []

    def add(self, table: StepTable) -> dict[str, Any]:
        """Keep a table once; where it is in `content`, how many calls it has, and the deviation of its first noise."""
        steps = table.num_steps
        rows, b = packed_rows(table.for_frames(np.array([0, steps]), np.array([steps, steps])), COLUMNS, 1, 2)
        both = np.concatenate([rows, b], axis=1)[:, :, 0]
        self.known = both[0, :, 1].tolist()
        content = both[:, :, 0].astype("<f4").tobytes()
        if content not in self._places:
            self._places[content] = self._size
            self._size += len(content) // 4
        return {"at": self._places[content], "calls": steps, "initStd": float(np.float32(table.init_std))}

    @property
    def content(self) -> bytes:
        """All tables, little-endian float32."""
        return b"".join(self._places)

    def of_task(self, spec: ModelSpec, task: str) -> dict[str, dict[str, dict[str, Any]]]:
        """The tables that a page offers of a task: by solver and by number of steps, the model's own first."""
        own = spec.sampling.get(task, {})
        solver, num_steps = own.get("solver", DEFAULT_SOLVER), own.get("num_steps", DEFAULT_NUM_STEPS)
        offered: dict[str, dict[str, dict[str, Any]]] = {}
        for name in dict.fromkeys([solver, *(name for name in SHOWN if name in SOLVERS)]):
            for number in sorted({*NUM_STEPS, num_steps}):
                table = _possible(spec, task, name, number)
                if table is not None:
                    offered.setdefault(name, {})[str(number)] = self.add(table)
        return offered


def table_of(spec: ModelSpec, task: str, solver: str, num_steps: int) -> StepTable:
    """The table of a call `solver=…, num_steps=…` of a task, with the model's other defaults.

    Raises:
        ValueError, TypeError: no such solver, or too few or too many steps for it.
    """
    sampling = with_defaults(spec.sampling.get(task, {}), {"solver": solver, "num_steps": num_steps})
    of_table = Keywords.split(sampling)[1]
    return step_table(
        spec.schedule, spec.prediction, **{k: v for k, v in of_table.items() if k not in ("plan", "at_a_time")}
    )


def _possible(spec: ModelSpec, task: str, solver: str, num_steps: int) -> StepTable | None:
    """The table, or None where the solver cannot take such steps or remembers more than a graph does."""
    try:
        table = table_of(spec, task, solver, num_steps)
    except ValueError:
        return None
    return table if table.memory <= MEMORY else None
