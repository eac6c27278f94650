"""Solvers: what to do between noise levels. Each is one function (levels, prediction, …) -> `StepTable`."""

from __future__ import annotations

from collections.abc import Callable

from kvdiff.diffusion.solvers.ancestral import ddim, ddpm, euler, euler_ancestral
from kvdiff.diffusion.steps import StepTable

__all__ = ["SOLVERS", "ddim", "ddpm", "euler", "euler_ancestral"]

SOLVERS: dict[str, Callable[..., StepTable]] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "euler": euler,
    "euler_ancestral": euler_ancestral,
}
