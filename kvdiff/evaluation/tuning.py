"""Which way to sample suits a trained model: a small search on clips that it was not trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.sampling.sampler import Sampler, check_sampler
from kvdiff.diffusion.solvers.by_name import DEFAULT_NUM_STEPS
from kvdiff.diffusion.tasks import masks
from kvdiff.diffusion.tasks.plans import plan_for
from kvdiff.evaluation.appearance import aligned_psnr, sharpness_ratio
from kvdiff.evaluation.charts import Line
from kvdiff.evaluation.evaluation import Progress
from kvdiff.evaluation.quality import floats
from kvdiff.evaluation.real import RealClips
from kvdiff.media import to_pixels

CANDIDATES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "predict": (
        *({"at_a_time": 1, "num_steps": steps} for steps in (1, 2, 4, 8)),
        *({"at_a_time": 2, "num_steps": steps} for steps in (2, 4, 8)),
        *({"num_steps": steps} for steps in (2, 5, 20)),
    ),
    "interpolate": tuple({"num_steps": steps} for steps in (1, 2, 4, 8, 20)),
}
"""What is tried for each task: keywords of `Sampler.infill`."""

_SHARP = 0.85
"""The least sharpness ratio, up or down, that a way may have whose error decides: below, blur wins by its PSNR."""


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to sample a task, and what came of it.

    Attributes:
        task: "predict" or "interpolate".
        sampling: keywords of `Sampler.infill`.
        frame_calls: frames through the network for a clip.
        psnr_aligned: dB, each generated frame's after the best shift, mean over clips and frames.
        error: the standard error of `psnr_aligned`, over clips.
        sharpness_ratio: of the generated frames to the true ones'.
    """

    task: str
    sampling: Mapping[str, Any]
    frame_calls: int
    psnr_aligned: float
    error: float
    sharpness_ratio: float

    @property
    def sharp(self) -> float:
        """How near the sharpness is to the truth's: 1 where it is equal, below where it is less or more."""
        return min(self.sharpness_ratio, 1.0 / max(self.sharpness_ratio, 1e-9))


@dataclasses.dataclass(frozen=True)
class Tuning:
    """All ways by task, and the chosen ones."""

    ways: tuple[Way, ...]

    def chosen(self, task: str) -> Way:
        """The cheapest of those whose error is within one standard error of the least, among the sharp ones."""
        ways = [way for way in self.ways if way.task == task]
        enough = min(_SHARP, max(way.sharp for way in ways))
        ways = [way for way in ways if way.sharp >= enough]
        best = max(ways, key=lambda way: way.psnr_aligned)
        good = [way for way in ways if way.psnr_aligned >= best.psnr_aligned - best.error]
        return min(good, key=lambda way: (way.frame_calls, -way.psnr_aligned))

    @property
    def sampling(self) -> dict[str, dict[str, Any]]:
        """For `VideoDiffusion(sampling=…)`; a rollout goes as a prediction."""
        chosen = {task: dict(self.chosen(task).sampling) for task in dict.fromkeys(way.task for way in self.ways)}
        if "at_a_time" in chosen.get("predict", {}):
            chosen["rollout"] = dict(chosen["predict"])
        return chosen

    @property
    def config(self) -> dict[str, Any]:
        """All figures, JSON-able."""
        return {"ways": list(map(dataclasses.asdict, self.ways)), "chosen": self.sampling}

    def lines(self) -> dict[str, dict[str, Line]]:
        """By task, for a chart: cost and quality, a line for each number of frames at a time."""
        charts: dict[str, dict[str, Line]] = {}
        for way in self.ways:
            name, lines = f"{way.sampling.get('at_a_time', 'all')} at a time", charts.setdefault(way.task, {})
            x, y = lines.get(name, ((), ()))
            lines[name] = [*x, way.frame_calls], [*y, way.psnr_aligned]
        return charts

    def rows(self) -> list[tuple[str, ...]]:
        """A table of all ways, the chosen ones marked."""
        table: list[tuple[str, ...]] = [("task", "sampling", "frame-calls", "aligned PSNR", "sharpness", "")]
        for way in self.ways:
            how = ", ".join(f"{name}={value}" for name, value in way.sampling.items())
            quality = f"{way.psnr_aligned:.2f} ± {way.error:.2f} dB"
            mark = "chosen" if way == self.chosen(way.task) else ""
            table.append((way.task, how, str(way.frame_calls), quality, f"{way.sharpness_ratio:.2f}", mark))
        return table


def tune(
    sampler: Sampler,
    clips: RealClips,
    *,
    candidates: Mapping[str, Sequence[Mapping[str, Any]]] = CANDIDATES,
    seed: int = 0,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Tuning:
    """Sample clips that the model was not trained on in every candidate's way.

    Two measures decide: the error after the best shift, and sharpness. An error alone prefers blur. Generation has no
    truth to compare with, and no measure quick enough to search by: it keeps its defaults.

    Args:
        sampler: of the model, on any runtime.
        clips: the more the finer the choice; 16 at least.
        candidates: by task, keywords of `Sampler.infill`.
        seed, batch_size: of sampling.
        progress: called as `progress(task, done, total)`.
    """
    check_sampler("sampler", sampler)
    check_count("clips", len(clips.truth), at_least=2)
    frames = clips.truth.shape[1]
    known = {"predict": masks.first(frames, frames // 2), "interpolate": masks.ends(frames, frames // 4, frames // 4)}
    ways = []
    for task, tried in candidates.items():
        for number, sampling in enumerate(tried):
            options = dict(sampling, seed=seed, batch_size=batch_size)
            generated = to_pixels(sampler.infill(clips.truth, known[task], **options))
            ways.append(_way(sampler, task, sampling, generated, clips.truth, known[task]))
            if progress:
                progress(task, number + 1, len(tried))
    return Tuning(tuple(ways))


def _way(
    sampler: Sampler, task: str, sampling: Mapping[str, Any], clips: np.ndarray, truth: np.ndarray, known: np.ndarray
) -> Way:
    generated, real = clips[:, ~known], truth[:, ~known]
    quality = aligned_psnr(floats(generated), floats(real))[0].mean(axis=1)
    steps, at_a_time, window = sampling.get("num_steps", DEFAULT_NUM_STEPS), sampling.get("at_a_time"), len(known)
    cost = steps * window
    if at_a_time is not None:
        plan = plan_for(None, at_a_time, known, sampler.spec.clip.num_frames, gaps=False)
        cost = plan.frame_calls(steps)
    error = float(quality.std(ddof=1) / np.sqrt(len(quality)))
    sharpness = float(np.mean(sharpness_ratio(generated, real)))
    return Way(task, dict(sampling), cost, float(quality.mean()), error, sharpness)
