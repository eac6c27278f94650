"""The verbs of every sampler: generate, predict, interpolate, infill, roll out.

Each is a video with some of its frames known and a list of windows; what runs them is `kvdiff.diffusion.sampling.loop`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_clip, check_count, check_known, check_real
from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.conditions.kinds import FrameTimes
from kvdiff.diffusion.sampling.loop import Executor
from kvdiff.diffusion.solvers.by_name import DEFAULT_NUM_STEPS, DEFAULT_SOLVER, DEFAULT_SPACING, step_table
from kvdiff.diffusion.solvers.rows import HeldLevel
from kvdiff.diffusion.tasks import masks
from kvdiff.diffusion.tasks.plan import Plan, Window, network_calls
from kvdiff.diffusion.tasks.plans import PLANS, frame_rate

__all__ = ["ClipSampler"]

Progress = Callable[[int, int], None]


class ClipSampler(Executor):
    """Generates, predicts and interpolates clips with a denoiser that a subclass supplies.

    Clips are float32 [batch, frames, height, width, channels] in [-1, 1]; known frames may also be uint8 pixels. Every
    verb takes the keywords of `infill`, and the same seed gives the same video on every runtime and in any batch.

    Args:
        clip_spec, schedule, prediction: what the denoiser was trained for.
        clamp: what keeps the predicted x_0 in range, see `kvdiff.diffusion.process.clamps`.
        conditions: what the denoiser may be told besides known frames, by name.
    """

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
            solver: a name in `kvdiff.diffusion.solvers.SOLVERS` ("dpmpp_2m").
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
            **options: of the solver, e.g. `eta=1.0` of "ddim".

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
        num_steps: int = DEFAULT_NUM_STEPS,
        solver: str = DEFAULT_SOLVER,
        spacing: str | Sequence[int] | np.ndarray = DEFAULT_SPACING,
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


def _window_rows(window: Window, rows: slice) -> Window:
    """A window of some clips of the batch, where its clips differ."""
    if window.start.ndim == 1:
        return window
    return dataclasses.replace(window, start=window.start[rows], stop=window.stop[rows])
