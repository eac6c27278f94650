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
from kvdiff.diffusion.conditioning import Conditioning, answer
from kvdiff.diffusion.conditions import Condition, FrameTimes
from kvdiff.diffusion.noise import CONTEXT, SAMPLING, video_noise
from kvdiff.diffusion.plans import PLANS, Plan, Window, frame_rate, network_calls
from kvdiff.diffusion.predictions import Prediction
from kvdiff.diffusion.schedules import NoiseSchedule
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.spacing import sampling_levels
from kvdiff.diffusion.steps import HeldLevel, Row, StepTable, step

__all__ = ["ClipSampler", "ClipSpec", "Draws", "step_table"]

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


class ClipSampler(abc.ABC):
    """Generates, predicts and interpolates clips with a denoiser that a subclass supplies.

    Clips are float32 [batch, frames, height, width, channels] in [-1, 1]; known frames may also be uint8 pixels. Every
    verb takes the keywords of `infill`, and the same seed gives the same video on every runtime and in any batch.

    Args:
        clip_spec, schedule, prediction: what the denoiser was trained for.
        clamp: what keeps the predicted x_0 in range, see `kvdiff.diffusion.clamps`.
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

    def increase_frame_rate(self, clip: np.ndarray, factor: int, **sampling: Any) -> np.ndarray:
        """`clip` with `factor` - 1 new frames after each but the last: float32 [batch, (n - 1) · factor + 1, …].

        Made in windows of the training length, so `clip` may be long. A model for this is best trained with
        `known_frames=Every(…)`.

        Args:
            clip: n ≥ 2 frames, [batch, n, height, width, channels].
            factor: by how much to raise the frame rate, less than the training length.
            **sampling: as in `infill`.
        """
        clip = check_clip("clip", clip, self.clip_spec.frame_shape)
        check_count("frames of `clip`", clip.shape[1], at_least=2)
        check_count("factor", factor, at_least=2, at_most=self.clip_spec.num_frames - 1)
        frames = (clip.shape[1] - 1) * factor + 1
        plan = frame_rate(frames, self.clip_spec.num_frames, factor=factor)
        video = np.zeros((len(clip), frames, *clip.shape[2:]), np.float32)
        video[:, ::factor] = clip
        return self._make(video, np.broadcast_to(plan.known, video.shape[:2]), plan.windows, **sampling)

    def rollout(
        self,
        num_frames: int,
        past: np.ndarray | None = None,
        *,
        num_clips: int = 1,
        plan: Plan | str = "autoregressive",
        **sampling: Any,
    ) -> np.ndarray:
        """A video of any length, window by window: float32 [batch, num_frames, height, width, channels].

        Args:
            num_frames: of the whole video, `past` included.
            past: its first frames, [batch, frames, height, width, channels]; without, they are generated.
            num_clips: how many videos to make, where no `past` says so.
            plan: which windows: one of `kvdiff.diffusion.plans` with windows of the training length, or a `Plan`.
            **sampling: as in `infill`; conditions a frame are for the whole video.
        """
        check_count("num_frames", num_frames)
        if past is None:
            past = np.zeros((check_count("num_clips", num_clips), 0, *self.clip_spec.frame_shape), np.float32)
        else:
            past = check_clip("past", past, self.clip_spec.frame_shape)
        known = past.shape[1]
        if known >= num_frames:
            raise ValueError(f"`num_frames`: expected more than the {known} frames of `past`. Received: {num_frames}")
        plan = self._plan(plan, num_frames, known)
        video = np.zeros((len(past), num_frames, *past.shape[2:]), np.float32)
        video[:, :known] = past
        return self._make(video, np.broadcast_to(plan.known, video.shape[:2]), plan.windows, **sampling)

    def _plan(self, plan: Plan | str, num_frames: int, known: int) -> Plan:
        """A plan by name, or the user's own, checked against the video."""
        if isinstance(plan, str):
            return self._plan(
                PLANS[check_choice("plan", plan, PLANS)](num_frames, self.clip_spec.num_frames, known=known),
                num_frames,
                known,
            )
        given = int(plan.known.sum())
        if plan.num_frames != num_frames or given != known or not plan.known[:known].all():
            raise ValueError(
                f"`plan`: expected one of {num_frames} frames whose first {known} are known. "
                f"Received: one of {plan.num_frames} frames that knows {given}"
            )
        if plan.has_gaps and not any(isinstance(condition, FrameTimes) for condition in self.conditions.values()):
            raise ValueError(
                "`plan`: expected windows of neighbouring frames, for the denoiser is not told when frames were taken "
                f"(condition FrameTimes). Received: {plan.name}, with gaps"
            )
        return plan

    def infill(self, clip: np.ndarray, known: np.ndarray, **sampling: Any) -> np.ndarray:
        """Make the frames of `clip` that are not `known`; known frames come back bit-identical.

        Args:
            clip: [batch, frames, height, width, channels] in [-1, 1] (or uint8); unknown frames may hold anything
                finite.
            known: bool [frames] or [batch, frames].
            **sampling: the keywords below, of every verb.

        Keyword Args:
            num_steps: noise levels to visit, 1 … num_timesteps (20); each is one network call, with Heun's and other
                two-call solvers two.
            solver: a name in `kvdiff.diffusion.solvers.SOLVERS` ("ddim").
            spacing: a name in `kvdiff.diffusion.spacing.SPACINGS` ("trailing"), or `num_steps` timesteps of your own,
                falling.
            seed: of the noise (0). Noise depends on (seed, step, sample number) alone.
            first_sample: the number of the first clip (0); clip i of the batch is sample `first_sample + i`.
            batch_size: clips that go through the network together (32); changes memory, not results.
            progress: called as `progress(done, total)` after every network call.
            conditions: what the clips are conditioned on, by the denoiser's names: `{"action": …}`; each an array for
                the batch, or for one clip. What is not given is not told.
            guidance: the weight of classifier-free guidance (1, none), a number or one a clip; above 1 exaggerates
                what the conditions change.
            guidance_interval: the noise labels between which guidance acts ((0, 1)): elsewhere it costs nothing
                (Kynkäänniemi et al. 2024, arXiv:2404.07724).
            guidance_rescale: the share of the gain in standard deviation that is undone (0), in [0, 1].
            context_noise: the noise label at which known frames are shown (0, clean); a little, on a model trained with
                `known_noise`, keeps long rollouts from drifting. They come back clean all the same.
            augmentation: the noise label at which `LowResolution` clips are shown (0).
            **options: of the solver, e.g. `eta=1.0`.

        Returns:
            float32 [batch, frames, height, width, channels] in [-1, 1].
        """
        clip = check_clip("clip", clip, self.clip_spec.frame_shape)
        known = check_known("known", known, *clip.shape[:2])
        window = Window(np.arange(clip.shape[1]), known.astype(int), np.ones(known.shape, int))
        return self._make(clip, known, [window], **sampling)

    def _make(
        self,
        video: np.ndarray,
        known: np.ndarray,
        windows: Sequence[Window],
        *,
        num_steps: int = 20,
        solver: str = "ddim",
        spacing: str | Sequence[int] | np.ndarray = "trailing",
        seed: int = 0,
        first_sample: int = 0,
        batch_size: int = 32,
        progress: Progress | None = None,
        conditions: Mapping[str, Any] | None = None,
        guidance: Any = 1.0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        guidance_rescale: float = 0.0,
        context_noise: float = 0.0,
        augmentation: float = 0.0,
        **options: Any,
    ) -> np.ndarray:
        """Check everything, then run `windows` over `video`, `batch_size` clips at a time; see `infill`."""
        check_count("batch_size", batch_size)
        check_count("first_sample", first_sample, at_least=0)
        check_count("seed", seed, at_least=0, at_most=2**64 - 1)
        table = step_table(
            self.schedule, self.prediction, solver=solver, num_steps=num_steps, spacing=spacing, **options
        )
        check_real("context_noise", context_noise, above=0.0, below=0.99, closed=True)
        held = HeldLevel.of(self.schedule, self.prediction, context_noise)
        told = Conditioning.of(
            self.conditions,
            conditions,
            video.shape,
            guidance=guidance,
            guidance_interval=guidance_interval,
            guidance_rescale=guidance_rescale,
            augmentation=augmentation,
        )
        calls = network_calls(windows, table.num_steps)
        starts = range(0, len(video), batch_size)
        done = 0

        def report(rows: int) -> None:
            nonlocal done
            done += rows
            if progress is not None:
                progress(done, len(starts) * calls)

        chunks = []
        for start in starts:
            rows = slice(start, start + batch_size)
            samples = first_sample + start + np.arange(len(video[rows]))
            chunk_told = told.rows(rows).with_noise(seed, samples)
            of_rows = [_window_rows(window, rows) for window in windows]
            chunks.append(self._run(table, of_rows, video[rows], known[rows], seed, samples, chunk_told, held, report))
        return np.concatenate(chunks)

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


def _window_rows(window: Window, rows: slice) -> Window:
    """A window of some clips of the batch, where its clips differ."""
    if window.start.ndim == 1:
        return window
    return dataclasses.replace(window, start=window.start[rows], stop=window.stop[rows])
