"""What the network predicts, as four numbers a noise level (equation (5) of `kvdiff.diffusion`).

D(x; t) = clamp(c_skip x + c_out F(c_in x; c_noise)) is the predicted x_0 (Karras et al. 2022, arXiv:2206.00364, eq. 7).
The training target follows from the same four numbers (equation (6)), so a prediction type is written once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import built_from, check_choice, check_real
from kvdiff.diffusion.process.levels import noise_label


@dataclasses.dataclass(frozen=True, eq=False)
class Preconditioning:
    """The row (c_in, c_noise, c_skip, c_out), float64 arrays of the noise levels' shape."""

    c_in: np.ndarray
    c_noise: np.ndarray
    c_skip: np.ndarray
    c_out: np.ndarray


def _eps(alpha: np.ndarray, sigma: np.ndarray, sigma_data: float) -> tuple[np.ndarray, ...]:
    """The total noise of x_t (Ho et al. 2020, arXiv:2006.11239, eq. 11): x_0 = (x_t - sigma eps) / alpha."""
    if (np.asarray(alpha) == 0).any():
        raise ValueError(
            "prediction 'eps': expected alpha > 0 at every level. Received: alpha = 0 (zero terminal SNR), where eps "
            "says "
            "nothing of x_0. Use prediction 'v' or 'x0'."
        )
    return np.ones_like(alpha), 1.0 / alpha, -sigma / alpha


def _x0(alpha: np.ndarray, sigma: np.ndarray, sigma_data: float) -> tuple[np.ndarray, ...]:
    """The clean clip itself."""
    return np.ones_like(alpha), np.zeros_like(alpha), np.ones_like(alpha)


def _v(alpha: np.ndarray, sigma: np.ndarray, sigma_data: float) -> tuple[np.ndarray, ...]:
    """v = alpha eps - sigma x_0 (Salimans & Ho 2022, arXiv:2202.00512, appendix D), for any alpha² + sigma²."""
    power = alpha**2 + sigma**2
    return np.ones_like(alpha), alpha / power, -sigma / power


def _flow(alpha: np.ndarray, sigma: np.ndarray, sigma_data: float) -> tuple[np.ndarray, ...]:
    """The velocity eps - x_0 (Liu et al. 2022, arXiv:2209.03003): x_t = (alpha + sigma) x_0 + sigma velocity."""
    total = alpha + sigma
    return np.ones_like(alpha), 1.0 / total, -sigma / total


def _edm(alpha: np.ndarray, sigma: np.ndarray, sigma_data: float) -> tuple[np.ndarray, ...]:
    """Unit-variance input and target for data of standard deviation sigma_data (Karras et al. 2022, table 1).

    Their coefficients at sigma/alpha, with x_t/alpha for the input, multiplied out so that alpha = 0 has a limit.
    """
    power = sigma**2 + (alpha * sigma_data) ** 2
    root = np.sqrt(power)
    return 1.0 / root, alpha * sigma_data**2 / power, sigma * sigma_data / root


_FUNCTIONS: dict[str, Callable[..., tuple[np.ndarray, ...]]] = {
    "eps": _eps,
    "x0": _x0,
    "v": _v,
    "flow": _flow,
    "edm": _edm,
}
PREDICTIONS: tuple[str, ...] = tuple(_FUNCTIONS)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A prediction type: `Prediction("v")`.

    Attributes:
        name: "eps" (the noise), "x0" (the clean clip), "v" (alpha eps - sigma x_0), "flow" (the velocity eps - x_0) or
            "edm" (input and target of unit variance).
        sigma_data: the data's standard deviation; "edm" alone reads it.
    """

    name: str = "v"
    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        check_choice("prediction", self.name, _FUNCTIONS)
        check_real("sigma_data", self.sigma_data, above=0.0)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that rebuild this prediction."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | str) -> Prediction:
        """Rebuild from `config`; a bare name will do."""
        return cls(config) if isinstance(config, str) else built_from("prediction", config, cls)

    def preconditioning(self, alpha: np.ndarray, sigma: np.ndarray) -> Preconditioning:
        """The row at the levels (alpha, sigma), float64 of their shape."""
        alpha, sigma = np.asarray(alpha, np.float64), np.asarray(sigma, np.float64)
        c_in, c_skip, c_out = _FUNCTIONS[self.name](alpha, sigma, self.sigma_data)
        return Preconditioning(c_in, noise_label(alpha, sigma), c_skip, c_out)

    def target_coefficients(self, alpha: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(p, q) such that the raw network's exact output is F = p x_0 + q eps: equation (6).

        Solving (5) for F with D = x_0 and x_t = alpha x_0 + sigma eps; needs sigma > 0.
        """
        row = self.preconditioning(alpha, sigma)
        return (1.0 - row.c_skip * alpha) / row.c_out, -row.c_skip * sigma / row.c_out

    def conversion(self, other: Prediction, alpha: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(m, n) such that the raw output of `other` is m x_t + n F, with F this prediction's, for the same D.

        From any prediction to any other, e.g. to read a network's eps: `Prediction("v").conversion(Prediction("eps"),
        …)`. Needs sigma > 0.
        """
        mine, its = self.preconditioning(alpha, sigma), other.preconditioning(alpha, sigma)
        return (mine.c_skip - its.c_skip) / its.c_out, mine.c_out / its.c_out
