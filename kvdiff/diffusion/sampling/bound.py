"""The variational bound on a clip's code length: every term, in bits a dimension, also of some frames given the others.

Equation (13) of `kvdiff.diffusion`: L = L_T + sum of L_{t-1} + L_0. Each L_{t-1} compares two Gaussians whose means
differ by b (x_0 - D), so the ancestral sampler's own table holds all the coefficients there are, see `bound_table.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_count, check_known
from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.process.noise import video_noise
from kvdiff.diffusion.sampling.engine import denoise_of
from kvdiff.diffusion.sampling.sampler import Sampler, check_sampler
from kvdiff.diffusion.solvers.bound_table import all_steps
from kvdiff.diffusion.solvers.rows import LearnedVarianceRow
from kvdiff.diffusion.tasks import masks
from kvdiff.diffusion.transforms.clamps import clamp_to

__all__ = ["BitsPerDim", "bits_per_dim", "discretized_bits", "divergence", "prior_divergence"]

_BITS_PER_NAT = 1.0 / math.log(2.0)


def divergence(error: Any, log_var: Any, *, b: Any, log_var_min: Any) -> np.ndarray:
    """L_{t-1} for t >= 1, elementwise in nats: KL(q(x_{t-1} | x_t, x_0), p(x_{t-1} | x_t)) (Ho et al. 2020, eq. 5).

    Args:
        error: x_0 - D.
        log_var: the logarithm of the sampler's variance, anything between log_var_min and log_var_max.
        b, log_var_min: the row of a `BoundTable`.
    """
    gap = log_var_min - log_var
    return 0.5 * (np.expm1(gap) - gap + (b * error) ** 2 * np.exp(-log_var))


def prior_divergence(x_0: np.ndarray, alpha: float, sigma: float, init_std: float) -> np.ndarray:
    """L_T, elementwise in nats: KL(q(x_T | x_0), N(0, init_std²)) at the last timestep's (alpha, sigma)."""
    ratio = (sigma / init_std) ** 2
    return 0.5 * (ratio - 1.0 - math.log(ratio) + (alpha * x_0 / init_std) ** 2)


def discretized_bits(x_0: np.ndarray, mean: Any, std: Any, levels: int = 256) -> np.ndarray:
    """-log2 of the mass that N(mean, std²) puts on x_0's pixel value, elementwise: L_0 in bits.

    Each of `levels` values evenly spaced over [-1, 1] owns the interval around it; the outermost reach to infinity (Ho
    et al. 2020, arXiv:2006.11239, eq. 13).
    """
    check_count("levels", levels, at_least=2)
    half = 1.0 / (levels - 1)
    lower = np.where(x_0 < -1.0 + half, -np.inf, (x_0 - mean - half) / std)
    upper = np.where(x_0 > 1.0 - half, np.inf, (x_0 - mean + half) / std)
    # By symmetry in the lower tail, where the difference of two distribution functions does not cancel.
    mirrored = lower > 0
    lower, upper = np.where(mirrored, -upper, lower), np.where(mirrored, -lower, upper)
    mass = _normal_cdf(upper) - _normal_cdf(lower)
    return -_BITS_PER_NAT * np.log(np.maximum(mass, 1e-300))  # At most 997 bits, where the mass underflows.


def _normal_cdf(z: np.ndarray) -> np.ndarray:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in np.ravel(z)]).reshape(np.shape(z))


@dataclasses.dataclass(frozen=True, eq=False)
class BitsPerDim:
    """A clip set's bound in bits per pixel value, apart by term and frame; NaN where a frame is known.

    Attributes:
        prior: float64 [batch, frames], L_T.
        terms: float64 [num_timesteps, batch, frames]: L_0, then every L_{t-1} for t = 1 … num_timesteps - 1.
    """

    prior: np.ndarray
    terms: np.ndarray

    @property
    def per_frame(self) -> np.ndarray:
        """float64 [batch, frames], the sum of all terms."""
        return self.prior + self.terms.sum(axis=0)

    @property
    def per_timestep(self) -> np.ndarray:
        """float64 [num_timesteps], each term's mean over the frames that are not known."""
        return np.nanmean(self.terms, axis=(1, 2))

    @property
    def total(self) -> float:
        """Bits per dimension of the frames that are not known, given those that are."""
        return float(np.nanmean(self.per_frame))


