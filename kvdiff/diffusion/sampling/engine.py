"""Engines: what runs a window of video through a network, row by row of a table.

An engine has one method, `run_window`. `DenoiserEngine` is the loop around single calls of
the network; runtimes that run whole windows by themselves bring an engine of their own, see `kvdiff.runtime`:

    Sampler ──► windows of a plan ──► engine.run_window ──► rows of the table ──► network, step
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from kvdiff.diffusion.conditions.conditioning import Conditioning, guided_output
from kvdiff.diffusion.process.noise import SAMPLING, video_noise
from kvdiff.diffusion.sampling.constraints import Imposed, covariance_scale, imposed_output
from kvdiff.diffusion.solvers.rows import Row
from kvdiff.diffusion.solvers.step_table import StepTable, step
from kvdiff.diffusion.transforms.clamps import Bounds, clamp_to

Denoise = Callable[..., Any]
"""F(noisy_clip, noise_label, inputs): the network's raw output for noisy clips [batch, frames, height, width,
channels], float32 noise labels [batch, frames], and the other inputs of its conditions by name."""

_NO_NOISE = np.zeros((1, 1, 1, 1, 1), np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """What a window needs besides its table: noise, conditions, bounds, and whom to report to.

    Draws of noise are numbered along the whole run.

    Attributes:
        seed, samples: whose noise it is; samples are int [batch].
        first: the number of the window's first draw, which starts its new frames; row i then takes draw i + 1.
        clip_shape: (frames, height, width, channels) of the window.
        conditioning: what its clips are conditioned on.
        bounds: of the predicted x_0.
        report: called with the number of rows that were run.
        imposed: the constraints of its clips, for an engine that `imposes_constraints`.
        frames: int [frames], the numbers of the window's frames in the whole video; None where it is all of it.
    """

    seed: int
    samples: np.ndarray
    first: int
    clip_shape: tuple[int, ...]
    conditioning: Conditioning
    bounds: Bounds
    report: Callable[[int], None]
    imposed: Imposed | None = None
    frames: np.ndarray | None = None

    def of_frames(self, frames: np.ndarray) -> Draws:
        """Those of a window: of the frames of the video that are numbered `frames`."""
        imposed = None if self.imposed is None else self.imposed.frames(frames)
        return dataclasses.replace(self, conditioning=self.conditioning.frames(frames), imposed=imposed, frames=frames)

    def __call__(self, index: int, stream: int = SAMPLING) -> np.ndarray:
        """Draw `first + index`: float32 [batch, *clip_shape]."""
        return video_noise(self.seed, self.first + index, self.samples, self.clip_shape, stream)

    def fresh(self, index: int, row: Row) -> np.ndarray:
        """The noise that row `index` adds; a single 0 where it adds none."""
        return self(index + 1) if np.any(row.std) else _NO_NOISE


class Engine(Protocol):
    """Runs windows of video through a network."""

    def run_window(
        self, table: StepTable, x: np.ndarray, history: np.ndarray, draws: Draws
    ) -> tuple[np.ndarray, np.ndarray]:
        """Apply the rows of `table` to x; row i adds noise draws(i + 1).

        Args:
            table: of trailing shape (frames,) or (batch, frames).
            x: the noisy clip, [batch, frames, height, width, channels].
            history: the predictions of x_0 that the solver remembers, newest first, [memory, *x.shape].
            draws: what the window needs besides.

        Returns:
            x and the history after the last row.
        """
        ...


class DenoiserEngine:
    """Runs a table in NumPy around single calls of a network, in the precision of x.

    Args:
        denoise: F(noisy_clip, noise_label, inputs), see `Denoise`.
        clamp: of predicted x_0, in place of the values' bounds, e.g. `dynamic()`.
        pullback: the network's gradient, for constraints: of (noisy_clip, noise_label, inputs, u), that of sum(u F)
            with respect to the noisy clip.
    """

    def __init__(
        self,
        denoise: Denoise,
        *,
        clamp: Callable[[Any], Any] | None = None,
        pullback: Callable[..., np.ndarray] | None = None,
    ) -> None:
        self.denoise, self.clamp, self.pullback = denoise, clamp, pullback

    @property
    def imposes_constraints(self) -> bool:
        """Whether its network has a gradient."""
        return self.pullback is not None

    def run_window(
        self, table: StepTable, x: np.ndarray, history: np.ndarray, draws: Draws
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in `Engine`."""
        memory, clamp = tuple(history), self.clamp or clamp_to(draws.bounds)
        for index, row in enumerate(table.rows(x.dtype)):
            label = np.broadcast_to(row.c_noise[..., 0, 0, 0], x.shape[:2])
            here = draws.conditioning.at(row.c_noise)
            out = np.asarray(guided_output(np, self.denoise, row.c_in * x, label, here))
            if draws.imposed is not None:
                pullback = self._pullback(row, x, here)
                scale = covariance_scale(table, index, x.shape)
                out = imposed_output(np, draws.imposed, row, x, out, scale, pullback).astype(x.dtype)
            x, memory = step(row, x, out, memory, draws.fresh(index, row), clamp)
            check_finite(x, f"network call {index + 1} of {table.num_steps}")
            draws.report(1)
        return x, np.stack(memory)

    def _pullback(self, row: Row, x: np.ndarray, conditioning: Conditioning) -> Callable[[np.ndarray], np.ndarray]:
        """Of a clip u, the gradient of sum(u D) with respect to x."""
        assert self.pullback is not None
        if conditioning.guidance is not None:
            raise ValueError("`constraints`: expected no `guidance` beside them, but with Keras. Received: both")
        label = np.broadcast_to(row.c_noise[..., 0, 0, 0], x.shape[:2])
        of_network = functools.partial(self.pullback, row.c_in * x, label, conditioning.inputs)
        return lambda u: row.c_skip * u + row.c_in * of_network(row.c_out * u)


def check_finite(x: np.ndarray, where: str) -> None:
    """Raise FloatingPointError unless every number of `x` is finite: a video of NaN is worth nothing to anybody."""
    if not np.isfinite(x).all():
        raise FloatingPointError(
            f"sampling: expected finite numbers. Received: NaN or infinity after {where}. A network returns them where "
            "its weights are not finite, where a condition is far from what training saw, or where float16 overflows."
        )


def denoise_of(engine: Engine, what: str) -> Denoise:
    """The single network call of an engine; raises by name where it has none, as a graph with the loop inside."""
    denoise = getattr(engine, "denoise", None)
    if denoise is None:
        raise TypeError(f"{what}: expected an engine of single network calls. Received: {type(engine).__name__}")
    return denoise
