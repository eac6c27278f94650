"""The sampling loop and the three verbs, once, for every runtime.

A runtime supplies one thing, `denoise`: the network's raw output for a noisy clip and its noise labels. Everything else
— task, table, noise, clamping, order of rows — is here, in NumPy.
"""

from __future__ import annotations

import abc
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion import frames as masks
from kvdiff.diffusion.checks import check_choice, check_clip, check_count, check_known, check_real
from kvdiff.diffusion.clamps import clamp_unit
from kvdiff.diffusion.noise import video_noise
from kvdiff.diffusion.predictions import Prediction
from kvdiff.diffusion.schedules import NoiseSchedule
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.spacing import sampling_levels
from kvdiff.diffusion.steps import Row, StepTable, step

__all__ = ["ClipSampler", "ClipSpec", "step_table"]

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class ClipSpec:
    """The clips a model was made for.

    Attributes:
        num_frames: the number of frames in training clips, and the default when sampling.
        height, width, channels: the shape of a frame.
    """

    num_frames: int
    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_count(field.name, getattr(self, field.name))

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, self.channels

    @property
    def config(self) -> dict[str, int]:
        """The arguments that rebuild this spec."""
        return dataclasses.asdict(self)


def step_table(
    schedule: NoiseSchedule,
    prediction: Prediction,
    *,
    solver: str = "ddim",
    num_steps: int = 20,
    spacing: str | Sequence[int] | np.ndarray = "trailing",
    init_std: float | None = None,
    **options: Any,
) -> StepTable:
    """The table of a named solver: `step_table(schedule, prediction, solver="ddim", num_steps=20, eta=0.5)`.

    Args:
        schedule: the noise levels of training.
        prediction: what the network predicts.
        solver: a name in `kvdiff.diffusion.solvers.SOLVERS`.
        num_steps: noise levels to visit, 1 … num_timesteps.
        spacing: a name in `kvdiff.diffusion.spacing.SPACINGS`, or `num_steps` timesteps of your own, falling.
        init_std: the standard deviation of the starting noise; by default the schedule's own.
        **options: of the solver: its keyword-only arguments.
    """
    make = SOLVERS[check_choice("solver", solver, SOLVERS)]
    known = [p.name for p in inspect.signature(make).parameters.values() if p.kind is p.KEYWORD_ONLY]
    if unknown := sorted(set(options) - set(known)):
        raise TypeError(f"solver {solver!r}: expected options among {known}. Received: {unknown}")
    table = make(sampling_levels(schedule, num_steps, spacing), prediction, **options)
    if init_std is None:
        return table
    check_real("init_std", init_std, above=0.0)
    return dataclasses.replace(table, init_std=init_std)


