"""Solvers: what to do between noise levels. Each is one function (levels, prediction, …) -> `StepTable`."""

from __future__ import annotations

from collections.abc import Callable

from kvdiff.diffusion.solvers.ancestral import consistency, ddim, ddpm, euler, euler_ancestral
from kvdiff.diffusion.solvers.deis import deis
from kvdiff.diffusion.solvers.dpm import dpmpp_2m, dpmpp_2m_sde, dpmpp_3m, dpmpp_3m_sde
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.diffusion.solvers.two_call import dpm_2, edm, heun
from kvdiff.diffusion.solvers.unipc import unipc

__all__ = [
    "SOLVERS",
    "consistency",
    "ddim",
    "ddpm",
    "deis",
    "dpm_2",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_3m",
    "dpmpp_3m_sde",
    "edm",
    "euler",
    "euler_ancestral",
    "heun",
    "unipc",
]

SOLVERS: dict[str, Callable[..., StepTable]] = {
    solver.__name__: solver
    for solver in (
        ddpm,
        ddim,
        euler,
        euler_ancestral,
        heun,
        edm,
        dpm_2,
        dpmpp_2m,
        dpmpp_2m_sde,
        dpmpp_3m,
        dpmpp_3m_sde,
        deis,
        unipc,
        consistency,
    )
}
"""By name, for a command line or a stored configuration. `step_table` passes keyword-only arguments on as options."""
