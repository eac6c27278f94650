"""Guidance: pushing one denoiser's output away from another's.

Every prediction type is affine in F with the same row, so guiding F, eps, v or D is one and the same thing:

    F = F_guide + w (F_main - F_guide)

With a conditional main and an unconditional guide this is classifier-free guidance (Ho & Salimans 2022,
arXiv:2207.12598, eq. 6, whose weight is w - 1), see `conditioning.py`; with a weaker version of the main model it is
autoguidance (Karras et al. 2024, arXiv:2406.02507), see `kvdiff.diffusion.sampling.autoguidance`.
"""

from __future__ import annotations

from typing import Any


def guided(main: Any, guide: Any, guidance: Any) -> Any:
    """F_guide + guidance (F_main - F_guide): 0 is the guide, 1 the main denoiser, above 1 is guidance."""
    return guide + guidance * (main - guide)


def rescaled(xp: Any, pushed: Any, main: Any, share: float) -> Any:
    """Undo `share` of the gain in each clip's standard deviation (Lin et al. 2024, arXiv:2305.08891, eq. 15 and 16).

    `xp` is `numpy` or `keras.ops`.
    """
    if share == 0.0:
        return pushed
    axes = tuple(range(1, len(pushed.shape)))
    stds = (xp.std(value, axis=axes, keepdims=True) for value in (main, pushed))
    ratio = next(stds) / xp.maximum(next(stds), 1e-12)
    return pushed * (share * ratio + (1.0 - share))
