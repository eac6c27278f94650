"""Noise schedules: how much of the clip and how much noise is in x_t.

Every forward process here is x_t = alpha_t x_0 + sigma_t eps (equation (1) of `kvdiff.diffusion`), so a schedule *is*
two float64 arrays over the training timesteps 0 … T-1, least noisy first, plus the recipe that rebuilds them.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

import numpy as np

from kvdiff.diffusion.checks import check_array, check_choice, check_count, check_mapping, check_real
from kvdiff.diffusion.limits import MAX_LOGSNR, MAX_TIMESTEPS
from kvdiff.diffusion.process.levels import PATHS, NoiseLevels, from_label, from_logsnr, half_logsnr, on_path, path_of

__all__ = ["SCHEDULES", "NoiseSchedule", "cosine", "flow", "karras", "linear", "logsnr", "scaled_linear", "sigmoid"]

_Arguments = ParamSpec("_Arguments")


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
            object.__setattr__(self, name, check_array(name, getattr(self, name)).astype(np.float64))
        check_mapping("config", self.config)
        if self.alpha.ndim != 1 or self.alpha.shape != self.sigma.shape or len(self.alpha) < 1:
            raise ValueError(
                "NoiseSchedule: expected `alpha` and `sigma` of one shape [num_timesteps]. "
                f"Received: {self.alpha.shape} and {self.sigma.shape}"
            )
        if not (np.isfinite(self.alpha).all() and (self.alpha >= 0).all()):
            raise ValueError(f"NoiseSchedule: expected finite `alpha` >= 0. Received: {_ends(self.alpha)}")
        if not (np.isfinite(self.sigma).all() and (self.sigma > 0).all()):
            raise ValueError(
                "NoiseSchedule: expected finite `sigma` > 0 at every timestep. "
                f"Received: a minimum of {self.sigma.min()}. Use a larger first beta."
            )
        if not (self.sigma[1:] * self.alpha[:-1] > self.sigma[:-1] * self.alpha[1:]).all():
            raise ValueError(
                "NoiseSchedule: expected sigma/alpha to grow with the timestep. "
                f"Received: alpha {_ends(self.alpha)}, sigma {_ends(self.sigma)}"
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """Rebuild a schedule from its `config`, e.g. `{"name": "cosine", "num_timesteps": 1000}`."""
        arguments = dict(check_mapping("schedule", config, wanted="arguments"))
        name = arguments.pop("name", None)
        shift, zero_terminal = arguments.pop("logsnr_shift", 0.0), arguments.pop("zero_terminal_snr", False)
        if name not in SCHEDULES:
            raise ValueError(f"NoiseSchedule: expected a `name` among {sorted(SCHEDULES)}. Received: {name!r}")
        known = inspect.signature(SCHEDULES[name]).parameters
        if unknown := sorted(set(arguments) - set(known)):
            raise ValueError(
                f"NoiseSchedule {name!r}: expected arguments among {[*known, 'zero_terminal_snr', 'logsnr_shift']}. "
                f"Received: {unknown}"
            )
        schedule = SCHEDULES[name](**arguments)
        schedule = schedule.with_zero_terminal_snr() if zero_terminal else schedule
        return schedule.shifted(shift) if shift else schedule

    @classmethod
    def from_betas(cls, betas: np.ndarray, config: Mapping[str, Any] | None = None) -> NoiseSchedule:
        """The chain q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I), variance preserving: equation (2)."""
        betas = check_array("betas", betas).astype(np.float64)
        if betas.ndim != 1 or not ((betas > 0) & (betas < 1)).all():
            raise ValueError(f"NoiseSchedule: expected `betas` [num_timesteps] inside (0, 1). Received: {_ends(betas)}")
        log_alphas_cumprod = np.cumsum(np.log1p(-betas))
        # expm1 keeps sigma exact where 1 - alphas_cumprod would cancel (betas near 1e-16).
        return cls(np.exp(0.5 * log_alphas_cumprod), np.sqrt(-np.expm1(log_alphas_cumprod)), config or {})

    def with_zero_terminal_snr(self) -> NoiseSchedule:
        """The schedule rescaled to end on pure noise (Lin et al. 2024, arXiv:2305.08891, Algorithm 1).

        Sampling starts from pure noise; a schedule that ends above it teaches the network to read the clip's mean from
        the "noise", and samples come out grey. Predict "v", "x0" or "flow" with it: eps says nothing of x_0 where alpha
        is 0.
        """
        if self.path != "vp" or self.num_timesteps < 2 or "logsnr_shift" in self.config:
            raise ValueError(
                "with_zero_terminal_snr: expected a variance-preserving schedule of at least 2 timesteps, rescaled "
                f"before it is shifted. Received: path {self.path!r}, {self.num_timesteps} timesteps, "
                f"config {dict(self.config)}"
            )
        first, last = self.alpha[0], self.alpha[-1]
        alpha = (self.alpha - last) * (first / (first - last))
        config = {**self.config, "zero_terminal_snr": True}
        return NoiseSchedule(alpha, np.sqrt((1.0 - alpha) * (1.0 + alpha)), config)

    def shifted(self, logsnr_shift: float) -> NoiseSchedule:
        """The schedule with `logsnr_shift` added to every log-SNR, on the same path; below 0 it is noisier.

        Frames with more, or more alike, pixels hide less under the same noise; the shift makes up for it: from side d
        to side D, 2 log(d / D) (Hoogeboom et al. 2023, arXiv:2301.11093, eq. 4). On the flow path, a shift of -2 log(m)
        is t -> m t / (1 + (m - 1) t) (Esser et al. 2024, arXiv:2403.03206, eq. 23).
        """
        check_real("logsnr_shift", logsnr_shift, above=-MAX_LOGSNR, below=MAX_LOGSNR, closed=True)
        signal, noise = self.alpha * np.exp(logsnr_shift / 4), self.sigma * np.exp(-logsnr_shift / 4)
        config = {**self.config, "logsnr_shift": self.config.get("logsnr_shift", 0.0) + logsnr_shift}
        return NoiseSchedule(*on_path(self.path, signal, noise), config)

    @property
    def path(self) -> str:
        """The path that the levels lie on: "vp", "flow" or "ve"; ValueError when none of them."""
        return path_of(self.alpha, self.sigma)

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
        return 1.0 - self.alphas_cumprod / np.append(1.0, self.alphas_cumprod[:-1])

    @property
    def logsnr(self) -> np.ndarray:
        """float64 [T], log(alpha² / sigma²); -inf where alpha is 0."""
        return 2.0 * half_logsnr(self.alpha, self.sigma)

    @property
    def snr(self) -> np.ndarray:
        """float64 [T], alpha² / sigma²."""
        return (self.alpha / self.sigma) ** 2

    def level_of_label(self, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(alpha, sigma) of a `noise_label`, on this schedule's path."""
        return from_label(self.path, label)

    def levels_at(self, logsnr: np.ndarray) -> NoiseLevels:
        """The levels at rising finite `logsnr` [num_steps], on or between the training levels, then the clean clip."""
        logsnr = check_array("logsnr", logsnr).astype(np.float64)
        if logsnr.ndim != 1 or not np.isfinite(logsnr).all():
            raise ValueError(f"NoiseSchedule.levels_at: expected finite `logsnr` [num_steps]. Received: {logsnr}")
        alpha, sigma = from_logsnr(self.path, logsnr)
        return NoiseLevels(np.append(alpha, 1.0), np.append(sigma, 0.0))

    def levels(self, timesteps: np.ndarray) -> NoiseLevels:
        """The levels at falling `timesteps` (int [num_steps]), followed by the clean clip."""
        timesteps = check_array("timesteps", timesteps, "integers")
        if timesteps.ndim != 1 or not np.issubdtype(timesteps.dtype, np.integer) or len(timesteps) == 0:
            raise ValueError(f"NoiseSchedule.levels: expected integer `timesteps` [num_steps]. Received: {timesteps!r}")
        if timesteps.min() < 0 or timesteps.max() >= self.num_timesteps or (np.diff(timesteps) >= 0).any():
            raise ValueError(
                f"NoiseSchedule.levels: expected `timesteps` falling strictly inside 0 … {self.num_timesteps - 1}. "
                f"Received: {timesteps}"
            )
        return NoiseLevels(np.append(self.alpha[timesteps], 1.0), np.append(self.sigma[timesteps], 0.0))


