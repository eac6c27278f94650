"""What a model's predictions of Moving MNIST are worth: error, likeness, and whether digits stay themselves."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
from PIL import Image

import kvdiff
from kvdiff.diffusion import plans
from kvdiff.evaluation import aligned_psnr, psnr, sharpness_ratio, ssim
from tests.benchmarks.moving_mnist.digits import Clips, identities, scaled

__all__ = ["measured", "picture"]

WINDOW = 8


def measured(
    model: kvdiff.VideoDiffusion, classifier: keras.Model, data: Clips, past: int, *, samples: int, calls: int
) -> tuple[dict[str, Any], np.ndarray]:
    """A row of figures, and the first sample's generated frames, float32 [clips, frames, 64, 64, 1].

    Means over clips and generated frames of one sample, and their 95 % bounds: `psnr`, its `gain` over the last known
    frame repeated, `aligned_psnr`, `ssim`. `best_ssim` is a clip's best mean SSIM of `samples`. `last_identity` is the
    share of clips with both digits read rightly in the last frame, `last_true_identity` that of the true frames. By
    frame: `psnr_by_frame`, `identity_by_frame`, `true_identity_by_frame`. `sharpness` is the gradient energy over the
    truth's.
    """
    frames = data.pixels.shape[1]
    truth = scaled(data.pixels)[:, past:]
    known = data.pixels[:, :past]
    plan = plans.autoregressive(frames, WINDOW, at_a_time=1, known=past)
    drawn = [
        model.rollout(frames, known, plan=plan, num_steps=calls, seed=seed, batch_size=32)[:, past:]
        for seed in range(samples)
    ]
    likeness = np.stack([ssim(one, truth) for one in drawn])
    first = drawn[0]
    repeated = np.repeat(scaled(known[:, -1:]), frames - past, axis=1)
    kept = np.stack([identities(classifier, first[:, f], data, past + f) for f in range(frames - past)], axis=1)
    true = np.stack([identities(classifier, truth[:, f], data, past + f) for f in range(frames - past)], axis=1)
    each = {
        "psnr": psnr(first, truth),
        "gain": psnr(first, truth) - psnr(repeated, truth),
        "aligned_psnr": aligned_psnr(first, truth)[0],
        "ssim": likeness[0],
        "best_ssim": likeness.mean(axis=2).max(axis=0),
        "last_identity": kept[:, -1],
        "last_true_identity": true[:, -1],
    }
    each = {name: np.asarray(values, np.float64).reshape(len(truth), -1).mean(axis=1) for name, values in each.items()}
    row: dict[str, Any] = {"past": past, "future": frames - past, "samples": samples, "calls": calls}
    row |= {name: interval(values) for name, values in each.items()}
    row["sharpness"] = round(float(sharpness_ratio(first, truth).mean()), 3)
    row["psnr_by_frame"] = psnr(first, truth, per_frame=True).mean(axis=0).round(2).tolist()
    row["identity_by_frame"] = kept.mean(axis=0).round(3).tolist()
    row["true_identity_by_frame"] = true.mean(axis=0).round(3).tolist()
    return row, first


def interval(values: np.ndarray) -> list[float]:
    """Mean, and its 95 % bounds by bootstrap over clips."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (1000, len(values)))].mean(axis=1)
    return [round(float(v), 3) for v in (values.mean(), *np.quantile(means, (0.025, 0.975)))]


def picture(data: Clips, generated: np.ndarray, past: int, path: pathlib.Path, rows: int = 4) -> None:
    """Pairs of rows: a clip's last three known frames and all that follow; below, what was generated."""
    strips = []
    for clip, answer in list(zip(data.pixels, generated, strict=True))[:rows]:
        own = np.round((np.clip(answer, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)
        for frames in (clip[past - 3 :], np.concatenate([np.zeros_like(clip[:3]), own])):
            strips.append(np.concatenate(list(np.pad(frames, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=90)), 1))
    Image.fromarray(np.concatenate(strips)[..., 0]).save(path)
