"""The keywords of sampling, documented by `Sampler.infill`: their defaults, and how a model's own go with a call's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from kvdiff.diffusion.checks import check_choice
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.solvers.by_name import DEFAULT_SOLVER

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Keywords:
    """Those of a call that do not choose its table of steps."""

    seed: int = 0
    first_sample: int = 0
    num_members: int | None = None
    first_member: int = 0
    batch_size: int = 32
    progress: Progress | None = None
    conditions: Mapping[str, Any] | None = None
    guidance: Any = 1.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    guidance_rescale: float = 0.0
    history_guidance: float = 1.0
    known_noise: float = 0.0
    augmentation: float = 0.0
    constraints: Any = None
    constraint_iterations: int = 5
    fill_missing: bool | int = False

    @classmethod
    def split(cls, sampling: Mapping[str, Any]) -> tuple[Keywords, dict[str, Any]]:
        """These, and the others: what `step_table` takes."""
        names = {field.name for field in dataclasses.fields(cls)}
        own = cls(**{name: value for name, value in sampling.items() if name in names})
        return own, {name: value for name, value in sampling.items() if name not in names}


def with_defaults(own: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a call: those asked for, and of a model's own defaults what goes with them.

    A default plan does not mix with another plan, nor a solver's spacing and options with another solver.
    """
    own = dict(own)
    if "plan" in asked or "at_a_time" in asked:
        own = {name: value for name, value in own.items() if name not in ("plan", "at_a_time")}
    mine = own.get("solver", DEFAULT_SOLVER)
    if check_choice("solver", asked.get("solver", mine), SOLVERS) != mine:
        kept = {"plan", "at_a_time", "num_steps", *(field.name for field in dataclasses.fields(Keywords))}
        own = {name: value for name, value in own.items() if name in kept}  # Others are of the solver.
    return {**own, **asked}
