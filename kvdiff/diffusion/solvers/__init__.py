"""Solvers: what to do between noise levels. Each is one function (levels, prediction, …) -> `StepTable`."""

from __future__ import annotations

from collections.abc import Callable

from kvdiff.diffusion.solvers.ancestral import ddim, ddpm
from kvdiff.diffusion.steps import StepTable

__all__ = ["SOLVERS", "ddim", "ddpm"]

SOLVERS: dict[str, Callable[..., StepTable]] = {"ddim": ddim, "ddpm": ddpm}
