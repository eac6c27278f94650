"""Random fields that the wind carries and time forgets, whose law given the past is Gaussian and known."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from kvdiff.diffusion.sampling.oracle import GaussianClips

__all__ = ["AdvectedFields"]


@dataclasses.dataclass(frozen=True)
class AdvectedFields:
    """A stationary Gaussian field of unit variance that moves by `velocity` a frame and forgets by `memory`.

    Cov(x(t, s), x(t', s')) = memory^|t - t'| exp(-|s - s' - velocity (t - t')| / length): in the frame that moves
    along, every place follows x' = memory x + sqrt(1 - memory²) fresh, linear dynamics with correlated noise. The
    domain is a cut-out: what flows in at its edge is uncertain too.

    Attributes:
        frames, size: of a clip, [frames, size, size, 1].
        past: how many of its frames are known.
        velocity: pixels a frame, (down, right).
        memory: the correlation of a moving place with itself a frame later.
        length: pixels in which the correlation falls to 1 / e.
    """

    frames: int = 6
    size: int = 8
    past: int = 2
    velocity: tuple[float, float] = (0.5, 1.0)
    memory: float = 0.9
    length: float = 2.5

    @property
    def known(self) -> np.ndarray:
        """bool [frames]."""
        return np.arange(self.frames) < self.past

    @functools.cached_property
    def clips(self) -> GaussianClips:
        """The law of whole clips."""
        t, y, x = (axis.ravel() for axis in np.indices((self.frames, self.size, self.size)).astype(float))
        time = t[:, None] - t
        apart = np.hypot(
            y[:, None] - y - self.velocity[0] * time,
            x[:, None] - x - self.velocity[1] * time,
        )
        covariance = self.memory ** np.abs(time) * np.exp(-apart / self.length)
        return GaussianClips(np.zeros((self.frames, self.size, self.size, 1)), covariance)

    def sample(self, count: int, seed: int) -> np.ndarray:
        """Independent clips: float32 [count, frames, size, size, 1]."""
        factor = np.linalg.cholesky(self.clips.covariance + 1e-10 * np.eye(self.clips.mean.size)).astype(np.float32)
        noise = np.random.default_rng(seed).standard_normal((count, len(factor)), np.float32)
        return (noise @ factor.T).reshape(count, *self.clips.mean.shape)

    @functools.cached_property
    def of_future(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean as a matrix of the past [future, past], covariance [future, future]) of the frames to come, flat."""
        known = np.repeat(self.known, self.size**2)
        covariance = self.clips.covariance
        gain = np.linalg.solve(covariance[np.ix_(known, known)], covariance[np.ix_(known, ~known)]).T
        return gain, covariance[np.ix_(~known, ~known)] - gain @ covariance[np.ix_(known, ~known)]

    def future_mean(self, past: np.ndarray) -> np.ndarray:
        """E of the frames to come given the past [batch, past, size, size, 1]: float64, likewise."""
        gain, _ = self.of_future
        return (past.reshape(len(past), -1) @ gain.T).reshape(len(past), -1, *past.shape[2:])

    def exact_ensemble(self, past: np.ndarray, members: int, seed: int) -> np.ndarray:
        """Members of the exact law: float64 [members, batch, frames to come, size, size, 1]."""
        mean, (_, covariance) = self.future_mean(past), self.of_future
        factor = np.linalg.cholesky(covariance + 1e-10 * np.eye(len(covariance)))
        noise = np.random.default_rng(seed).standard_normal((members, len(past), len(factor)))
        return mean + (noise @ factor.T).reshape(members, *mean.shape)

    @property
    def exact_crps(self) -> np.ndarray:
        """The expected CRPS of the exact law, a frame to come: sigma / sqrt(pi) of a normal one, mean over pixels."""
        deviation = np.sqrt(np.diag(self.of_future[1])).reshape(self.frames - self.past, -1)
        return deviation.mean(axis=1) / np.sqrt(np.pi)
