"""The variational bound's coefficients by timestep: the ancestral sampler over all of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.solvers.ancestral import ddpm
from kvdiff.diffusion.solvers.step_table import LearnedVarianceTable


@dataclasses.dataclass(frozen=True, eq=False)
class BoundTable:
    """The bound's coefficients by timestep, for training to gather; each float64 [num_timesteps].

    At t = 0 the posterior has no variance; as published (improved-diffusion), the least log-variance there is that of t
    = 1.

    Attributes:
        b: the posterior mean's weight of x_0, equation (4).
        log_var_min: the logarithm of the posterior's variance, the "small" one.
        log_var_max: the logarithm of the forward step's variance, the "large" one.
    """

    b: np.ndarray
    log_var_min: np.ndarray
    log_var_max: np.ndarray

    @classmethod
    def of(cls, schedule: NoiseSchedule) -> BoundTable:
        """The coefficients of a schedule whose every timestep is visited."""
        table = all_steps(schedule, Prediction("x0"))
        return cls(table.b[::-1, 0, 0], table.log_var_min[::-1, 0], table.log_var_max[::-1, 0])


def all_steps(schedule: NoiseSchedule, prediction: Prediction) -> LearnedVarianceTable:
    """The ancestral sampler over every timestep; row i is timestep num_timesteps - 1 - i."""
    table = ddpm(schedule.levels(np.arange(schedule.num_timesteps)[::-1]), prediction, variance="learned")
    assert isinstance(table, LearnedVarianceTable)
    return table
