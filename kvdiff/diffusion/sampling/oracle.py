"""Exact denoisers and exact samples' statistics, to test a schedule, a solver or a plan without training a network.

For Gaussian clips the best possible denoiser is known and affine, so a sampler is an affine map of its noise:
`push_through` carries the mean and the covariance of the sampler's state through a `StepTable` exactly, with no Monte
Carlo. Mixtures of Gaussians have an exact denoiser too, with several modes. Frames may have different noise levels, so
a known frame (alpha = 1, sigma = 0) conditions the denoiser exactly: the same formula serves generation, prediction and
interpolation.

```python
data = oracle.GaussianClips(mean, covariance)
table = step_table(schedule, prediction, solver="ddim", num_steps=20)
states = oracle.push_through(table, oracle.exact_network(data, prediction), data.mean.shape)
states[-1].mean, states[-1].covariance        # of the clips that this sampler generates
```
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from kvdiff.diffusion.checks import check_clip_shape
from kvdiff.diffusion.conditions.kinds import FrameTimes
from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.sampling.engine import DenoiserEngine
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.codec import Codec
from kvdiff.diffusion.transforms.values import Unbounded

__all__ = ["ExactDenoiser", "GaussianClips", "MixtureClips", "OracleSampler", "exact_network", "push_through"]

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
        return _spread(per_frame, self.mean.shape)

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


def exact_network(data: GaussianClips, prediction: Prediction) -> Callable[[Any, Any, Any], Affine]:
    """The raw output F of a perfectly trained network, E[p x_0 + q eps | x_t] with (p, q) of equation (6).

    Returns:
        A function (c_in, alpha, sigma), each broadcastable to [frames], -> (W [n, n], w [n]) with F = W (c_in x) + w.
        On known frames (sigma = 0) F is 0; no table reads it there.
    """

    def network(c_in: Any, alpha: Any, sigma: Any) -> Affine:
        c_in, a, s = (_spread(value, data.mean.shape) for value in (c_in, alpha, sigma))
        noisy = s > 0
        p, q = np.zeros_like(a), np.zeros_like(a)
        p[noisy], q[noisy] = prediction.target_coefficients(a[noisy], s[noisy])
        inverse = np.divide(q, s, out=np.zeros_like(s), where=noisy)  # eps = (x_t - alpha x_0) / sigma.
        matrix, offset = data.affine(alpha, sigma)
        signal = p - inverse * a
        return (signal[:, None] * matrix + np.diag(inverse)) / c_in, signal * offset

    return network


def push_through(
    table: StepTable,
    network: Callable[[Any, Any, Any], Affine],
    clip_shape: Sequence[int],
    clip: np.ndarray | None = None,
) -> list[GaussianClips]:
    """The exact distribution of a sampler's state before every row of `table` and after the last: num_steps + 1.

    The state is augmented by the remembered predictions, so that multistep solvers are affine maps as well.

    Args:
        table: of trailing shape (1,) or (frames,): where some frames are known, `table.with_known(known)`.
        network: the raw network as an affine function, e.g. `exact_network(data, prediction)`.
        clip_shape: (frames, height, width, channels).
        clip: the known frames' pixels, of clip_shape; needed where a table has known frames.
    """
    check_clip_shape("clip_shape", clip_shape)
    shape, n, memory = tuple(clip_shape), int(np.prod(clip_shape)), table.memory
    known = _spread(table.sigma[0], shape) == 0
    if known.any() and clip is None:
        raise ValueError("`clip`: expected the known frames' pixels, for `table` has known frames. Received: None")
    mean, covariance = np.zeros(memory * n), np.zeros((memory * n, memory * n))
    mean[:n] = 0.0 if clip is None else np.where(known, np.ravel(clip), 0.0)
    covariance[:n, :n] = np.diag(np.where(known, 0.0, table.init_std**2))
    states = [GaussianClips(mean[:n].reshape(shape), covariance[:n, :n])]
    for i in range(table.num_steps):
        matrix, offset, variance = _row_map(table, i, network, shape)
        mean = matrix @ mean + offset
        covariance = matrix @ covariance @ matrix.T
        covariance[:n, :n] += np.diag(variance)
        states.append(GaussianClips(mean[:n].reshape(shape), covariance[:n, :n]))
    return states


def _row_map(table: StepTable, i: int, network: Callable, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Row i of `table` as (matrix, offset, variance of x) on the state (x, D_{i-1}, …, D_{i-K+1})."""
    n, memory = int(np.prod(shape)), table.memory
    c_in, c_skip, c_out, a, std = (
        _spread(getattr(table, k)[i], shape) for k in ("c_in", "c_skip", "c_out", "a", "std")
    )
    weights, offsets = network(table.c_in[i], table.alpha[i], table.sigma[i])
    predicted = np.diag(c_skip) + (c_out[:, None] * weights) * c_in  # D_i as a map of x.
    predicted_offset = c_out * offsets
    matrix, offset = np.zeros((memory * n, memory * n)), np.zeros(memory * n)
    b = [_spread(table.b[i, k], shape) for k in range(memory)]
    matrix[:n, :n] = np.diag(a) + b[0][:, None] * predicted
    offset[:n] = b[0] * predicted_offset
    for k in range(1, memory):
        block = slice(k * n, (k + 1) * n)
        matrix[:n, block] = np.diag(b[k])
        if k == 1:
            matrix[block, :n], offset[block] = predicted, predicted_offset
        else:
            matrix[block, (k - 1) * n : k * n] = np.eye(n)
    return matrix, offset, std**2


