"""Nearest neighbours: whether generated clips are like real ones, cover them all, and are not training clips."""

from __future__ import annotations

import dataclasses

import numpy as np

from kvdiff.diffusion.checks import check_array, check_count
from kvdiff.evaluation.quality import floats

_BLOCK = 2**27  # Bytes of float64 training clips that are compared at a time.


@dataclasses.dataclass(frozen=True)
class ManifoldScore:
    """How two sets of features overlap; a ball reaches from a clip to its k-th nearest neighbour in its own set.

    Attributes:
        precision: share of generated clips inside a real clip's ball (Kynkäänniemi et al. 2019, arXiv:1904.06991).
        recall: share of real clips inside a generated clip's ball; falls when modes are missing.
        density: how many real balls a generated clip lies in, over k; less at the mercy of outliers than precision
            (Naeem et al. 2020, arXiv:2002.09797).
        coverage: share of real clips with a generated clip inside their ball; less so than recall.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold_score(real: np.ndarray, generated: np.ndarray, *, k: int = 5) -> ManifoldScore:
    """Precision, recall, density and coverage of features [num_real, size] and [num_made, size], each more than k."""
    for name, features in (("real", real), ("generated", generated)):
        if check_array(name, features).ndim != 2:
            raise ValueError(f"`{name}`: expected features [clips, size]. Received: {list(np.shape(features))}")
        check_count("k", k, at_most=len(features) - 1)
    apart = _distances(real, generated)
    real_reach, made_reach = (np.sort(_distances(own, own), axis=1)[:, k] for own in (real, generated))  # 0 is itself.
    inside_real = apart <= real_reach[:, None]
    return ManifoldScore(
        precision=float(inside_real.any(axis=0).mean()),
        recall=float((apart <= made_reach[None]).any(axis=1).mean()),
        density=float(inside_real.sum(axis=0).mean() / k),
        coverage=float(inside_real.any(axis=1).mean()),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Memorisation:
    """How near generated clips come to training clips, in root mean square of pixels in [-1, 1].

    Attributes:
        distance: float64 [num_made], to the nearest training clip.
        index: int [num_made], which one it is.
        unseen: float64 [num_unseen], the same distance of real clips that were not trained on.
    """

    distance: np.ndarray
    index: np.ndarray
    unseen: np.ndarray

    @property
    def ratio(self) -> float:
        """Median distance of generated clips over that of unseen ones: near 0 where clips are copied, else near 1."""
        return float(np.median(self.distance) / np.median(self.unseen))

    @property
    def share(self) -> float:
        """Share of generated clips nearer to a training clip than 99 % of unseen clips are; 0.01 is no sign of it."""
        return float((self.distance < np.quantile(self.unseen, 0.01)).mean())


def memorisation(generated: np.ndarray, training: np.ndarray, unseen: np.ndarray) -> Memorisation:
    """Compare generated clips with the training clips.

    Args:
        generated, training, unseen: pixels in [-1, 1] or uint8, [clips, …], of one shape but for the number of clips.
    """
    for name, clips in (("generated", generated), ("training", training), ("unseen", unseen)):
        shape = check_array(name, clips).shape
        if len(shape) < 2 or shape[1:] != np.shape(generated)[1:]:
            raise ValueError(
                f"`{name}`: expected clips [clips, …] of the shape of `generated`. Received: {list(shape)}"
            )
    distance, index = nearest(generated, training)
    return Memorisation(distance, index, nearest(unseen, training)[0])


def nearest(clips: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The root mean square distance of each clip to the nearest of others, float64 [clips], and which one that is."""
    if clips.shape[1:] != among.shape[1:] or not len(among):
        raise ValueError(f"`among`: expected clips of {list(clips.shape[1:])}. Received: {list(among.shape[1:])}")
    flat = floats(clips).reshape(len(clips), -1)
    best, index = np.full(len(flat), np.inf), np.zeros(len(flat), int)
    block = max(_BLOCK // (8 * flat.shape[1]), 1)
    for start in range(0, len(among), block):
        distance = _distances(flat, floats(among[start : start + block]).reshape(-1, flat.shape[1]))
        here = distance.argmin(axis=1)
        closer = distance[np.arange(len(flat)), here] < best
        best[closer], index[closer] = distance[closer, here[closer]], start + here[closer]
    return best / np.sqrt(flat.shape[1]), index


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Euclidean, float64 [len(a), len(b)]."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    squared = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)[None] - 2.0 * (a @ b.T)
    return np.sqrt(np.maximum(squared, 0.0))
