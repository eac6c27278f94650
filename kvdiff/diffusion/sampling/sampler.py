"""The verbs of sampling: generate, predict, interpolate, infill, raise the frame rate, roll out.

Each is a video with some of its frames known, and a plan: a list of windows. A `Sampler` has a spec and an engine, and
runs every plan on every engine:

    clip ─ values ─ codec ─► x ──► for each window: noise into new frames, engine.run_window ──► codec ─ values ─► clip
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_can, check_count, check_kind, check_known
from kvdiff.diffusion.sampling.call import Call
from kvdiff.diffusion.sampling.engine import Engine
from kvdiff.diffusion.sampling.frame_values import with_actions
from kvdiff.diffusion.sampling.keywords import with_defaults
from kvdiff.diffusion.sampling.missing import fill_repeats
from kvdiff.diffusion.sampling.stream import Stream
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.tasks import masks
from kvdiff.diffusion.tasks.plan import Window
from kvdiff.diffusion.tasks.plans import frame_rate, plan_for

_PIXELS = (..., None, None, None)


@dataclasses.dataclass(frozen=True, eq=False)
class Sampler:
    """Generates, predicts and interpolates clips with an engine.

    Clips are [batch, frames, height, width, channels], in the numbers of the model's values: for pixels float32 in
    [-1, 1], and known frames may also be uint8. Every verb takes the keywords of `infill`; the same seed gives the same
    video on every engine and in any batch.

    Attributes:
        spec: what the network was trained for.
        engine: what runs windows of video through it.
        dtype: of the video between windows.
    """

    spec: ModelSpec
    engine: Engine
    dtype: Any = np.float32

    def __post_init__(self) -> None:
        check_kind("spec", self.spec, ModelSpec)
        check_can("engine", self.engine, "an engine, with `run_window`", "run_window")

    def generate(self, num_clips: int = 1, *, num_frames: int | None = None, **sampling: Any) -> np.ndarray:
        """New clips from noise alone: float32 [num_clips, frames, height, width, channels]."""
        check_count("num_clips", num_clips)
        frames = check_count("num_frames", self.spec.clip.num_frames if num_frames is None else num_frames)
        clip = np.zeros((num_clips, frames, *self.spec.clip.frame_shape), np.float32)
        return self._fill(clip, masks.none(frames), **sampling)

    def predict_frames(self, past: np.ndarray, num_frames: int | None = None, **sampling: Any) -> np.ndarray:
        """The `num_frames` frames that follow `past`: float32 [batch, num_frames, height, width, channels].

        Args:
            past: known frames, [batch, past_frames, height, width, channels].
            num_frames: how many to generate; by default what fills a clip of the training length.
            **sampling: as in `infill`.
        """
        past = self.spec.checked("past", past)
        known = past.shape[1]
        num_frames = self._missing("`past`", "frames", num_frames, known)
        clip = np.concatenate([past, np.zeros((len(past), num_frames, *past.shape[2:]), np.float32)], axis=1)
        return self._fill(clip, masks.first(clip.shape[1], known), **sampling)[..., known:, :, :, :]

    def interpolate(
        self, before: np.ndarray, after: np.ndarray, num_frames: int | None = None, **sampling: Any
    ) -> np.ndarray:
        """The `num_frames` frames between two ends: float32 [batch, num_frames, height, width, channels].

        Args:
            before: the known frames before the gap, [batch, frames, height, width, channels]; two or more tell the
                motion.
            after: the known frames after the gap, likewise.
            num_frames: how many to generate; by default what fills a clip of the training length.
            **sampling: as in `infill`.
        """
        before, after = self.spec.checked("before", before), self.spec.checked("after", after)
        if len(before) != len(after):
            raise ValueError(f"`after`: expected the batch of `before`, {len(before)}. Received: {len(after)}")
        left, right = before.shape[1], after.shape[1]
        num_frames = self._missing("`before`, `after`", "frames together", num_frames, left, right)
        gap = np.zeros((len(before), num_frames, *before.shape[2:]), np.float32)
        clip = np.concatenate([before, gap, after], axis=1)
        filled = self._fill(clip, masks.ends(clip.shape[1], left, right), **sampling)
        return filled[..., left : left + num_frames, :, :, :]

    def _missing(self, argument: str, what: str, num_frames: int | None, *known: int) -> int:
        """`num_frames`, or what fills a clip of the training length."""
        length = self.spec.clip.num_frames
        if num_frames is None and sum(known) >= length:
            raise ValueError(
                f"{argument}: expected fewer than {length} {what}, the training length, or an explicit `num_frames`. "
                f"Received: {' + '.join(map(str, known))} frames"
            )
        return check_count("num_frames", length - sum(known) if num_frames is None else num_frames)

    def increase_frame_rate(self, clip: np.ndarray, factor: int, **sampling: Any) -> np.ndarray:
        """`clip` with `factor` - 1 new frames after each but the last: float32 [batch, (n - 1) · factor + 1, …].

        Generated in windows of the training length, so `clip` may be long. A model for this is best trained with
        `known_frames=Every(…)`.

        Args:
            clip: n ≥ 2 frames, [batch, n, height, width, channels].
            factor: by how much to raise the frame rate, less than the training length.
            **sampling: as in `infill`.
        """
        clip, length = self.spec.checked("clip", clip), self.spec.clip.num_frames
        check_count("frames of `clip`", clip.shape[1], at_least=2)
        check_count("factor", factor, at_least=2, at_most=length - 1)
        plan = frame_rate((clip.shape[1] - 1) * factor + 1, length, factor=factor)
        video = np.zeros((len(clip), plan.num_frames, *clip.shape[2:]), np.float32)
        video[:, ::factor] = clip
        own_plan = {} if "at_a_time" in sampling else {"plan": plan}
        return self._fill(video, plan.known, "frame_rate", **{**own_plan, **sampling})

    def rollout(
        self, num_frames: int, past: np.ndarray | None = None, *, num_clips: int = 1, **sampling: Any
    ) -> np.ndarray:
        """A video of any length, window by window: float32 [batch, num_frames, height, width, channels].

        Args:
            num_frames: of the whole video, `past` included.
            past: its first frames, [batch, frames, height, width, channels]; without, they are generated.
            num_clips: how many videos to generate, where no `past` says so.
            **sampling: as in `infill`; by default the plan "autoregressive". Conditions a frame are for the whole
                video.
        """
        check_count("num_frames", num_frames)
        past = self._past(past, num_clips)
        known = past.shape[1]
        if known >= num_frames:
            raise ValueError(f"`num_frames`: expected more than the {known} frames of `past`. Received: {num_frames}")
        video = np.zeros((len(past), num_frames, *past.shape[2:]), np.float32)
        video[:, :known] = past
        return self._fill(video, masks.first(num_frames, known), "rollout", **sampling)

    def stream(
        self,
        past: np.ndarray | None = None,
        actions: Any = None,
        *,
        num_frames: int | None = None,
        num_clips: int = 1,
        **sampling: Any,
    ) -> Stream:
        """A rollout whose frames are handed out while they are generated, however long it gets.

        Frame k is that of `rollout` with the same keywords; the frames of `past` are not handed out again. What is
        wrong is named before the first frame.

        Args:
            past: the video's first frames, [batch, frames, height, width, channels]; without, they are generated.
            actions: the values of the model's one condition `FrameVectors`, for all frames of the video, those of
                `past` first: an array, as in `conditions`; or an iterable of one frame's after the other, float [size]
                or [batch, size], which is asked for a value when its frame is to be generated, and ends the video.
            num_frames: of the whole video, `past` included; by default as many as an array of a condition a frame says,
                else until an iterable ends, or for ever.
            num_clips: how many videos to generate, where no `past` says so.
            **sampling: as in `rollout`. A condition a frame may be an iterable too. Where nothing says how many frames
                there will be, the plan is "autoregressive" or `at_a_time`. `at_a_time=1` asks for one action a frame.

        Returns:
            An iterator of frames, float32 [batch, height, width, channels], or with `num_members` [members, batch, …].
            Pictures of a learned autoencoder are those of `rollout` to rounding, and come as many frames late as they
            depend on.
        """
        sampling = with_defaults(self.spec.sampling.get("rollout", {}), sampling)
        sampling["conditions"] = with_actions(self.spec, sampling.get("conditions"), actions)
        past = self._past(past, num_clips).astype(self.dtype)
        return Stream(self.spec, self.engine, past, num_frames, sampling)

    def _past(self, past: np.ndarray | None, num_clips: int) -> np.ndarray:
        """Checked clips, of no frames where there is no past."""
        if past is not None:
            return self.spec.checked("past", past)
        return np.zeros((check_count("num_clips", num_clips), 0, *self.spec.clip.frame_shape), np.float32)

    def infill(self, clip: np.ndarray, known: np.ndarray, **sampling: Any) -> np.ndarray:
        """Generate the frames of `clip` that are not `known`; known frames come back bit-identical.

        Args:
            clip: [batch, frames, height, width, channels]; unknown frames may hold any numbers in range.
            known: bool [frames] or [batch, frames].
            **sampling: the keywords below, of every verb. What is not named is the model's own default for the task
                that `known` says, `ModelSpec.sampling`, else the one below.

        Keyword Args:
            plan: which frames are generated together: one of `kvdiff.diffusion.plans`, or the name of one with windows
                of the training length. By default all in one window, and "autoregressive" for `rollout`.
            at_a_time: frames to generate in a window, short for the plan that goes by all frames before them that fit.
            num_steps: noise levels to visit in a window, 1 … num_timesteps (20); each is one network call, with Heun's
                and other two-call solvers two.
            solver: a name in `kvdiff.diffusion.solvers.SOLVERS` ("dpmpp_2m_sde").
            spacing: a name in `kvdiff.diffusion.spacing.SPACINGS`, or `num_steps` timesteps of your own, falling. By
                default what suits the solver: "trailing", or for two-call solvers "karras".
            seed: of the noise (0). Noise depends on (seed, step, sample number) alone.
            first_sample: the number of the first clip (0); clip i of the batch is sample `first_sample + i`.
            num_members: how many samples of each clip to generate (None: one). The result then has an axis for members
                before the others, [members, batch, frames, …], and member 0 is what a call without generates.
            first_member: the number of the first member (0). Member m of sample s is sample s + 2²² m.
            batch_size: clips that go through the network together (32); changes memory, not results.
            progress: called as `progress(done, total)` after every network call, an autoencoder's included.
            conditions: what the clips are conditioned on, by the denoiser's names: `{"action": …}`; each an array for
                the batch, or for one clip. A condition that is not named is absent.
            guidance: the weight of classifier-free guidance (1, none), a number or one a clip; above 1 exaggerates
                what the conditions change.
            guidance_interval: the noise labels between which guidance acts ((0, 1)): elsewhere it costs nothing
                (Kynkäänniemi et al. 2024, arXiv:2404.07724).
            guidance_rescale: the share of the gain in standard deviation that is undone (0), in [0, 1].
            history_guidance: the weight of guidance towards the known frames (1, none; Song et al. 2025,
                arXiv:2502.06764): above 1 what is generated follows them more closely, at twice the calls, within
                `guidance_interval`, rescaled by `guidance_rescale`. For models that were trained without known frames
                too, as by default; on engines of single network calls. With `known_noise` less detail is exaggerated.
            known_noise: the noise label at which known frames go to the network (0, clean), at most the model's own
                `known_noise`; a little keeps long rollouts from drifting. They come back clean all the same.
            augmentation: the noise label of `LowResolution` clips (0).
            constraints: linear quantities of the clips that are to be imposed, a list of
                `kvdiff.diffusion.constraints.Constraint` (None). On engines whose network has a gradient: Keras on
                TensorFlow.
            constraint_iterations: gradients a network call to impose them with (5); as many as there are numbers to
                impose are exact, fewer are near where numbers are alike.
            fill_missing: generate the numbers that are missing (NaN) in known frames too, by a model with the condition
                `Observed`; a number says how many times to take each step (True is 5): more costs more calls, and
                agrees better with what is there. By default they stay missing, and a number that no known frame of a
                clip has is missing in its generated frames as well.
            **options: of the solver, e.g. `eta=1.0` of "ddim".

        Returns:
            float32 [batch, frames, height, width, channels], with `num_members` [members, batch, frames, …].

        Raises:
            ValueError, TypeError: an argument that is not as above; `num_members` of clips of which nothing is known.
            FloatingPointError: the network returned NaN or infinity.
        """
        return self._fill(self.spec.checked("clip", clip), known, **sampling)

    # Behind the verbs.

    def _fill(self, video: np.ndarray, known: np.ndarray, task: str | None = None, **sampling: Any) -> np.ndarray:
        """The frames of a checked `video` that are not `known`, [frames] or [batch, frames]."""
        fill = bool(fill_repeats(sampling.get("fill_missing", False)))
        given = mask = check_known("known", known, *video.shape[:2], all_known=fill)
        if fill:
            mask = self._complete(video, given)
        sampling = with_defaults(self.spec.sampling.get(task or masks.task_of(mask), {}), sampling)
        plan, at_a_time = sampling.pop("plan", None), sampling.pop("at_a_time", None)
        if plan is None and at_a_time is None:
            plan = "autoregressive" if task == "rollout" else None
        if plan is None and at_a_time is None:
            windows: Sequence[Window] = [Window.filling(mask)]
        else:
            if np.ndim(known) != 1:
                raise ValueError("`plan`, `at_a_time`: expected the same known frames in every clip of the batch.")
            mask = np.broadcast_to(mask.all(axis=0), mask.shape)  # Those that are whole in every clip.
            times = any(condition.tells_time for condition in self.spec.conditions.values())
            windows = plan_for(plan, at_a_time, mask[0], self.spec.clip.num_frames, gaps=times).windows
        call = Call.of(self.spec, sampling, video, given)
        return call.run(self.engine, video.astype(self.dtype), mask, windows)

    def _complete(self, video: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The known frames in which nothing is missing: with `fill_missing` the others are generated."""
        if self.spec.missing is None:
            raise ValueError("`fill_missing`: expected a model with the condition Observed(). Received: one without")
        whole = mask & ~np.isnan(video).any(axis=(2, 3, 4))
        if whole.all(axis=1).any():
            raise ValueError("`fill_missing`: expected clips with frames or numbers to generate. Received: one without")
        return whole


def check_sampler(name: str, value: Any) -> Sampler:
    """Return `value` when it is a `Sampler`, else raise: a model has one, and a `Cascade` several."""
    return check_kind(name, value, Sampler, "a sampler, such as `model.sampler`")