def OracleSampler(
    data: ExactDenoiser, clip: ClipSpec, schedule: NoiseSchedule, prediction: Prediction, codec: Codec | None = None
) -> Sampler:
    """A sampler around an exact denoiser: every task, solver and schedule, without training.

    Works in float64 and does not clamp, for Gaussian pixels have no bounds.

    Args:
        data: what the clips are drawn from; with a codec, the latent clips. Gaussian data may be of more frames than
            the clip: its frames are those of the condition "frame_times".
        clip, schedule, prediction, codec: as of a trained model's spec.
    """
    times = {"frame_times": FrameTimes()} if isinstance(data, GaussianClips) else {}
    spec = ModelSpec(clip, schedule, prediction, Unbounded(), codec, times)

    def denoise(noisy_clip: np.ndarray, noise_label: np.ndarray, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The raw output F of a perfectly trained network, which knows the noise level by its label alone."""
        here = data
        if inputs and isinstance(data, GaussianClips):
            here = data.of_frames(inputs["frame_times"][0].astype(int))
        out = np.empty(noisy_clip.shape)
        labels, group = np.unique(noise_label, axis=0, return_inverse=True)
        for index, label in enumerate(labels):
            of_group = group.ravel() == index
            out[of_group] = _raw_output(spec, here, noisy_clip[of_group], label)
        return out

    return Sampler(spec, DenoiserEngine(denoise), np.float64)


def _raw_output(spec: ModelSpec, data: ExactDenoiser, noisy_clip: np.ndarray, label: np.ndarray) -> np.ndarray:
    """F at one label per frame, [frames]; 0 on clean frames."""
    noisy = label > 0
    alpha, sigma = spec.schedule.level_of_label(label)
    row = spec.prediction.preconditioning(alpha[noisy], sigma[noisy])
    column = {k: np.ones((len(label), 1, 1, 1)) for k in ("c_in", "c_skip", "c_out")}
    for name, values in column.items():
        values[noisy, 0, 0, 0] = getattr(row, name)
    x = noisy_clip / column["c_in"]
    raw = (data.denoise(x, alpha, sigma) - column["c_skip"] * x) / column["c_out"]
    return np.where(noisy[:, None, None, None], raw, 0.0)


def _spread(per_frame: Any, clip_shape: Sequence[int]) -> np.ndarray:
    """A scalar, [1] or [frames] -> float64 [n] over the flattened clip."""
    per_frame = np.broadcast_to(np.asarray(per_frame, np.float64), (clip_shape[0],))
    return np.repeat(per_frame, int(np.prod(clip_shape[1:])))


def _scaled_eigen(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(eigenvalues, eigenvectors, scale) of covariance / scale / scale', of unit diagonal: levels may differ by 1e8."""
    scale = np.sqrt(np.diag(covariance))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(covariance / scale[:, None] / scale)
    return values, vectors, scale
