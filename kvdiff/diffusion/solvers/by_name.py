"""From a solver's name to its table."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_kind, check_real
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.process.spacing import sampling_levels
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.diffusion.solvers.two_call import CoarseStepsError

DEFAULT_SOLVER, DEFAULT_NUM_STEPS = "dpmpp_2m_sde", 20
"""How everything samples where nothing is named; why, is in docs/fewer-calls.md.

From 6 calls on SDE-DPM-Solver++(2M) generates clips nearer to the data than DPM-Solver++(2M) and DDIM, and predicts
better.
"""


def step_table(
    schedule: NoiseSchedule,
    prediction: Prediction,
    *,
    solver: str = DEFAULT_SOLVER,
    num_steps: int = DEFAULT_NUM_STEPS,
    spacing: str | Sequence[int] | np.ndarray | None = None,
    init_std: float | None = None,
    **options: Any,
) -> StepTable:
    """The table of a named solver: `step_table(schedule, prediction, solver="ddim", num_steps=20, eta=0.5)`.

    Args:
        schedule: the noise levels of training.
        prediction: what the network predicts.
        solver: a name in `kvdiff.diffusion.solvers.SOLVERS`.
        num_steps: noise levels to visit, 1 … num_timesteps.
        spacing: a name in `kvdiff.diffusion.spacing.SPACINGS`, or `num_steps` timesteps of your own, falling; by
            default the first of the solver's own that works: "trailing", or for two-call solvers "karras" and
            "uniform_logsnr".
        init_std: the standard deviation of the starting noise; by default the schedule's own.
        **options: of the solver: its keyword-only arguments.
    """
    check_kind("schedule", schedule, NoiseSchedule)
    check_kind("prediction", prediction, Prediction)
    make = SOLVERS[check_choice("solver", solver, SOLVERS)]
    if unknown := sorted(set(options) - set(options_of(solver))):
        raise TypeError(f"solver {solver!r}: expected options among {options_of(solver)}. Received: {unknown}")
    choices = [spacing] if spacing is not None else list(getattr(make, "spacings", ("trailing",)))
    table = _first_that_works(functools.partial(make, prediction=prediction, **options), schedule, num_steps, choices)
    if table is None:
        raise ValueError(_too_coarse(make, prediction, schedule, num_steps, choices))
    if init_std is None:
        return table
    check_real("init_std", init_std, above=0.0)
    return dataclasses.replace(table, init_std=init_std)


def options_of(solver: str) -> list[str]:
    """The names of a solver's options: its keyword-only arguments."""
    parameters = inspect.signature(SOLVERS[solver]).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def _first_that_works(
    make: Callable[..., StepTable], schedule: NoiseSchedule, num_steps: int, choices: Sequence[Any]
) -> StepTable | None:
    """The table on the first spacing whose steps the solver can take."""
    for spacing in choices:
        try:
            return make(sampling_levels(schedule, num_steps, spacing))
        except CoarseStepsError:
            continue
    return None


def _works(make: Callable[..., StepTable], schedule: NoiseSchedule, spacing: Any, num_steps: int) -> bool:
    """Whether the solver can take so many steps; more of them are never too coarse where fewer were not."""
    return _first_that_works(make, schedule, num_steps, [spacing]) is not None


def _too_coarse(
    make: Callable[..., StepTable],
    prediction: Prediction,
    schedule: NoiseSchedule,
    num_steps: int,
    asked: Sequence[Any],
) -> str:
    """What to say of steps that are too large: the least number that works on each spacing, the one asked for first."""
    advice: list[str] = []
    plain = functools.partial(make, prediction=prediction)
    named = [spacing for spacing in asked if isinstance(spacing, str)]
    for spacing in dict.fromkeys([*named, *getattr(make, "spacings", ())]):
        numbers = range(num_steps, schedule.num_timesteps + 1)
        least = bisect.bisect_left(numbers, True, key=functools.partial(_works, plain, schedule, spacing))
        if least < len(numbers):
            advice.append(f"at least {numbers[least]} with spacing {spacing!r}")
    advice.append("solver 'dpmpp_2m', 'deis' or 'unipc'")
    asked_for = ", ".join(repr(each) if isinstance(each, str) else "timesteps of your own" for each in asked)
    return (
        f"`num_steps`: expected more, so that {make.__name__!r} takes small enough steps on this schedule. "
        f"Received: {num_steps} with spacing {asked_for}. Use {', or '.join(advice)}."
    )
