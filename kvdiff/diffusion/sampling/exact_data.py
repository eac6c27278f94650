"""Data whose best denoiser is known: Gaussian clips, and mixtures of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from kvdiff.diffusion.checks import check_clip_shape

Affine = tuple[np.ndarray, np.ndarray]
_RANK_TOLERANCE = 1e-13


class ExactDenoiser(Protocol):
    """Data whose best denoiser is known: `GaussianClips`, `MixtureClips`, or your own."""

    def denoise(self, x: np.ndarray, alpha: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """E[x_0 | x_t = x]: float64 [batch, frames, height, width, channels], at levels broadcastable to [frames]."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianClips:
    """Clips drawn from N(mean, covariance), with any correlation across frames and pixels.

    Attributes:
        mean: float64 [frames, height, width, channels].
        covariance: float64 [n, n] over the flattened clip, n = frames * height * width * channels; may be singular.
    """

    mean: np.ndarray
    covariance: np.ndarray

    def __post_init__(self) -> None:
        mean, covariance = np.asarray(self.mean, np.float64), np.asarray(self.covariance, np.float64)
        check_clip_shape("mean", mean.shape)
        if covariance.shape != (mean.size, mean.size):
            raise ValueError(f"`covariance`: expected shape {(mean.size, mean.size)}. Received: {covariance.shape}")
        if not np.isfinite(mean).all() or not np.isfinite(covariance).all():
            raise ValueError("GaussianClips: expected a finite `mean` and `covariance`. Received: NaN or infinity")
        size = np.abs(covariance).max()
        if np.abs(covariance - covariance.T).max() > 1e-9 * size or np.linalg.eigvalsh(covariance).min() < -1e-9 * size:
            raise ValueError("`covariance`: expected a symmetric matrix without negative eigenvalues.")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "covariance", covariance)

    def affine(self, alpha: Any, sigma: Any) -> Affine:
        """(M [n, n], m [n]) of the best denoiser E[x_0 | x_t] = M x_t + m: equation (10).

        Args:
            alpha, sigma: the noise level, broadcastable to [frames].
        """
        a, gain = self._pixels(alpha), self._gain(alpha, sigma)
        return gain, self.mean.ravel() - gain @ (a * self.mean.ravel())

    def denoise(self, x: np.ndarray, alpha: Any, sigma: Any) -> np.ndarray:
        """E[x_0 | x_t = x]: float64 [batch, frames, height, width, channels]."""
        matrix, offset = self.affine(alpha, sigma)
        return (x.reshape(len(x), -1) @ matrix.T + offset).reshape(x.shape)

    def log_density(self, x: np.ndarray, alpha: Any, sigma: Any) -> np.ndarray:
        """log p(x_t = x) up to a constant that depends on n and the level alone: float64 [batch]."""
        values, vectors, scale = _scaled_eigen(self._noisy_covariance(alpha, sigma))
        values = np.maximum(values, _RANK_TOLERANCE)
        centred = (x.reshape(len(x), -1) - self._pixels(alpha) * self.mean.ravel()) / scale
        return -0.5 * ((centred @ vectors) ** 2 / values).sum(axis=1) - 0.5 * np.log(values).sum() - np.log(scale).sum()

    def conditional(self, known: np.ndarray, clip: np.ndarray) -> GaussianClips:
        """The clips that agree with `clip` on the frames of `known` (bool [frames]); the given frames do not vary."""
        known = np.asarray(known, bool)
        matrix, offset = self.affine(known, ~known)  # Level (1, 0) tells a frame exactly; (0, 1) says nothing of it.
        mean = matrix @ (self._pixels(known) * np.ravel(clip)) + offset
        covariance = self.covariance - (matrix * self._pixels(known)) @ self.covariance
        values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
        covariance = (vectors * np.maximum(values, 0.0)) @ vectors.T  # Rounding leaves small negative eigenvalues.
        return GaussianClips(mean.reshape(self.mean.shape), covariance)

    def of_frames(self, frames: np.ndarray) -> GaussianClips:
        """The same clips, of which only some frames are looked at: int [frames]."""
        if len(frames) == len(self.mean) and (frames == np.arange(len(frames))).all():
            return self
        pixels = np.arange(self.mean.size).reshape(len(self.mean), -1)[frames].ravel()
        return GaussianClips(self.mean[frames], self.covariance[np.ix_(pixels, pixels)])

    def _pixels(self, per_frame: Any) -> np.ndarray:
        """[frames] or scalar -> float64 [n]."""
        return spread_over_pixels(per_frame, self.mean.shape)

    def _noisy_covariance(self, alpha: Any, sigma: Any) -> np.ndarray:
        a = self._pixels(alpha)
        return a[:, None] * self.covariance * a + np.diag(self._pixels(sigma) ** 2)

    def _gain(self, alpha: Any, sigma: Any) -> np.ndarray:
        """C A (A C A + S²)^+, by a pseudo-inverse: a known frame has no noise, and its covariance may be singular."""
        values, vectors, scale = _scaled_eigen(self._noisy_covariance(alpha, sigma))
        inverse = np.where(values > _RANK_TOLERANCE, 1.0 / np.maximum(values, _RANK_TOLERANCE), 0.0)
        precision = (vectors * inverse) @ vectors.T / scale[:, None] / scale
        return (self.covariance * self._pixels(alpha)) @ precision


@dataclasses.dataclass(frozen=True, eq=False)
class MixtureClips:
    """Clips drawn from one of several Gaussians: data with modes.

    Attributes:
        weights: float64 [components], probabilities.
        components: the Gaussians, all of one shape.
    """

    weights: np.ndarray
    components: Sequence[GaussianClips]

    def __post_init__(self) -> None:
        weights = np.asarray(self.weights, np.float64)
        object.__setattr__(self, "weights", weights)
        if weights.shape != (len(self.components),) or not (weights > 0).all() or abs(weights.sum() - 1.0) > 1e-9:
            raise ValueError(
                f"`weights`: expected {len(self.components)} probabilities > 0 that sum to 1. Received: {weights}"
            )
        if len({component.mean.shape for component in self.components}) != 1:
            raise ValueError("`components`: expected Gaussians over clips of one shape.")

    def responsibilities(self, x: np.ndarray, alpha: Any, sigma: Any) -> np.ndarray:
        """p(component | x_t = x), float64 [batch, components]."""
        log_p = np.stack([c.log_density(x, alpha, sigma) for c in self.components], axis=1) + np.log(self.weights)
        p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def denoise(self, x: np.ndarray, alpha: Any, sigma: Any) -> np.ndarray:
        """E[x_0 | x_t = x], the components' answers weighted by `responsibilities`."""
        answers = np.stack([component.denoise(x, alpha, sigma) for component in self.components])
        return np.einsum("bk,kb...->b...", self.responsibilities(x, alpha, sigma), answers)


def spread_over_pixels(per_frame: Any, clip_shape: Sequence[int]) -> np.ndarray:
    """A scalar, [1] or [frames] -> float64 [n] over the flattened clip."""
    per_frame = np.broadcast_to(np.asarray(per_frame, np.float64), (clip_shape[0],))
    return np.repeat(per_frame, int(np.prod(clip_shape[1:])))


def _scaled_eigen(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(eigenvalues, eigenvectors, scale) of covariance / scale / scale', of unit diagonal: levels may differ by 1e8."""
    scale = np.sqrt(np.diag(covariance))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / scale[:, None] / scale)
    return values, vectors, scale
