"""From generated and true clips to a task's numbers and curves."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from kvdiff.evaluation.appearance import Classifier, aligned_psnr, identity, sharpness_ratio
from kvdiff.evaluation.quality import SSIM_WINDOW, blend_known, floats, psnr, ssim
from kvdiff.evaluation.samples import best_of, calibration, ensemble, flicker, spread


@dataclasses.dataclass(frozen=True, eq=False)
class TaskClips:
    """The clips of one task, whole: known frames are the true ones in all three.

    Attributes:
        truth, generated: uint8 [clips, frames, height, width, channels]; of several samples a clip, the first.
        known: bool [frames].
    """

    truth: np.ndarray
    generated: np.ndarray
    known: np.ndarray

    @functools.cached_property
    def baseline(self) -> np.ndarray:
        """What needs no model: the last known frame over again, or a blend of the two nearest. uint8, as `truth`."""
        return np.round(blend_known(self.truth.astype(np.float32), self.known)).astype(np.uint8)


@dataclasses.dataclass(frozen=True, eq=False)
class SampleScores:
    """What is kept of every sample of some clips; the samples themselves are too many to keep.

    Attributes:
        first: uint8 [clips, frames, height, width, channels], the first sample of each clip.
        of_frames: by name of the measure, float64 [clips, samples, generated frames]; "ssim" where frames are as large
            as its window, "psnr_aligned" and its "shift" in pixels of the first sample alone.
        psnr_of_clips: float64 [clips, samples, 1].
        expected, error: of `ensemble`, float64 [clips]; NaN where there is one sample.
    """

    first: np.ndarray
    of_frames: dict[str, np.ndarray]
    psnr_of_clips: np.ndarray
    expected: np.ndarray
    error: np.ndarray

    @classmethod
    def joined(cls, parts: list[SampleScores]) -> SampleScores:
        """Those of several sets of clips, in order."""
        of_frames = {name: np.concatenate([part.of_frames[name] for part in parts]) for name in parts[0].of_frames}
        names = ("first", "psnr_of_clips", "expected", "error")
        return cls(
            of_frames=of_frames, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        )

    @classmethod
    def of(cls, samples: np.ndarray, truth: np.ndarray, known: np.ndarray) -> SampleScores:
        """Measure uint8 samples [clips, samples, frames, …] against uint8 clips [clips, frames, …]."""
        generated, real = floats(samples[:, :, ~known]), floats(truth[:, ~known])
        clips, count = generated.shape[:2]
        pair = generated.reshape(-1, *real.shape[1:]), np.repeat(real, count, axis=0)
        of_frames = {"psnr": psnr(*pair, per_frame=True)}
        if min(real.shape[2:4]) >= SSIM_WINDOW:
            of_frames["ssim"] = ssim(*pair)
        of_frames["psnr_aligned"], shift = aligned_psnr(generated[:, 0], real)
        of_frames["shift"] = np.linalg.norm(shift, axis=-1)
        return cls(
            samples[:, 0],
            {name: values.reshape(clips, -1, real.shape[1]) for name, values in of_frames.items()},
            psnr(*pair).reshape(clips, count, 1),
            *(ensemble(generated, real) if count > 1 else (np.full(clips, np.nan),) * 2),
        )


def score_frames(scores: SampleScores, clips: TaskClips, psnr_of: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Numbers and curves of a task with known frames: quality, gain over the baseline, spread, sharpness, flicker.

    Args:
        scores: of all samples of all clips.
        clips: the truth, and the first samples.
        psnr_of: what PSNR is averaged over, as in `Protocol`.
    """
    baseline = SampleScores.of(clips.baseline[:, None], clips.truth, clips.known)
    numbers: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    for name, ours in scores.of_frames.items():
        theirs = baseline.of_frames[name]
        curves[name] = {"model": ours.mean(axis=(0, 1)), "best": best_of(ours).mean(axis=0)}
        curves[name]["baseline"] = theirs.mean(axis=(0, 1))
        if name == "psnr" and psnr_of == "clips":
            ours, theirs = scores.psnr_of_clips, baseline.psnr_of_clips
        numbers |= {name: ours.mean(), f"{name}_baseline": theirs.mean()}
        if ours.shape[1] > 1:
            numbers[f"{name}_best"] = best_of(ours).mean()
    numbers["psnr_gain"] = numbers["psnr"] - numbers["psnr_baseline"]
    if not np.isnan(scores.error).any():
        numbers["calibration"] = calibration(scores.expected, scores.error)
    truth, *parts = (part[:, ~clips.known] for part in (clips.truth, clips.generated, clips.baseline))
    curves["sharpness"] = dict(
        zip(("model", "baseline"), (sharpness_ratio(part, truth) for part in parts), strict=True)
    )
    numbers["sharpness_ratio"] = curves["sharpness"]["model"].mean()
    numbers |= _flicker(clips.generated, clips.truth)
    return {name: float(value) for name, value in numbers.items()}, {
        curve: {line: values.tolist() for line, values in lines.items()} for curve, lines in curves.items()
    }


def score_identity(
    clips: TaskClips, labels: np.ndarray, classifier: Classifier
) -> tuple[dict[str, float], dict[str, Any]]:
    """The share of generated frames that show what the clip's label says, beside the share of true ones.

    Args:
        clips: of a task with known frames.
        labels: int [clips], of the true clips.
        classifier: of frames; what it misses on true frames is its own fault.
    """
    ours, data = (
        identity(part[:, ~clips.known], labels, classifier).mean(axis=0) for part in (clips.generated, clips.truth)
    )
    numbers = {"identity": ours.mean(), "data_identity": data.mean(), "identity_last": ours[-1]}
    numbers["data_identity_last"] = data[-1]
    curve = {"model": ours.tolist(), "truth": data.tolist()}
    return {name: float(value) for name, value in numbers.items()}, {"identity": curve}


def score_set(generated: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Numbers of generated clips, uint8, which have no true clip of their own: as a set against the data."""
    generated, data = floats(generated), floats(truth)
    numbers = {"mean": float(generated.mean()), "data_mean": float(data.mean())}
    numbers |= {"variance": float(generated.var()), "data_variance": float(data.var())}
    if len(generated) > 1:
        numbers |= {"spread": spread(generated), "data_spread": spread(data)}
        numbers["spread_ratio"] = numbers["spread"] / numbers["data_spread"]
    numbers["sharpness_ratio"] = float(sharpness_ratio(generated, truth).mean())
    return numbers | _flicker(generated, truth)


def _flicker(generated: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Of whole clips, so that the seam between known and generated frames counts."""
    values = flicker(floats(generated)), flicker(floats(truth))
    return {"flicker": values[0], "data_flicker": values[1], "flicker_ratio": values[0] / max(values[1], 1e-12)}
