"""A model under a protocol: sample, measure, and keep what shows how."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_kind
from kvdiff.diffusion.sampling.bound import bits_per_dim
from kvdiff.diffusion.sampling.sampler import Sampler, check_sampler
from kvdiff.diffusion.tasks import masks
from kvdiff.evaluation.appearance import Classifier
from kvdiff.evaluation.frechet import estimate_frechet
from kvdiff.evaluation.neighbours import Memorisation, manifold_score, memorisation
from kvdiff.evaluation.protocols import Protocol, Task
from kvdiff.evaluation.real import RealClips
from kvdiff.evaluation.scoring import SampleScores, TaskClips, score_frames, score_identity, score_set
from kvdiff.media import to_pixels

Features = Callable[[np.ndarray], np.ndarray]
"""From uint8 clips [clips, frames, height, width, 1 or 3] to float [clips, size], as `I3DFeatures`."""

Progress = Callable[[str, int, int], None]
"""Called as `progress(task, done, total)`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """Numbers, and the clips to look at.

    Attributes:
        tasks: by name, `{"numbers", "curves", "known"}`, and "frechet" where it was measured; JSON-able.
        seconds: by stage.
        clips: by name of the task, real clips and the first sample of each.
        copies: by name of a task without known frames, which training clips are nearest to the generated ones; empty
            where those are not at hand.
    """

    tasks: dict[str, dict[str, Any]]
    seconds: dict[str, float]
    clips: dict[str, TaskClips]
    copies: dict[str, Memorisation]


def evaluate(
    sampler: Sampler,
    protocol: Protocol,
    clips: RealClips,
    *,
    features: Features | None = None,
    classifier: Classifier | None = None,
    seed: int = 0,
    batch_size: int = 32,
    progress: Progress | None = None,
    by_task: Mapping[str, Mapping[str, Any]] | None = None,
    **sampling: Any,
) -> Evaluation:
    """Sample and measure everything that the protocol asks for.

    Sample k of clip i has the noise of sample number i K + k, so but for rounding figures do not depend on
    `batch_size`.

    Args:
        sampler: a sampler of any runtime, for frames of the protocol's shape.
        protocol, clips: which protocol, and its `real_clips`.
        features: what the Fréchet distance, precision and recall are measured in, e.g. `I3DFeatures()`; None leaves
            them out.
        classifier: of frames, e.g. `DigitClassifier()`; where the clips have labels, it says whether generated frames
            still show what those name.
        seed, batch_size, **sampling: as in `Sampler.infill`; the choice of solver is the model's, not the
            protocol's. A model of fewer frames than the protocol's clips goes by the plan "autoregressive" where
            neither these nor its own defaults say otherwise.
        progress: called as `progress(task, done, total)`.
        by_task: keywords of `Sampler.infill` for one task alone, by its name. PSNR rewards a coarse last step,
            which averages what is uncertain; the variance of generated pixels rewards a fine one.

    Raises:
        ValueError: a model of other frames or of too few of them, clips of another shape than the protocol's, or an
            unknown task in `by_task`.
    """
    check_sampler("sampler", sampler)
    check_kind("protocol", protocol, Protocol)
    check_kind("clips", clips, RealClips)
    _check_model(sampler, protocol)
    if list(clips.truth.shape) != [protocol.num_clips, *protocol.clip_shape]:
        wanted = [protocol.num_clips, *protocol.clip_shape]
        raise ValueError(f"`clips`: expected {wanted}. Received: {list(clips.truth.shape)}")
    for name in by_task or {}:
        check_choice("by_task", name, [task.name for task in protocol.tasks])
    sampling = {"seed": seed, "batch_size": batch_size, **sampling}
    run = _Run(sampler, protocol, clips, features, classifier, sampling, by_task or {}, progress or (lambda *_: None))
    tasks = {task.name: run.measured(task) for task in protocol.tasks}
    return Evaluation(tasks, run.seconds, run.compared, run.copies)


def _check_model(sampler: Sampler, protocol: Protocol) -> None:
    frames, *frame_shape = protocol.clip_shape
    spec = sampler.spec.clip
    if list(spec.frame_shape) != frame_shape:
        raise ValueError(
            f"`protocol`: {protocol.title} expects a model of frames of {frame_shape}. "
            f"Received: one of {list(spec.frame_shape)}"
        )
    between = [task.name for task in protocol.tasks if task.future]
    if between and spec.num_frames < frames:
        raise ValueError(
            f"`protocol`: {protocol.title} expects a model of clips of {frames} frames or more, for its {between[0]}. "
            f"Received: one of {spec.num_frames}"
        )


