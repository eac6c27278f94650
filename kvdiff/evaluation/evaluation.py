"""A model under a frozen protocol: sample, measure, and keep what tells how."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.sampling.bound import bits_per_dim
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.evaluation.frechet import estimate_frechet
from kvdiff.evaluation.neighbours import Memorisation, manifold_score, memorisation
from kvdiff.evaluation.protocols import Protocol, Task
from kvdiff.evaluation.real import RealClips
from kvdiff.evaluation.scoring import SampleScores, score_made_frames, score_set, with_baseline
from kvdiff.evaluation.tasks import MadeFrames, Progress
from kvdiff.media import to_pixels

__all__ = ["Evaluation", "Features", "evaluate"]

Features = Callable[[np.ndarray], np.ndarray]
"""From uint8 clips [clips, frames, height, width, 1 or 3] to float [clips, size], as `I3DFeatures`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """Numbers, and the clips to look at.

    Attributes:
        tasks: by name, `{"numbers", "curves", "frechet"}`, JSON-able.
        seconds: by stage.
        compared: by name of a task with known frames, true clips, first samples and baselines, uint8.
        generated: uint8 clips, by name of a task without.
        copies: of generated clips, which training clips are nearest; None where those are not at hand.
    """

    tasks: dict[str, dict[str, Any]]
    seconds: dict[str, float]
    compared: dict[str, MadeFrames]
    generated: dict[str, np.ndarray]
    copies: Memorisation | None


def evaluate(
    sampler: Sampler,
    protocol: Protocol,
    clips: RealClips,
    *,
    features: Features | None = None,
    plan: str = "autoregressive",
    seed: int = 0,
    batch_size: int = 32,
    progress: Progress | None = None,
    **sampling: Any,
) -> Evaluation:
    """Sample and measure everything that the protocol asks for.

    Sample k of clip i is made with the noise of sample number i K + k, so but for rounding figures do not depend on
    `batch_size`.

    Args:
        sampler: a sampler of any runtime, for frames of the protocol's shape.
        protocol, clips: which protocol, and its `real_clips`.
        features: what the Fréchet distance, precision and recall are measured in, e.g. `I3DFeatures()`; None leaves
            them out.
        plan: how a model of fewer frames makes the protocol's clips, as in `Sampler.rollout`; one of as many or
            more makes them at once.
        seed, batch_size, **sampling: as in `Sampler.infill`; the choice of solver is the model's, not the
            protocol's.
        progress: called as `progress(stage, done, total)`.
    """
    _check_model(sampler, protocol)
    sampling = {"seed": seed, "batch_size": batch_size, **sampling}
    run = _Run(sampler, protocol, clips, features, plan, sampling, progress)
    tasks = {task.name: run.measured(task) for task in protocol.tasks}
    return Evaluation(tasks, run.seconds, run.compared, run.generated, run.copies)


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


class _Run:
    """One evaluation under way: what its stages share, and the clips and times they leave."""

    def __init__(
        self,
        sampler: Sampler,
        protocol: Protocol,
        clips: RealClips,
        features: Features | None,
        plan: str,
        sampling: Mapping[str, Any],
        progress: Progress | None,
    ) -> None:
        self.sampler, self.protocol, self.clips, self.features = sampler, protocol, clips, features
        self.plan, self.sampling = plan, dict(sampling)
        self.progress = progress or (lambda stage, done, total: None)
        self.seconds: dict[str, float] = {}
        self.compared: dict[str, MadeFrames] = {}
        self.generated: dict[str, np.ndarray] = {}
        self.copies: Memorisation | None = None
        self._known_features: dict[tuple[str, bytes], np.ndarray] = {}

    def measured(self, task: Task) -> dict[str, Any]:
        """A task's numbers, curves and Fréchet distance."""
        known = task.known(self.protocol.clip_shape[0])
        scores = self._timed(f"{task.name}, sampling", lambda: self._sampled(task, known))
        made, curves = scores.first, dict[str, Any]()
        if known.any():
            self.compared[task.name] = with_baseline(self.clips.truth, made, task)
            numbers, curves = score_made_frames(scores, self.compared[task.name], self.protocol)
        else:
            self.generated[task.name] = made
            numbers = score_set(made, self.clips.truth)
            if self.clips.training is not None:
                numbers |= self._copying(made)
        if self.protocol.bits_per_dim_clips and not self._longer:
            numbers["bits_per_dim"] = self._timed(f"{task.name}, bound", lambda: self._bits(task, known))
        result = {"numbers": numbers, "curves": curves, "known": np.flatnonzero(known).tolist()}
        if self.features is not None and task.frechet:
            frechet = self._timed(f"{task.name}, features", lambda: self._in_features(made, known, numbers))
            result |= {"frechet": frechet}
        return result

    @property
    def _longer(self) -> bool:
        """Whether the protocol's clips are longer than the model's, and made window by window."""
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
                whole = total * len(truth)
                self.progress(task.name, total * start + done * share, whole)

            rows = np.repeat(real, count, axis=0)
            made = self._made(rows, known, first_sample=start * count, progress=report)
            samples = to_pixels(made).reshape(len(real), count, *real.shape[1:])
            parts.append(SampleScores.of(samples, real, known, self.protocol.psnr_of))
        return SampleScores.joined(parts)

    def _made(self, rows: np.ndarray, known: np.ndarray, **where: Any) -> np.ndarray:
        """Whole clips whose known frames are those of `rows`."""
        options = {**self.sampling, **where}
        if not self._longer:
            return self.sampler.infill(rows, known, **options)
        past = rows[:, known] if known.any() else None
        return self.sampler.rollout(rows.shape[1], past, num_clips=len(rows), plan=self.plan, **options)

    def _copying(self, made: np.ndarray) -> dict[str, float]:
        assert self.clips.training is not None
        unseen = self.clips.truth if self.clips.second is None else self.clips.second
        self.copies = memorisation(made, self.clips.training, unseen)
        return {"nearest_training_ratio": self.copies.ratio, "copied_share": self.copies.share}

    def _bits(self, task: Task, known: np.ndarray) -> float:
        some = self.clips.truth[: self.protocol.bits_per_dim_clips]
        return bits_per_dim(self.sampler, some, known, seed=self.sampling["seed"]).total

    def _in_features(self, made: np.ndarray, known: np.ndarray, numbers: dict[str, float]) -> dict[str, Any]:
        """The Fréchet distance of made clips and of real ones; precision and the like go into `numbers`."""
        count = known if not self.protocol.frechet_counts_known else np.zeros_like(known)
        truth = self._features_of("truth", self.clips.truth, count)
        mine = self._features_of("made", made, count)
        if self.clips.second is None:
            half = len(truth) // 2
            pair = truth[:half], truth[half : 2 * half]
        else:
            pair = truth, self._features_of("second", self.clips.second, count)
        numbers |= dataclasses.asdict(manifold_score(truth, mine, k=self.protocol.neighbours))
        return {
            "made": estimate_frechet(truth, mine, bootstrap=self.protocol.bootstrap).config,
            "floor": estimate_frechet(*pair, bootstrap=self.protocol.bootstrap).config,
        }

    def _features_of(self, name: str, clips: np.ndarray, left_out: np.ndarray) -> np.ndarray:
        """The features of clips without some frames; those of real clips are computed once."""
        assert self.features is not None
        key = name, left_out.tobytes()
        if key not in self._known_features:
            held = np.repeat(clips[:, ~left_out], self.protocol.frechet_hold, axis=1)
            found = self.features(held)
            if name == "made":
                return found
            self._known_features[key] = found
        return self._known_features[key]
