"""What both sides are given: clips with two modes, their best denoiser, a start and a sequence of noise; float64."""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion import oracle
from tests.diffusion.helpers import SHAPE, SIZE

_RNG = np.random.default_rng(21)
BATCH = 2


def _component(mean: float, scale: float) -> oracle.GaussianClips:
    factor = _RNG.normal(size=(SIZE, SIZE))
    return oracle.GaussianClips(mean + 0.2 * _RNG.normal(size=SHAPE), scale * factor @ factor.T / SIZE)


DATA = oracle.MixtureClips([0.3, 0.7], [_component(-0.5, 0.05), _component(0.4, 0.1)])
X = _RNG.normal(size=(BATCH, *SHAPE))
NOISE = list(_RNG.normal(size=(1100, BATCH, *SHAPE)))


def difference(theirs, ours: np.ndarray) -> float:
    """The largest difference, of pixels of size 1."""
    return float(np.abs(np.asarray(theirs) - ours).max())
