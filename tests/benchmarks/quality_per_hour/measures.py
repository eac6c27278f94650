"""What weights are worth, by way of sampling: error and identity on clips whose digits were never trained on."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

import kvdiff
from kvdiff.diffusion import plans
from kvdiff.evaluation import blend_known, psnr
from tests.benchmarks.quality_per_hour.digits import clips, identities, scaled

__all__ = ["STANDARD", "Way", "all_ways", "interval", "measure", "pictures"]

PAST, ENDS = 4, 2
"""Known frames of a prediction, and at each end of an interpolation."""


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to sample.

    Attributes:
        task: "predict" (4 frames after 4), "rollout" (16 after 4) or "interpolate" (4 between 2 and 2).
        calls: network calls a window.
        window, at_a_time: of `plans.autoregressive`; interpolation has one window of 8.
        spacing: of the noise levels.
    """

    task: str
    calls: int
    window: int = 8
    at_a_time: int = 4
    spacing: str = "trailing"

    @property
    def frames(self) -> int:
        """Of the whole video."""
        return 20 if self.task == "rollout" else 8

    @property
    def plan(self) -> plans.Plan | None:
        """The windows of a prediction; None for an interpolation, which has one."""
        if self.task == "interpolate":
            return None
        return plans.autoregressive(self.frames, self.window, at_a_time=self.at_a_time, known=PAST)

    @property
    def frame_calls(self) -> int:
        """The cost of a clip: frames that go through the network, over all calls."""
        plan = self.plan
        return self.calls * (self.frames if plan is None else sum(len(window.frames) for window in plan.windows))

    def sample(self, model: kvdiff.VideoDiffusion, truth: np.ndarray, seed: int) -> np.ndarray:
        """The frames that `model` generates where `truth` has them: float32 [clips, frames, 16, 16, 1]."""
        options = dict(num_steps=self.calls, spacing=self.spacing, seed=seed, batch_size=128)
        plan = self.plan
        if plan is None:
            return model.interpolate(truth[:, :ENDS], truth[:, -ENDS:], **options)
        return model.rollout(self.frames, truth[:, :PAST], plan=plan, **options)[:, PAST:]

    @property
    def known(self) -> np.ndarray:
        """Which frames of the whole video are known: bool [frames]."""
        frame = np.arange(self.frames)
        if self.task == "interpolate":
            return (frame < ENDS) | (frame >= self.frames - ENDS)
        return frame < PAST


STANDARD = {
    "prediction": Way("predict", 2, window=5, at_a_time=1),
    "prediction_at_once": Way("predict", 5),
    "interpolation": Way("interpolate", 4),
    "rollout": Way("rollout", 2, window=5, at_a_time=1),
}
"""How a trained variant is judged."""


def all_ways() -> Iterator[Way]:
    """What `plans` compares with given weights."""
    yield from (Way("predict", calls) for calls in (2, 5, 20))
    yield from (Way("predict", calls, window=6, at_a_time=2) for calls in (2, 5))
    yield from (Way("predict", calls, window=5, at_a_time=1) for calls in (1, 2, 3, 5))
    yield from (Way("predict", calls, window=8, at_a_time=1) for calls in (2, 5))
    yield from (Way("interpolate", calls) for calls in (1, 2, 3, 4, 8, 20))
    yield Way("rollout", 20)
    yield from (Way("rollout", calls, window=5, at_a_time=1) for calls in (1, 2, 3))
    yield Way("rollout", 2, window=8, at_a_time=1)


def measure(
    model: kvdiff.VideoDiffusion,
    classifier: keras.Model,
    way: Way,
    *,
    split: str = "validation",
    num_clips: int = 128,
    seeds: int = 1,
) -> dict[str, Any]:
    """What `way` gives, each figure [mean, low, high]: a 95 % interval over all clips of all seeds.

    Args:
        model: whose weights.
        classifier: which digit a frame shows.
        way: how to sample.
        split: of the digits.
        num_clips: clips a seed.
        seeds: how many draws of clips and noise.

    Returns:
        `db` of the generated frames, `gain_db` over the baseline, `identity` (share of clips whose last generated
        frame, in an interpolation the second, shows the clip's digit), `true_identity` of the true frame there, and
        `contrast` of that frame over the true one's; `by_frame`, dB; `by_seed`, the means of gain and identity.
    """
    figures: dict[str, list[np.ndarray]] = {}
    by_frame = []
    for seed in range(seeds):
        pixels, digit = clips(num_clips, split, num_frames=way.frames, seed=1000 + seed)
        truth = scaled(pixels)
        made = way.sample(model, truth, seed)
        target, baseline = (clip[:, ~way.known] for clip in (truth, blend_known(truth, way.known)))
        at = 1 if way.task == "interpolate" else -1
        error = psnr(made, target)
        row = {
            "db": error,
            "gain_db": error - psnr(baseline, target),
            "identity": identities(classifier, made[:, at]) == digit,
            "true_identity": identities(classifier, target[:, at]) == digit,
            "contrast": _contrast(made[:, at]) / _contrast(target[:, at]).mean(),
        }
        for name, values in row.items():
            figures.setdefault(name, []).append(np.asarray(values, np.float64))
        by_frame.append(psnr(made, target, per_frame=True))
    found: dict[str, Any] = {name: interval(np.concatenate(values)) for name, values in figures.items()}
    found["by_frame"] = [round(float(value), 1) for value in np.concatenate(by_frame).mean(axis=0)]
    found["by_seed"] = {name: [round(float(v.mean()), 3) for v in figures[name]] for name in ("gain_db", "identity")}
    return found


def interval(values: np.ndarray, draws: int = 500) -> list[float]:
    """[mean, low, high]: the mean over clips and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (draws, len(values)))].mean(axis=1)
    return [round(float(value), 3) for value in (values.mean(), *np.quantile(means, [0.025, 0.975]))]


def _contrast(frames: np.ndarray) -> np.ndarray:
    """The mean absolute difference between neighbouring pixels: [clips, height, width, 1] -> [clips]."""
    down, right = (np.abs(np.diff(frames, axis=axis)).mean(axis=(1, 2, 3)) for axis in (1, 2))
    return down + right


def pictures(model: kvdiff.VideoDiffusion, path: pathlib.Path, *, num_clips: int = 8) -> None:
    """Save the first validation clips as a PNG: for each its true frames, a 20-frame rollout, and an interpolation."""
    from PIL import Image

    long, between = STANDARD["rollout"], STANDARD["interpolation"]
    truth = scaled(clips(num_clips, "validation", num_frames=long.frames, seed=1000)[0])
    rolled = np.concatenate([truth[:, :PAST], long.sample(model, truth, 0)], axis=1)
    filled = np.full_like(truth, -1.0)
    filled[:, : between.frames] = truth[:, : between.frames]
    filled[:, ENDS : between.frames - ENDS] = between.sample(model, truth[:, : between.frames], 0)
    rows = np.stack([truth, rolled, filled], axis=1).reshape(3 * num_clips, *truth.shape[1:4])
    sheet = np.pad(rows, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-0.5)
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in sheet], axis=0)
    image = Image.fromarray(np.round((sheet + 1.0) * 127.5).clip(0, 255).astype(np.uint8))
    image.resize((3 * image.width, 3 * image.height), Image.Resampling.NEAREST).save(path)
