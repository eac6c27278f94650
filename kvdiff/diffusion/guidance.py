"""Guidance: a wrapper around F that pushes one denoiser's answer away from another's.

Every prediction type is affine in F with the same row, so guiding F, eps, v or D is one and the same thing:

    F = F_guide + w (F_main - F_guide)

With a conditional main and an unconditional guide this is classifier-free guidance (Ho & Salimans 2022,
arXiv:2207.12598, eq. 6, whose weight is w - 1); with a weaker version of the main model it is autoguidance (Karras et
al. 2024, arXiv:2406.02507).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_real
from kvdiff.diffusion.sampler import ClipSampler

__all__ = ["GuidedSampler", "guided", "rescaled"]


def guided(main: Any, guide: Any, guidance: float) -> Any:
    """F_guide + guidance (F_main - F_guide): 0 is the guide, 1 the main denoiser, above 1 is guidance."""
    return guide + guidance * (main - guide)


def rescaled(pushed: np.ndarray, main: np.ndarray, share: float) -> np.ndarray:
    """Undo `share` of the gain in each clip's standard deviation (Lin et al. 2024, arXiv:2305.08891, eq. 15 and 16)."""
    axes = tuple(range(1, pushed.ndim))
    ratio = main.std(axis=axes, keepdims=True) / np.maximum(pushed.std(axis=axes, keepdims=True), 1e-12)
    return pushed * (share * ratio + (1.0 - share))


class GuidedSampler(ClipSampler):
    """Samples with `main`, pushed away from `guide`; works with samplers of any runtime.

    Args:
        main: the sampler to strengthen, e.g. of a conditional model.
        guide: what to push away from, e.g. an unconditional model; of the same clips, schedule and prediction.
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
        super().__init__(main.clip_spec, main.schedule, main.prediction, main.clamp)
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

    def denoise(self, noisy_clip: np.ndarray, noise_label: np.ndarray) -> np.ndarray:
        """The guided raw output; known frames, of label 0, do not decide whether guidance acts."""
        main = np.asarray(self.main.denoise(noisy_clip, noise_label))
        low, high = self.interval
        level = noise_label.max()
        if self.guidance == 1.0 or not low <= level <= high:
            return main
        pushed = guided(main, np.asarray(self.guide.denoise(noisy_clip, noise_label)), self.guidance)
        return rescaled(pushed, main, self.rescale).astype(main.dtype)
