"""The protocol: on clips never seen in training, one sample a clip, does the model beat what needs no model?

- *Prediction*: the first half of the frames is known; against repeating the last known frame.
- *Interpolation*: the first and the last quarter are known; against a linear blend of the two nearest known frames.
- *Generation*: nothing is known; the mean and the variance over all pixels, against the data's.

PSNR is taken on made frames only, once a clip, and averaged over clips.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.evaluation.quality import linear_blend, psnr, repeat_last
from kvdiff.evaluation.scores import GenerationScore, TaskReport, TaskScore

__all__ = ["MadeFrames", "TaskSamples", "evaluate_tasks", "sample_tasks"]

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True, eq=False)
class MadeFrames:
    """One task's clips, whole: known frames are the true ones in all three.

    Attributes:
        truth, made, baseline: float32 [batch, frames, height, width, channels] in [-1, 1].
        known: bool [frames].
    """

    truth: np.ndarray
    made: np.ndarray
    baseline: np.ndarray
    known: np.ndarray

    def score(self) -> TaskScore:
        """PSNR on the frames that were made."""
        truth, made, baseline = (clips[:, ~self.known] for clips in (self.truth, self.made, self.baseline))
        return TaskScore(
            model=float(psnr(made, truth).mean()),
            baseline=float(psnr(baseline, truth).mean()),
            model_per_frame=tuple(psnr(made, truth, per_frame=True).mean(axis=0).tolist()),
            baseline_per_frame=tuple(psnr(baseline, truth, per_frame=True).mean(axis=0).tolist()),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class TaskSamples:
    """The clips that the protocol made, and the settings they were made with."""

    prediction: MadeFrames
    interpolation: MadeFrames
    generated: np.ndarray
    num_steps: int
    seed: int

    def report(self) -> TaskReport:
        """The numbers."""
        truth = self.prediction.truth
        pixels = [clips.astype(np.float64) for clips in (self.generated, truth)]
        mean, data_mean = (float(p.mean()) for p in pixels)
        variance, data_variance = (float(p.var()) for p in pixels)
        return TaskReport(
            num_clips=len(truth),
            num_steps=self.num_steps,
            seed=self.seed,
            prediction=self.prediction.score(),
            interpolation=self.interpolation.score(),
            generation=GenerationScore(mean, variance, data_mean, data_variance),
        )


def evaluate_tasks(sampler: Sampler, truth: np.ndarray, **sampling: Any) -> TaskReport:
    """The numbers of the protocol. Arguments as in `sample_tasks`."""
    return sample_tasks(sampler, truth, **sampling).report()


def sample_tasks(
    sampler: Sampler,
    truth: np.ndarray,
    *,
    num_steps: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
    generation: Mapping[str, Any] | None = None,
    **options: Any,
) -> TaskSamples:
    """Predict, interpolate and generate, one sample for each true clip.

    Args:
        sampler: a sampler of any runtime.
        truth: clips never seen in training, [batch, frames, height, width, channels], uint8 or in [-1, 1], of at
            least 4 frames.
        num_steps, seed, **options: of sampling, as in `Sampler.infill`.
        progress: called as `progress(task, done, total)`, with the task "prediction", "interpolation" or "generation".
        generation: options for generation alone. PSNR rewards a coarse last step, which averages what is uncertain;
            the variance of generated pixels rewards a fine one.
    """
    truth = sampler.spec.checked("truth", truth)
    if truth.shape[1] < 4:
        raise ValueError(f"`truth`: expected clips of at least 4 frames. Received: {truth.shape[1]}")

    def sampling(task: str) -> dict[str, Any]:
        report = None if progress is None else lambda done, total: progress(task, done, total)
        return {"num_steps": num_steps, "seed": seed, "progress": report, **options}

    made_freely = {**sampling("generation"), **(generation or {})}
    return TaskSamples(
        prediction=_predict(sampler, truth, sampling("prediction")),
        interpolation=_interpolate(sampler, truth, sampling("interpolation")),
        generated=sampler.generate(len(truth), num_frames=truth.shape[1], **made_freely),
        num_steps=num_steps,
        seed=seed,
    )


def _predict(sampler: Sampler, truth: np.ndarray, sampling: dict[str, Any]) -> MadeFrames:
    frames = truth.shape[1]
    past = truth[:, : frames // 2]
    future = frames - past.shape[1]
    made = sampler.predict_frames(past, future, **sampling)
    made, baseline = (np.concatenate([past, new], axis=1) for new in (made, repeat_last(past, future)))
    return MadeFrames(truth, made, baseline, known=np.arange(frames) < frames // 2)


def _interpolate(sampler: Sampler, truth: np.ndarray, sampling: dict[str, Any]) -> MadeFrames:
    frames = truth.shape[1]
    quarter = frames // 4
    before, after = truth[:, :quarter], truth[:, frames - quarter :]
    gap = frames - 2 * quarter
    made = sampler.interpolate(before, after, gap, **sampling)
    made, baseline = (np.concatenate([before, new, after], axis=1) for new in (made, linear_blend(before, after, gap)))
    index = np.arange(frames)
    return MadeFrames(truth, made, baseline, known=(index < quarter) | (index >= frames - quarter))