class ClipSampler(abc.ABC):
    """Generates, predicts and interpolates clips with a denoiser that a subclass supplies.

    Clips are float32 [batch, frames, height, width, channels] in [-1, 1]; known frames may also be uint8 pixels. Every
    verb takes the keywords of `infill`, and the same seed gives the same video on every runtime and in any batch.

    Args:
        clip_spec, schedule, prediction: what the denoiser was trained for.
        clamp: what keeps the predicted x_0 in range, see `kvdiff.diffusion.clamps`.
    """

    row_dtype: Any = np.float32

    def __init__(
        self,
        clip_spec: ClipSpec,
        schedule: NoiseSchedule,
        prediction: Prediction,
        clamp: Callable[[Any], Any] = clamp_unit,
    ) -> None:
        self.clip_spec = clip_spec
        self.schedule = schedule
        self.prediction = prediction
        self.clamp = clamp

    @abc.abstractmethod
    def denoise(self, noisy_clip: Any, noise_label: np.ndarray) -> Any:
        """The network's raw output F for a noisy clip and float32 noise labels [batch, frames]."""

    def generate(self, num_clips: int = 1, *, num_frames: int | None = None, **sampling: Any) -> np.ndarray:
        """New clips from noise alone: float32 [num_clips, frames, height, width, channels]."""
        check_count("num_clips", num_clips)
        frames = check_count("num_frames", self.clip_spec.num_frames if num_frames is None else num_frames)
        clip = np.zeros((num_clips, frames, *self.clip_spec.frame_shape), np.float32)
        return self.infill(clip, masks.none(frames), **sampling)

    def predict_frames(self, past: np.ndarray, num_frames: int | None = None, **sampling: Any) -> np.ndarray:
        """The `num_frames` frames that follow `past`: float32 [batch, num_frames, height, width, channels].

        Args:
            past: known frames, [batch, past_frames, height, width, channels].
            num_frames: how many to make; by default what fills a clip of the training length.
            **sampling: as in `infill`.
        """
        past = check_clip("past", past, self.clip_spec.frame_shape)
        known = past.shape[1]
        if num_frames is None:
            num_frames = self.clip_spec.num_frames - known
            if num_frames < 1:
                raise ValueError(
                    f"`past`: expected fewer than {self.clip_spec.num_frames} frames, the training length, or an "
                    f"explicit "
                    f"`num_frames`. Received: {known} frames"
                )
        check_count("num_frames", num_frames)
        clip = np.concatenate([past, np.zeros((len(past), num_frames, *past.shape[2:]), np.float32)], axis=1)
        return self.infill(clip, masks.first(clip.shape[1], known), **sampling)[:, known:]

    def interpolate(
        self, before: np.ndarray, after: np.ndarray, num_frames: int | None = None, **sampling: Any
    ) -> np.ndarray:
        """The `num_frames` frames between two ends: float32 [batch, num_frames, height, width, channels].

        Args:
            before: the known frames before the gap, [batch, frames, height, width, channels]; two or more tell the
                motion.
            after: the known frames after the gap, likewise.
            num_frames: how many to make; by default what fills a clip of the training length.
            **sampling: as in `infill`.
        """
        before = check_clip("before", before, self.clip_spec.frame_shape)
        after = check_clip("after", after, self.clip_spec.frame_shape)
        if len(before) != len(after):
            raise ValueError(f"`after`: expected the batch of `before`, {len(before)}. Received: {len(after)}")
        left, right = before.shape[1], after.shape[1]
        if num_frames is None:
            num_frames = self.clip_spec.num_frames - left - right
            if num_frames < 1:
                raise ValueError(
                    f"`before`, `after`: expected fewer than {self.clip_spec.num_frames} frames together, the training "
                    f"length, or an explicit `num_frames`. Received: {left} + {right}"
                )
        check_count("num_frames", num_frames)
        gap = np.zeros((len(before), num_frames, *before.shape[2:]), np.float32)
        clip = np.concatenate([before, gap, after], axis=1)
        filled = self.infill(clip, masks.ends(clip.shape[1], left, right), **sampling)
        return filled[:, left : left + num_frames]

    def infill(
        self,
        clip: np.ndarray,
        known: np.ndarray,
        *,
        num_steps: int = 20,
        solver: str = "ddim",
        spacing: str | Sequence[int] | np.ndarray = "trailing",
        seed: int = 0,
        first_sample: int = 0,
        batch_size: int = 32,
        progress: Progress | None = None,
        **options: Any,
    ) -> np.ndarray:
        """Make the frames of `clip` that are not `known`; known frames come back bit-identical.

        Args:
            clip: [batch, frames, height, width, channels] in [-1, 1] (or uint8); unknown frames may hold anything
                finite.
            known: bool [frames] or [batch, frames].
            num_steps: noise levels to visit, 1 … num_timesteps; each is one network call, with Heun's and other
                two-call solvers two.
            solver: a name in `kvdiff.diffusion.solvers.SOLVERS`.
            spacing: a name in `kvdiff.diffusion.spacing.SPACINGS`, or `num_steps` timesteps of your own, falling.
            seed: of the noise. Noise depends on (seed, step, sample number) alone.
            first_sample: the number of the first clip; clip i of the batch is sample `first_sample + i`.
            batch_size: clips that go through the network together; changes memory, not results.
            progress: called as `progress(done, total)` after every network call.
            **options: of the solver, e.g. `eta=1.0`.

        Returns:
            float32 [batch, frames, height, width, channels] in [-1, 1].
        """
        clip = check_clip("clip", clip, self.clip_spec.frame_shape)
        known = check_known("known", known, *clip.shape[:2])
        check_count("batch_size", batch_size)
        check_count("first_sample", first_sample, at_least=0)
        check_count("seed", seed, at_least=0, at_most=2**64 - 1)
        table = step_table(
            self.schedule, self.prediction, solver=solver, num_steps=num_steps, spacing=spacing, **options
        )
        starts = range(0, len(clip), batch_size)
        total = len(starts) * table.num_steps
        chunks = []
        for index, start in enumerate(starts):
            rows = slice(start, start + batch_size)
            samples = first_sample + start + np.arange(len(clip[rows]))

            def report(done: int, before: int = index * table.num_steps) -> None:
                if progress is not None:
                    progress(before + done, total)

            chunks.append(self._run(table, clip[rows], known[rows], seed, samples, report))
        return np.concatenate(chunks)

    def _run(
        self,
        table: StepTable,
        clip: np.ndarray,
        known: np.ndarray,
        seed: int,
        samples: Sequence[int] | np.ndarray,
        report: Callable[[int], None],
    ) -> np.ndarray:
        """Apply the rows of `table`. Noise of step 0 starts the clip; row i draws step i + 1."""

        def noise(index: int) -> np.ndarray:
            return video_noise(seed, index, np.asarray(samples), clip.shape[1:])

        start = np.float32(table.init_std) * noise(0)
        held = known[:, :, None, None, None]
        x = self._to_device(np.where(held, clip, start))
        history = tuple(self._to_device(np.zeros_like(clip)) for _ in range(table.memory))
        for index, row in enumerate(table.with_known(known).rows(self.row_dtype)):
            fresh = noise(index + 1) if row.std.any() else np.zeros((1, 1, 1, 1, 1), np.float32)
            x, history = self._advance(row, x, history, fresh)
            report(index + 1)
        return np.where(held, clip, self._to_host(x))  # The rows keep known pixels but for the sign of a zero.

    def _advance(self, row: Row, x: Any, history: tuple[Any, ...], noise: np.ndarray) -> tuple[Any, tuple[Any, ...]]:
        """One row: a network call and equation (7)."""
        label = np.broadcast_to(row.c_noise[..., 0, 0, 0], x.shape[:2])
        return step(row, x, self.denoise(row.c_in * x, label), history, noise, self.clamp)

    def _to_device(self, array: np.ndarray) -> Any:
        return array

    def _to_host(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    @property
    def config(self) -> Mapping[str, Any]:
        """Everything but the network: what a manifest stores."""
        return {
            "clip": self.clip_spec.config,
            "schedule": dict(self.schedule.config),
            "prediction": self.prediction.config,
        }
