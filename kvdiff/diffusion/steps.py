"""A sampler is a table: one row a network call, and one function that applies a row.

Every solver in use is a linear recurrence with a short memory (equation (7) of `kvdiff.diffusion`):

    D_i  =  clamp(c_skip x + c_out F(c_in x; c_noise))
    x   <-  a x + b_0 D_i + b_1 D_{i-1} + … + b_{K-1} D_{i-K+1} + std z_i

so a `StepTable` of float64 columns says all there is to say about a solver, and `step` runs on NumPy arrays, on Keras tensors
and, transcribed, on ONNX nodes. Known frames are rows too: a = 1, b = 0, std = 0, and the clean noise label.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kvdiff.diffusion.predictions import Prediction
from kvdiff.diffusion.schedules import NoiseLevels

__all__ = ["Row", "StepTable", "clamp_unit", "step"]

_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One row of a `StepTable`; every field is [batch or 1, frames or 1, 1, 1, 1], `b` has K of them in front."""

    c_in: Any
    c_noise: Any
    c_skip: Any
    c_out: Any
    a: Any
    b: Any
    std: Any


@dataclasses.dataclass(frozen=True, eq=False)
class StepTable:
    """A solver's coefficients, checked against the theory on construction.

    The trailing shape S is (1,) for one noise level a row, (frames,) or (batch, frames) where frames differ.

    Attributes:
        alpha, sigma: float64 [num_steps + 1, *S], the noise level before each row and after the last.
        c_in, c_noise, c_skip, c_out: float64 [num_steps, *S], the denoiser's preconditioning, equation (5).
        a, std: float64 [num_steps, *S]; b: float64 [num_steps, K, *S]; the recurrence, equation (7).
        init_std: the standard deviation of the noise that sampling starts from.
        keeps_variance: whether the solver promises equation (9); False for DDPM's larger fixed variance.
    """

    alpha: np.ndarray
    sigma: np.ndarray
    c_in: np.ndarray
    c_noise: np.ndarray
    c_skip: np.ndarray
    c_out: np.ndarray
    a: np.ndarray
    b: np.ndarray
    std: np.ndarray
    init_std: float = 1.0
    keeps_variance: bool = True

    COLUMNS = ("c_in", "c_noise", "c_skip", "c_out", "a", "b", "std")

    @classmethod
    def from_recurrence(
        cls,
        levels: NoiseLevels,
        prediction: Prediction,
        *,
        a: np.ndarray,
        b: np.ndarray,
        std: np.ndarray,
        init_std: float = 1.0,
        keeps_variance: bool = True,
    ) -> StepTable:
        """The table of a solver given by a, std [num_steps] and b [num_steps, K] on `levels`."""
        row = prediction.preconditioning(levels.alpha[:-1], levels.sigma[:-1])
        column = {field.name: getattr(row, field.name)[:, None] for field in dataclasses.fields(row)}
        return cls(
            alpha=levels.alpha[:, None],
            sigma=levels.sigma[:, None],
            a=np.asarray(a)[:, None],
            b=np.asarray(b)[:, :, None],
            std=np.asarray(std)[:, None],
            init_std=init_std,
            keeps_variance=keeps_variance,
            **column,
        )

    def __post_init__(self) -> None:
        for name in ("alpha", "sigma", *self.COLUMNS):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        self._check_shapes()
        self._check_theory()

    def _check_shapes(self) -> None:
        n, trailing = self.a.shape[0], self.a.shape[1:]
        expected = {name: (n, *trailing) for name in self.COLUMNS} | {
            "alpha": (n + 1, *trailing),
            "sigma": (n + 1, *trailing),
            "b": (n, self.memory, *trailing),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value.shape != shape or n == 0:
                raise ValueError(f"StepTable: expected `{name}` of shape {shape}. Received: {value.shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"StepTable: expected finite `{name}`. Received: {value}")

    def _check_theory(self) -> None:
        """Equations (8) and (9): with D = x_0, each row carries level t to level s exactly."""
        mean = self.alpha[:-1] * self.a + self.b.sum(axis=1) - self.alpha[1:]
        if np.abs(mean).max() > _TOLERANCE * max(1.0, np.abs(self.b).sum(axis=1).max()):
            raise ValueError(f"StepTable: alpha_t a + sum(b) must equal alpha_s in every row; off by {mean.ravel()}")
        variance = (self.sigma[:-1] * self.a) ** 2 + self.std**2 - self.sigma[1:] ** 2
        scale = max(1.0, (self.sigma**2).max())
        if self.keeps_variance and np.abs(variance).max() > _TOLERANCE * scale:
            raise ValueError(f"StepTable: (sigma_t a)² + std² must equal sigma_s² in every row; off by {variance.ravel()}")
        if (self.std[-1] != 0).any() or (self.std < 0).any():
            raise ValueError(f"StepTable: `std` must be >= 0 and 0 in the last row. Received: {self.std.ravel()}")

    @property
    def num_steps(self) -> int:
        """The number of rows, each one network call."""
        return self.a.shape[0]

    @property
    def memory(self) -> int:
        """K, how many predictions of x_0 the recurrence uses."""
        return self.b.shape[1] if self.b.ndim > 1 else 0

    def with_known(self, known: np.ndarray) -> StepTable:
        """The same solver with the frames of `known` (bool, [frames] or [batch, frames]) held clean in every row."""
        known = np.asarray(known, bool)
        clean = dict(alpha=1, sigma=0, c_in=1, c_noise=0, c_skip=1, c_out=0, a=1, b=0, std=0)
        axes = tuple(range(1, known.ndim))  # (steps, [K,] 1) -> (steps, [K,] 1, 1) where known has a batch axis.

        def held(name: str, value: float) -> np.ndarray:
            column = getattr(self, name)
            if column.shape[-1] != 1 or column.ndim != (3 if name == "b" else 2):
                raise ValueError("StepTable.with_known: expected a table with one noise level a row.")
            return np.where(known, value, np.expand_dims(column, tuple(column.ndim - 1 + i for i in range(len(axes)))))

        return dataclasses.replace(self, **{name: held(name, value) for name, value in clean.items()})

    def rows(self, dtype: Any = np.float32) -> Iterator[Row]:
        """The rows, cast once: each field [batch or 1, frames or 1, 1, 1, 1], `b` with K in front."""
        batch, frames = np.broadcast_shapes((1, 1), self.a.shape[1:])
        for i in range(self.num_steps):
            fields = {name: getattr(self, name)[i].astype(dtype) for name in self.COLUMNS}
            yield Row(**{
                name: value.reshape(*value.shape[: value.ndim - self.a.ndim + 1], batch, frames, 1, 1, 1)
                for name, value in fields.items()
            })


def clamp_unit(x: np.ndarray) -> np.ndarray:
    """Clamp to the pixels' range, [-1, 1] (NumPy)."""
    return np.clip(x, -1.0, 1.0)


def step(row: Row, x: Any, out: Any, history: tuple[Any, ...], noise: Any, clamp: Callable[[Any], Any]) -> tuple[Any, tuple]:
    """Equation (7): the next x and the history D_i, D_{i-1}, …, from the network's raw output.

    Uses `+` and `*` alone, so it runs on any array type.

    Args:
        row: one row of a `StepTable`.
        x: the noisy clip, [batch, frames, height, width, channels].
        out: F(c_in x; c_noise), the raw output, of x's shape.
        history: the K latest predictions of x_0, newest first; zeros at the start.
        noise: standard normal noise of x's shape, or 0 where every std is 0.
        clamp: what keeps the predicted x_0 in range, e.g. `clamp_unit`.
    """
    history = (clamp(row.c_skip * x + row.c_out * out), *history[:-1])
    moved = row.a * x
    for k, predicted in enumerate(history):
        moved = moved + row.b[k] * predicted
    return moved + row.std * noise, history
