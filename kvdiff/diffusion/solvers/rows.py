"""One row of a step table, and how it reads the network's output."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_real
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import NoiseSchedule


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One row of a `StepTable`; every field is [batch or 1, frames or 1, 1, 1, 1], `b` has K of them in front."""

    c_in: Any
    c_noise: Any
    c_skip: Any
    c_out: Any
    a: Any
    b: Any
    std: Any

    def read(self, out: Any, channels: int, exp: Callable[[Any], Any]) -> tuple[Any, Any]:
        """(F, standard deviation of the fresh noise) from the network's output for clips of `channels` channels."""
        return out[..., :channels], self.std


@dataclasses.dataclass(frozen=True, eq=False)
class LearnedVarianceRow(Row):
    """A row whose standard deviation the network interpolates: twice the channels, F then the variance's share.

    Here `std` is 1 where noise is drawn at all, else 0.
    """

    log_var_min: Any
    log_var_max: Any

    def read(self, out: Any, channels: int, exp: Callable[[Any], Any]) -> tuple[Any, Any]:
        """(F, standard deviation of the fresh noise) from the network's output for clips of `channels` channels."""
        raw, log_var = self.split(out)
        return raw, self.std * exp(0.5 * log_var)

    def split(self, out: Any) -> tuple[Any, Any]:
        """(F, log-variance): Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 15; log_var_max has (output + 1) / 2."""
        channels = out.shape[-1] // 2
        share = 0.5 * (out[..., channels:] + 1.0)
        return out[..., :channels], share * self.log_var_max + (1.0 - share) * self.log_var_min


@dataclasses.dataclass(frozen=True)
class KnownLevel:
    """The row of a known frame: clean, or with a little noise on it."""

    alpha: float = 1.0
    sigma: float = 0.0
    c_in: float = 1.0
    c_noise: float = 0.0
    c_skip: float = 1.0
    c_out: float = 0.0

    @classmethod
    def of(cls, schedule: NoiseSchedule, prediction: Prediction, noise_label: float) -> KnownLevel:
        """The level of `schedule` whose noise label is `noise_label`, in [0, 1); 0 is clean."""
        if check_real("noise_label", noise_label, above=0.0, below=0.99, closed=True) == 0.0:
            return cls()
        alpha, sigma = schedule.level_of_label(np.array(noise_label))
        row = prediction.preconditioning(alpha, sigma)
        columns = {field.name: float(getattr(row, field.name)) for field in dataclasses.fields(row)}
        return cls(float(alpha), float(sigma), **columns)