@dataclasses.dataclass(eq=False)
class _Run:
    """One evaluation under way: what its stages share, and the clips and times they leave."""

    sampler: Sampler
    protocol: Protocol
    clips: RealClips
    features: Features | None
    classifier: Classifier | None
    sampling: Mapping[str, Any]
    by_task: Mapping[str, Mapping[str, Any]]
    progress: Progress
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    compared: dict[str, TaskClips] = dataclasses.field(default_factory=dict)
    copies: dict[str, Memorisation] = dataclasses.field(default_factory=dict)
    of_real: dict[tuple[str, bytes], np.ndarray] = dataclasses.field(default_factory=dict)

    def measured(self, task: Task) -> dict[str, Any]:
        """A task's numbers, curves and Fréchet distance."""
        known = task.known(self.protocol.clip_shape[0])
        scores = self._timed(f"{task.name}, sampling", lambda: self._sampled(task, known))
        clips = self.compared[task.name] = TaskClips(self.clips.truth, scores.first, known)
        curves: dict[str, Any] = {}
        if known.any():
            numbers, curves = score_frames(scores, clips, self.protocol.psnr_of)
            if self.classifier is not None and self.clips.labels is not None:
                of_labels, curve = score_identity(clips, self.clips.labels, self.classifier)
                numbers, curves = numbers | of_labels, curves | curve
        else:
            numbers = score_set(scores.first, self.clips.truth) | self._copying(task, scores.first)
        if self.protocol.bits_per_dim_clips and not self._longer:
            numbers["bits_per_dim"] = self._timed(f"{task.name}, bound", lambda: self._bits(known))
        result = {"numbers": numbers, "curves": curves, "known": np.flatnonzero(known).tolist()}
        if self.features is not None and task.frechet:
            frechet = self._timed(f"{task.name}, features", lambda: self._in_features(scores.first, known, numbers))
            result |= {"frechet": frechet}
        return result

    @property
    def _longer(self) -> bool:
        """Whether the protocol's clips are longer than the model's, and sampled window by window."""
        return self.protocol.clip_shape[0] > self.sampler.spec.clip.num_frames

    def _timed(self, stage: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        self.seconds[stage] = round(time.perf_counter() - started, 1)
        return result

    def _sampled(self, task: Task, known: np.ndarray) -> SampleScores:
        """Sample and measure some clips at a time."""
        truth, count = self.clips.truth, task.samples
        some = max(self.sampling["batch_size"] // count, 1)
        parts = []
        for start in range(0, len(truth), some):
            real = truth[start : start + some]

            def report(done: int, total: int, start: int = start, share: int = len(real)) -> None:
                self.progress(task.name, total * start + done * share, total * len(truth))

            options = {**self.sampling, **self.by_task.get(task.name, {})}
            options |= {"first_sample": start * count, "progress": report}
            samples = to_pixels(self._generated(np.repeat(real, count, axis=0), known, options))
            samples = samples.reshape(len(real), count, *real.shape[1:])
            parts.append(SampleScores.of(samples, real, known))
        return SampleScores.joined(parts)

    def _generated(self, rows: np.ndarray, known: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
        """Whole clips whose known frames are those of `rows`."""
        own = self.sampler.spec.sampling.get(masks.task_of(known), {})
        if self._longer and not {"plan", "at_a_time"} & {*options, *own}:
            options = {**options, "plan": "autoregressive"}
        return self.sampler.infill(rows, known, **options)

    def _copying(self, task: Task, generated: np.ndarray) -> dict[str, float]:
        """Whether generated clips are training clips; nothing where those are not at hand."""
        if self.clips.training is None:
            return {}
        unseen = self.clips.truth if self.clips.second is None else self.clips.second
        copies = self.copies[task.name] = memorisation(generated, self.clips.training, unseen)
        return {"nearest_training_ratio": copies.ratio, "copied_share": copies.share}

    def _bits(self, known: np.ndarray) -> float:
        some = self.clips.truth[: self.protocol.bits_per_dim_clips]
        return bits_per_dim(self.sampler, some, known, seed=self.sampling["seed"]).total

    def _in_features(self, generated: np.ndarray, known: np.ndarray, numbers: dict[str, float]) -> dict[str, Any]:
        """The Fréchet distance of generated clips and of real ones; precision and the like go into `numbers`."""
        left_out = np.zeros_like(known) if self.protocol.frechet_counts_known else known
        truth = self._features_of_real("truth", self.clips.truth, left_out)
        ours = self._features_of(generated, left_out)
        if self.clips.second is None:
            half = len(truth) // 2
            pair = truth[:half], truth[half : 2 * half]
        else:
            pair = truth, self._features_of_real("second", self.clips.second, left_out)
        numbers |= dataclasses.asdict(manifold_score(truth, ours, k=self.protocol.neighbours))
        return {
            "made": estimate_frechet(truth, ours, bootstrap=self.protocol.bootstrap).config,
            "floor": estimate_frechet(*pair, bootstrap=self.protocol.bootstrap).config,
        }

    def _features_of(self, clips: np.ndarray, left_out: np.ndarray) -> np.ndarray:
        """The features of clips without some frames, each frame repeated as often as the protocol says."""
        assert self.features is not None
        return self.features(np.repeat(clips[:, ~left_out], self.protocol.frechet_hold, axis=1))

    def _features_of_real(self, name: str, clips: np.ndarray, left_out: np.ndarray) -> np.ndarray:
        """Those of real clips, which tasks share, computed once."""
        key = name, left_out.tobytes()
        if key not in self.of_real:
            self.of_real[key] = self._features_of(clips, left_out)
        return self.of_real[key]
