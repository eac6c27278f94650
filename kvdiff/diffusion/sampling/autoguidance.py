"""Autoguidance: a model pushed away from a weaker version of itself (Karras et al. 2024, arXiv:2406.02507)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_interval, check_real
from kvdiff.diffusion.conditions.guidance import guided, rescaled
from kvdiff.diffusion.sampling.engine import DenoiserEngine, denoise_of
from kvdiff.diffusion.sampling.sampler import Sampler, check_sampler


def GuidedSampler(
    main: Sampler,
    guide: Sampler,
    *,
    guidance: float,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
) -> Sampler:
    """A sampler of `main`'s network, pushed away from `guide`'s; both may run on any runtime.

    Args:
        main: the sampler to strengthen.
        guide: what to push away from, e.g. the same model trained less; of the same clips, schedule, prediction and
            conditions.
        guidance: the weight, at least 0; 1 is `main` alone.
        interval: the noise labels, 0 (clean) to 1 (pure noise), between which guidance acts; elsewhere the guide is not
            called at all (Kynkäänniemi et al. 2024, arXiv:2404.07724). Known frames, of label 0, do not count.
        rescale: the share of the gain in standard deviation that is undone, in [0, 1].

    Raises:
        ValueError: a guide for something else.
        TypeError: an engine without single network calls.
    """
    mine, its = (_compared(check_sampler(name, each)) for name, each in (("main", main), ("guide", guide)))
    if mine != its:
        raise ValueError(
            f"`guide`: expected the clip, schedule and prediction of `main`. Received: {its}, expected: {mine}"
        )
    check_real("guidance", guidance, above=0.0, below=np.inf, closed=True)
    check_real("rescale", rescale, above=0.0, below=1.0, closed=True)
    low, high = check_interval("interval", interval)
    strong, weak = (denoise_of(sampler.engine, "GuidedSampler") for sampler in (main, guide))

    def denoise(noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any] | None = None) -> np.ndarray:
        out = np.asarray(strong(noisy_clip, noise_label, inputs))
        if guidance == 1.0 or not low <= noise_label.max() <= high:
            return out
        pushed = guided(out, np.asarray(weak(noisy_clip, noise_label, inputs)), guidance)
        return rescaled(np, pushed, out, rescale).astype(out.dtype)

    return Sampler(main.spec, DenoiserEngine(denoise, clamp=getattr(main.engine, "clamp", None)), main.dtype)


def _compared(sampler: Sampler) -> dict[str, Any]:
    """What two samplers must share for their networks' outputs to be comparable."""
    config = sampler.spec.config
    return {name: config.get(name) for name in ("clip", "values", "codec", "schedule", "prediction", "conditions")}
