"""Autoguidance: a model pushed away from a weaker version of itself (Karras et al. 2024, arXiv:2406.02507)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kvdiff.diffusion.checks import check_real
from kvdiff.diffusion.conditions.guidance import guided, rescaled
from kvdiff.diffusion.sampling.sampler import ClipSampler

__all__ = ["GuidedSampler"]


class GuidedSampler(ClipSampler):
    """Samples with `main`, pushed away from `guide`; works with samplers of any runtime.

    Args:
        main: the sampler to strengthen.
        guide: what to push away from, e.g. the same model trained less; of the same clips, schedule, prediction and
            conditions.
        guidance: the weight, at least 0; 1 is `main` alone.
        interval: the noise labels, 0 (clean) to 1 (pure noise), between which guidance acts; elsewhere the guide is not
            called at all (Kynkäänniemi et al. 2024, arXiv:2404.07724).
        rescale: the share of the gain in standard deviation that is undone, in [0, 1].
    """

    def __init__(
        self,
        main: ClipSampler,
        guide: ClipSampler,
        *,
        guidance: float,
        interval: tuple[float, float] = (0.0, 1.0),
        rescale: float = 0.0,
    ) -> None:
        super().__init__(main.clip_spec, main.schedule, main.prediction, main.clamp, main.conditions)
        self.row_dtype = main.row_dtype
        if guide.config != main.config:
            raise ValueError(
                "`guide`: expected the clip, schedule and prediction of `main`. "
                f"Received: {guide.config}, expected: {main.config}"
            )
        self.main, self.guide = main, guide
        self.guidance = check_real("guidance", guidance, above=0.0, below=np.inf, closed=True)
        self.rescale = check_real("rescale", rescale, above=0.0, below=1.0, closed=True)
        low, high = interval
        check_real("interval", low, above=0.0, below=1.0, closed=True)
        check_real("interval", high, above=low, below=1.0, closed=True)
        self.interval = (low, high)

    def denoise(
        self, noisy_clip: np.ndarray, noise_label: np.ndarray, inputs: Mapping[str, np.ndarray] | None = None
    ) -> np.ndarray:
        """The guided raw output; known frames, of label 0, do not decide whether guidance acts."""
        main = np.asarray(self.main.denoise(noisy_clip, noise_label, inputs))
        low, high = self.interval
        if self.guidance == 1.0 or not low <= noise_label.max() <= high:
            return main
        pushed = guided(main, np.asarray(self.guide.denoise(noisy_clip, noise_label, inputs)), self.guidance)
        return rescaled(np, pushed, main, self.rescale).astype(main.dtype)
