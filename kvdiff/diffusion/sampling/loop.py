"""The sampling loop, once, for every runtime: windows of a plan, rows of a table, noise from a seed.

A runtime supplies one thing, `denoise`: the network's raw output for a noisy clip and its noise labels. One that runs
whole windows by itself overrides `_window`.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.conditions.conditioning import Conditioning, answer
from kvdiff.diffusion.conditions.kinds import Condition
from kvdiff.diffusion.process.clamps import clamp_unit
from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.process.noise import CONTEXT, SAMPLING, video_noise
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.solvers.rows import HeldLevel, Row
from kvdiff.diffusion.solvers.step_table import StepTable, step
from kvdiff.diffusion.tasks.plan import Window

__all__ = ["Draws", "Executor"]


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """The noise of one window of a run; draws are numbered along the whole run.

    Attributes:
        seed, samples: whose noise it is; samples are int [batch].
        first: the number of the window's first draw, which starts its new frames; row i then takes draw i + 1.
        clip_shape: (frames, height, width, channels) of the window.
    """

    seed: int
    samples: np.ndarray
    first: int
    clip_shape: tuple[int, ...]

    def __call__(self, index: int, stream: int = SAMPLING) -> np.ndarray:
        """Draw `first + index`: float32 [batch, *clip_shape]."""
        return video_noise(self.seed, self.first + index, self.samples, self.clip_shape, stream)


class Executor(abc.ABC):
    """Runs windows of video through a denoiser that a subclass supplies.

    Args:
        clip_spec, schedule, prediction: what the denoiser was trained for.
        clamp: what keeps the predicted x_0 in range, see `kvdiff.diffusion.process.clamps`.
        conditions: what the denoiser may be told besides known frames, by name.
    """

    row_dtype: Any = np.float32
    xp: Any = np

    def __init__(
        self,
        clip_spec: ClipSpec,
        schedule: NoiseSchedule,
        prediction: Prediction,
        clamp: Callable[[Any], Any] = clamp_unit,
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        self.clip_spec = clip_spec
        self.schedule = schedule
        self.prediction = prediction
        self.clamp = clamp
        self.conditions = dict(conditions or {})

    @abc.abstractmethod
    def denoise(self, noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any] | None = None) -> Any:
        """The network's raw output F for a noisy clip, float32 noise labels [batch, frames], and its other inputs."""

    def _run(
        self,
        table: StepTable,
        windows: Sequence[Window],
        video: np.ndarray,
        known: np.ndarray,
        seed: int,
        samples: np.ndarray,
        told: Conditioning,
        held: HeldLevel,
        report: Callable[[int], None],
    ) -> np.ndarray:
        """Run the windows one after the other; frames and remembered predictions wait on the host in between.

        Noise is numbered along the run: a window's first draw starts its new frames, one more belongs to each row.
        """
        pixels = (..., None, None, None)
        x = video.astype(np.result_type(video, self.row_dtype))
        history = np.zeros((table.memory, *x.shape), x.dtype)
        begun, draw = known.copy(), 0
        for window in windows:
            at = window.frames
            noise = Draws(seed, samples, draw, (len(at), *video.shape[2:]))
            starts = ~begun[:, at]
            x[:, at] = np.where(starts[pixels], np.float32(table.init_std) * noise(0), x[:, at])
            start, stop = window.rows(table.num_steps)
            of_window = table.for_frames(start, stop, held)
            shown = x[:, at]
            if held.sigma:
                finished = np.broadcast_to(start == table.num_steps, starts.shape)[pixels]
                context = held.alpha * shown + held.sigma * noise(0, stream=CONTEXT)
                shown = np.where(finished, context, shown).astype(x.dtype)
            made, remembered = self._window(of_window, shown, history[:, :, at], noise, told.frames(at), report)
            moves = np.broadcast_to(window.moves, starts.shape)[pixels]
            x[:, at] = np.where(moves, made, x[:, at])  # The rows keep known pixels but for the sign of a zero.
            history[:, :, at] = remembered
            begun[:, at] = True
            draw += 1 + of_window.num_steps
        return x

    def _window(
        self,
        table: StepTable,
        x: np.ndarray,
        history: np.ndarray,
        noise: Draws,
        told: Conditioning,
        report: Callable[[int], None],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Apply the rows of `table` to x [batch, frames, …]; row i draws noise(i + 1). Returns x and the history."""
        x, memory = self._to_device(x), tuple(self._to_device(predicted) for predicted in history)
        told = told.on(self._to_device)
        for index, row in enumerate(table.rows(self.row_dtype)):
            fresh = noise(index + 1) if row.std.any() else np.zeros((1, 1, 1, 1, 1), np.float32)
            x, memory = self._advance(row, x, memory, fresh, told.at(row.c_noise))
            report(1)
        return self._to_host(x), np.stack([self._to_host(predicted) for predicted in memory])

    def _advance(
        self, row: Row, x: Any, history: tuple[Any, ...], noise: np.ndarray, told: Conditioning
    ) -> tuple[Any, tuple[Any, ...]]:
        """One row: a network call and equation (7)."""
        label = np.broadcast_to(row.c_noise[..., 0, 0, 0], x.shape[:2])
        out = answer(self.xp, self.denoise, row.c_in * x, label, told)
        return step(row, x, out, history, noise, self.clamp)

    def _to_device(self, array: np.ndarray) -> Any:
        return array

    def _to_host(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    @property
    def config(self) -> Mapping[str, Any]:
        """Everything but the network: what a manifest stores."""
        config: dict[str, Any] = {
            "clip": self.clip_spec.config,
            "schedule": dict(self.schedule.config),
            "prediction": self.prediction.config,
        }
        if self.conditions:
            config["conditions"] = {name: condition.config for name, condition in self.conditions.items()}
        return config