def _ends(array: np.ndarray) -> str:
    """How a message quotes as many numbers as there are timesteps."""
    return np.array2string(array, threshold=8, edgeitems=3)


def _named(make: Callable[_Arguments, NoiseSchedule]) -> Callable[_Arguments, NoiseSchedule]:
    """A schedule by name: its number of timesteps is checked, and its arguments become the `config`."""
    signature = inspect.signature(make)

    @functools.wraps(make)
    def schedule(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> NoiseSchedule:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        check_count("num_timesteps", bound.arguments["num_timesteps"], at_most=MAX_TIMESTEPS)
        return dataclasses.replace(make(*args, **kwargs), config={"name": make.__name__, **bound.arguments})

    return schedule


@_named
def linear(num_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
    """Betas rising linearly (Ho et al. 2020, arXiv:2006.11239, section 4), scaled by 1000 / T.

    The published ends belong to T = 1000. Used unscaled at T = 50 they leave alphas_cumprod[-1] = 0.60: the "noise"
    that sampling starts from would still be mostly signal. The scale keeps the chain's noise the same for every T.
    """
    return _ramp(1.0, num_timesteps, beta_start, beta_end)


@_named
def scaled_linear(num_timesteps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012) -> NoiseSchedule:
    """Square roots of beta rising linearly (Rombach et al. 2022, arXiv:2112.10752), scaled by 1000 / T as `linear`."""
    return _ramp(0.5, num_timesteps, beta_start, beta_end)


def _ramp(power: float, num_timesteps: int, beta_start: float, beta_end: float) -> NoiseSchedule:
    """beta^power rising linearly, scaled by 1000 / T."""
    check_real("beta_start", beta_start, above=0.0, below=1.0)
    check_real("beta_end", beta_end, above=0.0, below=1.0)
    ramp = np.linspace(beta_start**power, beta_end**power, num_timesteps, dtype=np.float64) ** (1.0 / power)
    largest = max(beta_start, beta_end) * 1000.0
    if largest >= num_timesteps:
        raise ValueError(
            f"schedule: expected beta * 1000 / num_timesteps < 1. Received: {largest / num_timesteps} at "
            f"num_timesteps={num_timesteps}. Use at least {int(largest) + 1} timesteps, or the cosine schedule."
        )
    return NoiseSchedule.from_betas(ramp * (1000.0 / num_timesteps))


@_named
def cosine(num_timesteps: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> NoiseSchedule:
    """alphas_cumprod following a squared cosine (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17)."""
    check_real("offset", offset, above=0.0, below=1.0)
    check_real("max_beta", max_beta, above=0.0, below=1.0)
    edges = np.arange(num_timesteps + 1, dtype=np.float64) / num_timesteps
    log_curve = 2.0 * np.log(np.cos((edges + offset) / (1.0 + offset) * np.pi / 2))
    return NoiseSchedule.from_betas(np.minimum(-np.expm1(np.diff(log_curve)), max_beta))


@_named
def sigmoid(
    num_timesteps: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0, max_beta: float = 0.999
) -> NoiseSchedule:
    """alphas_cumprod following a sigmoid (Jabri et al. 2022, arXiv:2212.11972, as in Chen 2023, arXiv:2301.10972).

    Args:
        num_timesteps: T.
        start, end: where on the sigmoid the chain begins and ends.
        tau: the sigmoid's temperature; above 1 spends more timesteps on little noise and on much.
        max_beta: betas are cut here, for the curve ends at 0.
    """
    check_real("tau", tau, above=1e-6, below=1e6, closed=True)
    check_real("start", start, above=-500 * tau, below=500 * tau, closed=True)  # Where exp is still a number.
    check_real("end", end, above=start, below=500 * tau)
    check_real("max_beta", max_beta, above=0.0, below=1.0)
    edges = np.arange(num_timesteps + 1, dtype=np.float64) / num_timesteps
    falling = 1.0 / (1.0 + np.exp((edges * (end - start) + start) / tau))
    curve = (falling - falling[-1]) / (falling[0] - falling[-1])
    return NoiseSchedule.from_betas(np.minimum(1.0 - curve[1:] / curve[:-1], max_beta))


@_named
def logsnr(
    num_timesteps: int = 1000, logsnr_min: float = -15.0, logsnr_max: float = 15.0, path: str = "vp"
) -> NoiseSchedule:
    """log-SNR falling linearly (Kingma et al. 2021, arXiv:2107.00630, appendix D), on any path.

    A network that knows the level and not the timestep's index sees log-SNR as good as continuous when T is large.
    """
    check_real("logsnr_min", logsnr_min, above=-MAX_LOGSNR, below=MAX_LOGSNR, closed=True)
    check_real("logsnr_max", logsnr_max, above=logsnr_min, below=MAX_LOGSNR)
    check_choice("path", path, PATHS)
    falling = np.linspace(logsnr_min, logsnr_max, num_timesteps)[::-1]  # A single timestep is the noisiest.
    return NoiseSchedule(*from_logsnr(path, falling))


@_named
def karras(
    num_timesteps: int = 1000, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> NoiseSchedule:
    """x_t = x_0 + sigma eps with sigma^(1/rho) evenly spaced (Karras et al. 2022, arXiv:2206.00364, eq. 5)."""
    check_real("sigma_min", sigma_min, above=1e-12, below=1e12, closed=True)
    check_real("sigma_max", sigma_max, above=sigma_min, below=1e12)
    check_real("rho", rho, above=0.1, below=1000.0, closed=True)
    ends = sigma_max ** (1.0 / rho), sigma_min ** (1.0 / rho)
    sigma = np.linspace(*ends, num_timesteps)[::-1] ** rho  # A single timestep is the noisiest.
    return NoiseSchedule(np.ones_like(sigma), sigma)


@_named
def flow(num_timesteps: int = 1000) -> NoiseSchedule:
    """x_t = (1 - t) x_0 + t eps, t evenly spaced up to 1, which is pure noise (Liu et al. 2022, arXiv:2209.03003)."""
    t = np.arange(1, num_timesteps + 1, dtype=np.float64) / num_timesteps
    return NoiseSchedule(1.0 - t, t)


SCHEDULES: dict[str, Callable[..., NoiseSchedule]] = {
    make.__name__: make for make in (linear, scaled_linear, cosine, sigmoid, logsnr, karras, flow)
}
"""By the names that a `config` has."""
