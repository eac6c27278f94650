"""Noise schedules: how much of the clip and how much noise is in x_t.

Every forward process here is x_t = alpha_t x_0 + sigma_t eps (equation (1) of `kvdiff.diffusion`), so a schedule *is* two
float64 arrays over the training timesteps 0 … T-1, least noisy first, plus the recipe that rebuilds them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_count, check_real

__all__ = ["SCHEDULES", "NoiseLevels", "NoiseSchedule", "cosine", "linear"]


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseLevels:
    """The noise levels that a sampler visits, noisiest first, ending on the clean clip.

    Attributes:
        alpha: float64 [num_steps + 1], the signal's factor; the last is 1.
        sigma: float64 [num_steps + 1], the noise's standard deviation; the last is 0.
    """

    alpha: np.ndarray
    sigma: np.ndarray

    def __post_init__(self) -> None:
        for name in ("alpha", "sigma"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        if self.alpha.ndim != 1 or self.alpha.shape != self.sigma.shape or len(self.alpha) < 2:
            raise ValueError(
                "NoiseLevels: expected `alpha` and `sigma` of one shape [num_steps + 1] with num_steps >= 1. "
                f"Received: {self.alpha.shape} and {self.sigma.shape}"
            )
        if not (np.isfinite(self.alpha).all() and np.isfinite(self.sigma).all()):
            raise ValueError(f"NoiseLevels: expected finite levels. Received: alpha={self.alpha}, sigma={self.sigma}")
        if self.alpha[-1] != 1.0 or self.sigma[-1] != 0.0:
            raise ValueError(
                "NoiseLevels: expected the last level to be clean (alpha=1, sigma=0). "
                f"Received: alpha={self.alpha[-1]}, sigma={self.sigma[-1]}"
            )
        # sigma/alpha must fall; written as a cross product because alpha may be 0 (pure noise).
        falls = self.sigma[:-1] * self.alpha[1:] > self.sigma[1:] * self.alpha[:-1]
        if not falls.all():
            raise ValueError(
                "NoiseLevels: expected every level to be less noisy than the one before it; "
                f"step {int(np.argmin(falls))} is not. Use fewer steps or another spacing."
            )

    @property
    def num_steps(self) -> int:
        """The number of denoising steps, one less than the number of levels."""
        return len(self.alpha) - 1


@dataclasses.dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The noise levels of training: x_t = alpha[t] x_0 + sigma[t] eps, for t = 0 … T-1, least noisy first.

    Attributes:
        alpha: float64 [T], the signal's factor, in [0, 1].
        sigma: float64 [T], the noise's standard deviation, above 0.
        config: the recipe, `{"name": …, **arguments}`; `NoiseSchedule.from_config` rebuilds the schedule from it.
    """

    alpha: np.ndarray
    sigma: np.ndarray
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("alpha", "sigma"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        if self.alpha.ndim != 1 or self.alpha.shape != self.sigma.shape or len(self.alpha) < 1:
            raise ValueError(
                "NoiseSchedule: expected `alpha` and `sigma` of one shape [num_timesteps]. "
                f"Received: {self.alpha.shape} and {self.sigma.shape}"
            )
        if not (np.isfinite(self.alpha).all() and (self.alpha >= 0).all()):
            raise ValueError("NoiseSchedule: expected finite `alpha` >= 0.")
        if not (np.isfinite(self.sigma).all() and (self.sigma > 0).all()):
            raise ValueError(
                "NoiseSchedule: expected finite `sigma` > 0 at every timestep. "
                f"Received: a minimum of {self.sigma.min()}. Use a larger first beta."
            )
        if not (self.sigma[1:] * self.alpha[:-1] > self.sigma[:-1] * self.alpha[1:]).all():
            raise ValueError("NoiseSchedule: expected sigma/alpha to grow with the timestep.")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """Rebuild a schedule from its `config`, e.g. `{"name": "cosine", "num_timesteps": 1000}`."""
        arguments = dict(config)
        name, shift = arguments.pop("name", None), arguments.pop("logsnr_shift", 0.0)
        if name not in SCHEDULES:
            raise ValueError(f"NoiseSchedule: expected a `name` among {sorted(SCHEDULES)}. Received: {name!r}")
        known = inspect.signature(SCHEDULES[name]).parameters
        if unknown := sorted(set(arguments) - set(known)):
            raise ValueError(f"NoiseSchedule {name!r}: expected arguments among {list(known)}. Received: {unknown}")
        schedule = SCHEDULES[name](**arguments)
        return schedule.shifted(shift) if shift else schedule

    @classmethod
    def from_betas(cls, betas: np.ndarray, config: Mapping[str, Any] | None = None) -> NoiseSchedule:
        """The variance-preserving chain q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I): equations (2), (3)."""
        betas = np.asarray(betas, np.float64)
        if betas.ndim != 1 or not ((betas > 0) & (betas < 1)).all():
            raise ValueError(f"NoiseSchedule: expected `betas` [num_timesteps] inside (0, 1). Received: {betas}")
        log_alphas_cumprod = np.cumsum(np.log1p(-betas))
        # expm1 keeps sigma exact where 1 - alphas_cumprod would cancel (betas near 1e-16).
        return cls(np.exp(0.5 * log_alphas_cumprod), np.sqrt(-np.expm1(log_alphas_cumprod)), config or {})

    def shifted(self, logsnr_shift: float) -> NoiseSchedule:
        """The schedule with `logsnr_shift` added to every log-SNR, alpha² + sigma² unchanged; below 0 it is noisier.

        Frames with more, or more alike, pixels hide less under the same noise; the shift makes up for it (Hoogeboom et al.
        2023, arXiv:2301.11093, eq. 4).
        """
        check_real("logsnr_shift", logsnr_shift)
        alpha, sigma = self.alpha * np.exp(logsnr_shift / 4), self.sigma * np.exp(-logsnr_shift / 4)
        scale = np.hypot(self.alpha, self.sigma) / np.hypot(alpha, sigma)
        config = {**self.config, "logsnr_shift": self.config.get("logsnr_shift", 0.0) + logsnr_shift}
        return NoiseSchedule(alpha * scale, sigma * scale, config)

    @property
    def num_timesteps(self) -> int:
        """T, the number of training noise levels."""
        return len(self.alpha)

    @property
    def alphas_cumprod(self) -> np.ndarray:
        """float64 [T], alpha² (the DDPM array; meaningful for variance-preserving schedules)."""
        return self.alpha**2

    @property
    def betas(self) -> np.ndarray:
        """float64 [T], the variance that each step of the forward chain adds."""
        previous = np.concatenate([[1.0], self.alphas_cumprod[:-1]])
        return 1.0 - self.alphas_cumprod / previous

    @property
    def logsnr(self) -> np.ndarray:
        """float64 [T], log(alpha² / sigma²); -inf where alpha is 0."""
        with np.errstate(divide="ignore"):
            return 2.0 * (np.log(self.alpha) - np.log(self.sigma))

    def levels(self, timesteps: np.ndarray) -> NoiseLevels:
        """The levels at falling `timesteps` (int [num_steps]), followed by the clean clip."""
        timesteps = np.asarray(timesteps)
        if timesteps.ndim != 1 or not np.issubdtype(timesteps.dtype, np.integer) or len(timesteps) == 0:
            raise ValueError(f"NoiseSchedule.levels: expected integer `timesteps` [num_steps]. Received: {timesteps!r}")
        if timesteps.min() < 0 or timesteps.max() >= self.num_timesteps or (np.diff(timesteps) >= 0).any():
            raise ValueError(
                f"NoiseSchedule.levels: expected `timesteps` falling strictly inside 0 … {self.num_timesteps - 1}. "
                f"Received: {timesteps}"
            )
        return NoiseLevels(np.append(self.alpha[timesteps], 1.0), np.append(self.sigma[timesteps], 0.0))


def linear(num_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
    """Betas rising linearly (Ho et al. 2020, arXiv:2006.11239, section 4), scaled by 1000 / T.

    The published ends belong to T = 1000. Used unscaled at T = 50 they leave alphas_cumprod[-1] = 0.60: the "noise" that
    sampling starts from would still be mostly signal. The scale keeps the whole chain's noise the same for every T.
    """
    check_count("num_timesteps", num_timesteps)
    check_real("beta_start", beta_start, above=0.0, below=1.0)
    check_real("beta_end", beta_end, above=0.0, below=1.0)
    scale = 1000.0 / num_timesteps
    betas = np.linspace(beta_start * scale, beta_end * scale, num_timesteps, dtype=np.float64)
    if betas.max() >= 1.0:
        raise ValueError(
            f"linear schedule: expected beta_end * 1000 / num_timesteps < 1. Received: {betas.max()} at "
            f"num_timesteps={num_timesteps}. Use at least {int(beta_end * 1000) + 1} timesteps, or the cosine schedule."
        )
    config = dict(name="linear", num_timesteps=num_timesteps, beta_start=beta_start, beta_end=beta_end)
    return NoiseSchedule.from_betas(betas, config)


def cosine(num_timesteps: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> NoiseSchedule:
    """alphas_cumprod following a squared cosine (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17)."""
    check_count("num_timesteps", num_timesteps)
    check_real("offset", offset, above=0.0, below=1.0)
    check_real("max_beta", max_beta, above=0.0, below=1.0)
    edges = np.arange(num_timesteps + 1, dtype=np.float64) / num_timesteps
    log_curve = 2.0 * np.log(np.cos((edges + offset) / (1.0 + offset) * np.pi / 2))
    betas = np.minimum(-np.expm1(np.diff(log_curve)), max_beta)
    config = dict(name="cosine", num_timesteps=num_timesteps, offset=offset, max_beta=max_beta)
    return NoiseSchedule.from_betas(betas, config)


SCHEDULES: dict[str, Callable[..., NoiseSchedule]] = {"linear": linear, "cosine": cosine}