def bits_per_dim(
    sampler: Sampler,
    clips: np.ndarray,
    known: np.ndarray | None = None,
    *,
    variance: str = "small",
    conditions: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> BitsPerDim:
    """The variational bound of `clips`, with one draw of noise a timestep (improved-diffusion's `calc_bpd_loop`).

    Args:
        sampler: any whose engine has single network calls, of a model without a codec. Its clamp applies.
        clips: [batch, frames, height, width, channels], uint8 or the values that uint8 pixels scale to.
        known: bool [frames] or [batch, frames], the known frames: the bound is of the others, given those. None by
            default.
        variance: of the sampler: "small", "large", or "learned" where the network has the channels for it.
        conditions: what the clips are conditioned on, as in sampling: the bound is then of clips given those too. What
            is not named is absent.
        seed: of the noise; timestep t draws step t of it, and clip i is sample i.
    """
    check_sampler("sampler", sampler)
    check_count("seed", seed, at_least=0, at_most=2**64 - 1)
    check_choice("variance", variance, ("small", "large", "learned"))
    if sampler.spec.codec is not None:
        raise ValueError("bits_per_dim: expected a model without a codec, whose latent has no pixels. Received: one")
    clips = sampler.spec.encode(sampler.spec.values.checked("clips", clips, sampler.spec.clip.frame_shape)).astype(
        sampler.dtype
    )
    known = masks.none(clips.shape[1]) if known is None else known
    known = check_known("known", known, *clips.shape[:2])
    inputs = Conditioning.of(sampler.spec.conditions, conditions, clips.shape, values=sampler.spec.values).inputs
    schedule = sampler.spec.schedule
    table = all_steps(schedule, sampler.spec.prediction)
    terms = []
    for index, row in enumerate(table.with_known(known).rows(sampler.dtype)):
        t = schedule.num_timesteps - 1 - index
        noise = video_noise(seed, t, np.arange(len(clips)), clips.shape[1:])
        noisy = np.where(_pixels(known), clips, schedule.alpha[t] * clips + schedule.sigma[t] * noise)
        assert isinstance(row, LearnedVarianceRow)
        terms.append(_frame_means(_term_bits(sampler, row, clips, (noisy, inputs), t, variance), known))
    prior = prior_divergence(clips, schedule.alpha[-1], schedule.sigma[-1], table.init_std)
    return BitsPerDim(_frame_means(_BITS_PER_NAT * prior, known), np.stack(terms[::-1]))


def _term_bits(
    sampler: Sampler,
    row: LearnedVarianceRow,
    clips: np.ndarray,
    shown: tuple[np.ndarray, Mapping[str, np.ndarray]],
    t: int,
    variance: str,
) -> np.ndarray:
    """L_0 or L_{t-1} of every pixel, in bits; known frames hold numbers without meaning."""
    noisy, inputs = shown[0].astype(sampler.dtype), shown[1]
    label = np.broadcast_to(row.c_noise[..., 0, 0, 0], noisy.shape[:2])
    out = np.asarray(denoise_of(sampler.engine, "bits_per_dim")(row.c_in * noisy, label, inputs))
    raw, log_var = out[..., : clips.shape[-1]], row.log_var_min if variance == "small" or t == 0 else row.log_var_max
    if variance == "learned":
        raw, log_var = row.split(out)
    error = clips - np.asarray(clamp_to(sampler.spec.bounds)(row.c_skip * noisy + row.c_out * raw))
    error, log_var = error.astype(np.float64), np.asarray(log_var, np.float64)
    if t == 0:
        return discretized_bits(clips, clips - error, np.exp(0.5 * log_var))
    return _BITS_PER_NAT * divergence(error, log_var, b=row.b[0], log_var_min=row.log_var_min)


def _pixels(known: np.ndarray) -> np.ndarray:
    return known[:, :, None, None, None]


def _frame_means(bits: np.ndarray, known: np.ndarray) -> np.ndarray:
    """[batch, frames, height, width, channels] -> [batch, frames], NaN where known."""
    return np.where(known, np.nan, bits.mean(axis=(2, 3, 4)))
