"""From generated and true clips to a task's numbers and curves."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from kvdiff.evaluation.appearance import Classifier, aligned_psnr, identity, sharpness_ratio
from kvdiff.evaluation.quality import SSIM_WINDOW, blend_known, floats, psnr, ssim
from kvdiff.evaluation.samples import best_of, calibration, ensemble, flicker, spread

__all__ = ["SampleScores", "TaskClips", "score_frames", "score_identity", "score_set"]


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
        psnr: float64 [clips, samples, generated frames], or [clips, samples, 1] where it is of whole clips.
        psnr_per_frame: float64 [clips, samples, generated frames].
        ssim: float64 [clips, samples, generated frames]; empty where frames are smaller than its window.
        expected, error: of `ensemble`, float64 [clips]; NaN where there is one sample.
    """

    first: np.ndarray
    psnr: np.ndarray
    psnr_per_frame: np.ndarray
    ssim: np.ndarray
    expected: np.ndarray
    error: np.ndarray

    @classmethod
    def joined(cls, parts: list[SampleScores]) -> SampleScores:
        """Those of several sets of clips, in order."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    @classmethod
    def of(cls, samples: np.ndarray, truth: np.ndarray, known: np.ndarray, psnr_of: str) -> SampleScores:
        """Measure uint8 samples [clips, samples, frames, …] against uint8 clips [clips, frames, …]."""
        generated, real = floats(samples[:, :, ~known]), floats(truth[:, ~known])
        clips, count = generated.shape[:2]
        pair = generated.reshape(-1, *real.shape[1:]), np.repeat(real, count, axis=0)
        per_frame = psnr(*pair, per_frame=True).reshape(clips, count, -1)
        whole = psnr(*pair).reshape(clips, count, 1)
        similar = ssim(*pair).reshape(clips, count, -1) if min(real.shape[2:4]) >= SSIM_WINDOW else per_frame[..., :0]
        sides = ensemble(generated, real) if count > 1 else (np.full(clips, np.nan),) * 2
        return cls(samples[:, 0], whole if psnr_of == "clips" else per_frame, per_frame, similar, *sides)


def score_frames(scores: SampleScores, clips: TaskClips, psnr_of: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Numbers and curves of a task with known frames: quality, gain over the baseline, spread, appearance.

    Args:
        scores: of all samples of all clips.
        clips: the truth, and the first samples.
        psnr_of: what PSNR is averaged over, as in `Protocol`.
    """
    baseline = SampleScores.of(clips.baseline[:, None], clips.truth, clips.known, psnr_of)
    gain = scores.psnr.mean() - baseline.psnr.mean()
    numbers = {"psnr": scores.psnr.mean(), "psnr_baseline": baseline.psnr.mean(), "psnr_gain": gain}
    curves = {"psnr": _curves(scores.psnr_per_frame, baseline.psnr_per_frame)}
    if scores.ssim.size:
        numbers |= {"ssim": scores.ssim.mean(), "ssim_baseline": baseline.ssim.mean()}
        curves["ssim"] = _curves(scores.ssim, baseline.ssim)
    if scores.psnr.shape[1] > 1:
        numbers |= _of_several(scores)
    of_first, curves_of_first = _appearance(clips)
    numbers |= of_first | _flicker(clips.generated, clips.truth)
    return {name: float(value) for name, value in numbers.items()}, curves | curves_of_first


def _appearance(clips: TaskClips) -> tuple[dict[str, float], dict[str, Any]]:
    """What PSNR does not see, of the first samples: PSNR after the best shift, that shift, sharpness."""
    truth, ours, baseline = (part[:, ~clips.known] for part in (clips.truth, clips.generated, clips.baseline))
    (aligned, shift), (aligned_baseline, _) = aligned_psnr(ours, truth), aligned_psnr(baseline, truth)
    sharp = [sharpness_ratio(part, truth) for part in (ours, baseline)]
    numbers = {"psnr_aligned": aligned.mean(), "psnr_aligned_baseline": aligned_baseline.mean()}
    numbers |= {"shift": np.linalg.norm(shift, axis=-1).mean(), "sharpness_ratio": sharp[0].mean()}
    return numbers, {
        "psnr_aligned": {"model": aligned.mean(axis=0).tolist(), "baseline": aligned_baseline.mean(axis=0).tolist()},
        "sharpness": {"model": sharp[0].tolist(), "baseline": sharp[1].tolist()},
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


def _of_several(scores: SampleScores) -> dict[str, float]:
    """What takes more than one sample a clip."""
    numbers = {"psnr_best": best_of(scores.psnr).mean()}
    if scores.ssim.size:
        numbers["ssim_best"] = best_of(scores.ssim).mean()
    return numbers | {"calibration": calibration(scores.expected, scores.error)}


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


def _curves(scores: np.ndarray, baseline: np.ndarray) -> dict[str, list[float]]:
    """One value for each generated frame, means over clips."""
    return {
        "model": scores.mean(axis=(0, 1)).tolist(),
        "best": best_of(scores).mean(axis=0).tolist(),
        "baseline": baseline.mean(axis=(0, 1)).tolist(),
    }


def _flicker(generated: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Of whole clips, so that the seam between known and generated frames counts."""
    values = flicker(floats(generated)), flicker(floats(truth))
    return {"flicker": values[0], "data_flicker": values[1], "flicker_ratio": values[0] / max(values[1], 1e-12)}
