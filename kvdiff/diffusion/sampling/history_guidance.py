"""History guidance: the known frames as what guidance pushes towards (Song et al. 2025, arXiv:2502.06764).

    F = F_without + w (F_with - F_without)        at the generated frames

F_with is of clean known frames, or with `known_noise` of noisy ones: then less of their detail is exaggerated, as in
the paper's fractional guidance. F_without is of a clip without known frames, as training showed some: all its frames
are as noisy as those that are generated. A model that was trained with a noise level for each frame
(`independent_noise`) has pure noise in place of known frames, which is the paper's choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_real
from kvdiff.diffusion.conditions.guidance import guided, rescaled
from kvdiff.diffusion.process.levels import noise_label as label_of
from kvdiff.diffusion.process.noise import CONTEXT
from kvdiff.diffusion.sampling.engine import Denoise, DenoiserEngine, Draws, Engine, denoise_of
from kvdiff.diffusion.solvers.rows import KnownLevel
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.diffusion.spec import ModelSpec

_PIXELS = (..., None, None, None)


def check_history_guidance(spec: ModelSpec, weight: Any) -> float:
    """`weight`, at least 0; raises where it is not 1 and the model was never trained without known frames."""
    weight = check_real("history_guidance", weight, above=0.0, below=np.inf, closed=True)
    if weight != 1.0 and spec.known_frames is not None and not spec.known_frames.includes_none:
        raise ValueError(
            "`history_guidance`: expected 1 for a model that was never trained without known frames; with Nothing() "
            f"among its `known_frames` it is. Received: {weight} and {spec.known_frames}"
        )
    return weight


@dataclasses.dataclass(frozen=True, eq=False)
class HistoryEngine:
    """An engine that is pushed towards the known frames of its windows, those generated before included.

    Attributes:
        engine: of any runtime that has single network calls.
        spec: of its model.
        weight: at least 0; 1 is no guidance.
        level: the noise of known frames.
    """

    engine: Engine
    spec: ModelSpec
    weight: float
    level: KnownLevel

    def __post_init__(self) -> None:
        denoise_of(self.engine, "`history_guidance`")

    def run_window(
        self, table: StepTable, x: np.ndarray, history: np.ndarray, draws: Draws
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in `Engine`; a window without known frames is the engine's own."""
        stays = ~table.b.any(axis=(0, 1))  # A frame of a rolling plan that waits stays too, at another level.
        known = np.broadcast_to(stays & (table.c_noise[0] == self.level.c_noise), x.shape[:2])
        if not known.any():
            return self.engine.run_window(table, x, history, draws)
        clamp: Callable[[Any], Any] | None = getattr(self.engine, "clamp", None)
        on_host = None if clamp is None else lambda x_0: np.asarray(clamp(x_0))
        loop = DenoiserEngine(self._guided(known, x, draws), clamp=on_host)
        return loop.run_window(table, x, history, draws)

    def _guided(self, known: np.ndarray, x: np.ndarray, draws: Draws) -> Denoise:
        """The guided network of a window whose frames `known`, bool [batch, frames], are in x."""
        network, noise = denoise_of(self.engine, "`history_guidance`"), draws(1, stream=CONTEXT)
        low, high = draws.conditioning.interval

        def denoise(noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any]) -> np.ndarray:
            out = np.asarray(network(noisy_clip, noise_label, inputs))
            if not low <= noise_label.max() <= high:
                return out
            times = len(noisy_clip) // len(x)  # Guidance by conditions asks for clips with and without them at once.
            at, frames, eps = (np.concatenate([each] * times) for each in (known, x, noise))
            alpha, sigma = self._level_without(np.where(at, 0.0, noise_label).max(axis=1, keepdims=True))
            hidden, label = self._noisier(frames, eps, alpha, sigma), label_of(alpha, sigma)
            clip = np.where(at[_PIXELS], hidden, noisy_clip).astype(noisy_clip.dtype)
            guide = np.asarray(network(clip, np.where(at, label, noise_label).astype(noise_label.dtype), inputs))
            pushed = guided(out, np.where(at[_PIXELS], out, guide), self.weight)
            return rescaled(np, pushed, out, draws.conditioning.rescale).astype(out.dtype)

        return denoise

    def _level_without(self, noise_label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(alpha, sigma) of frames that are known no more, where the noisiest others have this label, [batch, 1]."""
        schedule = self.spec.schedule
        if self.spec.independent_noise:
            alpha, sigma = (np.full(noise_label.shape, level[-1]) for level in (schedule.alpha, schedule.sigma))
            return alpha, sigma
        return schedule.level_of_label(np.maximum(noise_label, self.level.c_noise))

    def _noisier(self, frames: np.ndarray, eps: np.ndarray, alpha: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """Known frames taken to another level, times c_in."""
        ratio = alpha / self.level.alpha
        std = np.sqrt(np.maximum(sigma**2 - (ratio * self.level.sigma) ** 2, 0.0))
        c_in = self.spec.prediction.preconditioning(alpha, sigma).c_in
        return (c_in * ratio)[_PIXELS] * frames + (c_in * std)[_PIXELS] * eps
