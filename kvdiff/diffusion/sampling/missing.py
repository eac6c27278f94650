"""Numbers that are missing in known frames: which the network is told of, and how they are sampled.

A missing number stays missing, and so does one that no known frame of a clip has; or, with `fill_missing`, a known
frame that lacks some is generated like an unknown one, while the numbers that it has are put back at every row, as
noisy as the row is (the replacement method of Song et al. 2021, arXiv:2011.13456, appendix I.2). What is generated
then leans too little to what is known, except where the two are independent. Each row can be taken several times, with
noise put back in between (Lugmayr et al. 2022, arXiv:2201.09865). The law approaches the exact one as repeats and steps
grow; many repeats of few steps make it too narrow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import received
from kvdiff.diffusion.process.noise import REPLACEMENT
from kvdiff.diffusion.sampling.engine import Draws, Engine
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.padding import Padding

_PIXELS = (..., None, None, None)
_REPEATS = 5
_FAR = 2**24  # From the numbers of one repeat's draws to those of the next.


def fill_repeats(fill_missing: Any) -> int:
    """How many times each row is taken to fill in what is missing; 0 where it is not filled in."""
    if isinstance(fill_missing, bool):
        return _REPEATS if fill_missing else 0
    if not isinstance(fill_missing, (int, np.integer)) or fill_missing < 1:
        wanted = "True, False, or how many times to take each step"
        raise TypeError(f"`fill_missing`: expected {wanted}. Received: {received(fill_missing)}")
    return int(fill_missing)


def observed_mask(video: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What the network is told of a video [batch, frames, height, width, channels]: float32, 1 or 0.

    Of known frames, bool [batch, frames], the numbers that are there; of the others those that any known frame of the
    clip has, and all where no frame is known.
    """
    there, frames = ~np.isnan(video), known[_PIXELS]
    ever = (there & frames).any(axis=1, keepdims=True) | ~frames.any(axis=1, keepdims=True)
    return np.where(frames, there, ever).astype(np.float32)


def with_mask(
    spec: ModelSpec, given: Mapping[str, Any] | None, video: np.ndarray, known: np.ndarray | None
) -> Mapping[str, Any] | None:
    """The conditions that a user gave, and the mask of a model that knows of one; all ones where `known` is None."""
    if spec.missing is None or (given or {}).get(spec.missing) is not None:
        return given
    mask = np.ones(video.shape, np.float32) if known is None else observed_mask(video, known)
    return {**(given or {}), spec.missing: mask}


def kept_numbers(video: np.ndarray, known: np.ndarray, *, fill: bool) -> np.ndarray:
    """What of a video comes back as it is, bool of its shape: known frames, or with `fill` their numbers alone."""
    return known[_PIXELS] & (~np.isnan(video) if fill else np.ones(video.shape, bool))


def hidden(spec: ModelSpec, x: np.ndarray, inputs: Mapping[str, np.ndarray], finished: np.ndarray) -> np.ndarray:
    """x with 0 for what is missing in finished frames, bool [batch, frames]: as training shows them to others."""
    if spec.missing is None:
        return x
    return np.where(finished[_PIXELS] & (inputs[spec.missing] == 0), np.zeros((), x.dtype), x)


def without_missing(spec: ModelSpec, made: np.ndarray, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Generated numbers, with NaN where the network was told that one is missing."""
    if spec.missing is None:
        return made
    mask = inputs[spec.missing]
    mask = spec.codec.decode(mask) if isinstance(spec.codec, Padding) else mask
    return np.where(mask == 0, np.float32(np.nan), made)


def pinned(engine: Engine, spec: ModelSpec, mask: np.ndarray, x_0: np.ndarray, repeats: int) -> PinnedEngine:
    """`engine`, that puts the numbers of x_0 back where `mask`, bool of clips, says that they are known."""
    mask = spec.codec.blank(mask) if isinstance(spec.codec, Padding) else mask
    return PinnedEngine(engine, mask, x_0.copy(), repeats)


@dataclasses.dataclass(frozen=True, eq=False)
class PinnedEngine:
    """An engine for frames that are generated and in which some numbers are known.

    Attributes:
        engine: of any runtime; it is asked for one row at a time.
        mask: where the numbers are known, bool [batch, frames, height, width, channels] of the whole video.
        goal: x_0 there.
        repeats: how many times each row is taken.
    """

    engine: Engine
    mask: np.ndarray
    goal: np.ndarray
    repeats: int = 1

    def run_window(
        self, table: StepTable, x: np.ndarray, history: np.ndarray, draws: Draws
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in `Engine`, with the known numbers put back before each row and after the last."""
        for index in range(table.num_steps):
            row = _row(table, index)
            for again in range(self.repeats):
                here = dataclasses.replace(draws, first=draws.first + index + again * _FAR)
                before = self._put_back(table, index, x, draws, 2 * again)
                x, remembered = self.engine.run_window(row, before, history, here)
                if again < self.repeats - 1:
                    x = _noisier(row, x, draws(index, stream=REPLACEMENT + 2 * again + 1))
            history = remembered
        return self._put_back(table, table.num_steps, x, draws, 0), history

    def _put_back(self, table: StepTable, index: int, x: np.ndarray, draws: Draws, stream: int) -> np.ndarray:
        """x with the known numbers at the level before row `index`, by noise of their own."""
        at = slice(None) if draws.frames is None else draws.frames
        alpha, sigma = (np.asarray(level[index])[_PIXELS] for level in (table.alpha, table.sigma))
        noisy = alpha * self.goal[:, at] + sigma * draws(index, stream=REPLACEMENT + stream)
        return np.where(self.mask[:, at], noisy, x).astype(x.dtype)


def _noisier(row: StepTable, x: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """x, at the level after a row, with as much noise as takes it back to the level before."""
    (alpha_t, alpha_s), (sigma_t, sigma_s) = row.alpha, row.sigma
    ratio = np.divide(alpha_t, alpha_s, out=np.ones_like(alpha_t), where=alpha_s > 0)
    std = np.sqrt(np.maximum(sigma_t**2 - (ratio * sigma_s) ** 2, 0.0))
    return (ratio[_PIXELS] * x + std[_PIXELS] * noise).astype(x.dtype)


def _row(table: StepTable, index: int) -> StepTable:
    """Row `index` alone."""
    columns = {name: getattr(table, name)[index : index + 1] for name in table.COLUMNS}
    levels = {name: getattr(table, name)[index : index + 2] for name in ("alpha", "sigma")}
    return dataclasses.replace(table, **columns, **levels)
