"""A sampler is a table: one row a network call, and one function that applies a row.

Every solver in use is a linear recurrence with a short memory (equation (7) of `kvdiff.diffusion`):

    D_i  =  clamp(c_skip x + c_out F(c_in x; c_noise))
    x   <-  a x + b_0 D_i + b_1 D_{i-1} + … + b_{K-1} D_{i-K+1} + std z_i

so a `StepTable` of float64 columns says all there is to say about a solver, and `step` runs on NumPy arrays, on Keras
tensors and, transcribed, on ONNX nodes. Known frames are rows too: a = 1, b = 0, std = 0, and the clean noise label.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from kvdiff.diffusion.drawing import drawn_levels
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.solvers.rows import KnownLevel, LearnedVarianceRow, Row

_TOLERANCE = 1e-9


class Levels(Protocol):
    """The noise levels of the rows: `NoiseLevels`, or any (alpha, sigma) [num_steps + 1], which may repeat or rise."""

    @property
    def alpha(self) -> np.ndarray:
        """The signal's factor."""
        ...

    @property
    def sigma(self) -> np.ndarray:
        """The noise's standard deviation."""
        ...


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

    A two-call solver has two rows a step, so `num_steps` counts network calls.
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

    COLUMNS: ClassVar[tuple[str, ...]] = ("c_in", "c_noise", "c_skip", "c_out", "a", "b", "std")
    ROW: ClassVar[type[Row]] = Row

    @classmethod
    def from_recurrence(
        cls,
        levels: Levels,
        prediction: Prediction,
        *,
        a: np.ndarray,
        b: np.ndarray,
        std: np.ndarray,
        init_std: float | None = None,
        keeps_variance: bool = True,
        **columns: np.ndarray,
    ) -> Self:
        """The table of a solver given by a, std [num_steps] and b [num_steps, K] on `levels`.

        `init_std` is by default 1 on the variance-preserving path, where x_T has unit variance for data of unit
        variance, and sigma_T elsewhere. Further `columns` [num_steps] are a subclass'.
        """
        b = np.asarray(b)
        if b.ndim != 2:
            raise ValueError(f"StepTable: expected `b` of shape [num_steps, K]. Received: {b.shape}")
        row = prediction.preconditioning(levels.alpha[:-1], levels.sigma[:-1])
        columns |= {field.name: getattr(row, field.name) for field in dataclasses.fields(row)} | dict(a=a, std=std)
        if init_std is None:
            preserving = abs(np.hypot(levels.alpha[0], levels.sigma[0]) - 1.0) <= _TOLERANCE
            init_std = 1.0 if preserving else float(levels.sigma[0])
        return cls(
            alpha=levels.alpha[:, None],
            sigma=levels.sigma[:, None],
            b=b[:, :, None],
            init_std=init_std,
            keeps_variance=keeps_variance,
            **{name: np.asarray(column)[:, None] for name, column in columns.items()},
        )

    @classmethod
    def from_differences(
        cls,
        levels: Levels,
        prediction: Prediction,
        differences: np.ndarray | None = None,
        *,
        std: np.ndarray | float = 0.0,
        init_std: float | None = None,
    ) -> Self:
        """The table of a solver given by what it adds to DDIM: equation (11).

        Args:
            levels: the levels before each row and after the last.
            prediction: what the network predicts.
            differences: c [num_steps, K - 1], the weight of D_i - D_{i-k} for k = 1 … K - 1; none for a first-order
                solver.
            std: of the fresh noise, [num_steps]; at most sigma_s.
            init_std: as in `from_recurrence`.
        """
        sigma_t, sigma_s = levels.sigma[:-1], levels.sigma[1:]
        std = np.broadcast_to(np.asarray(std, np.float64), sigma_t.shape)
        a = np.sqrt((sigma_s - std) * (sigma_s + std)) / sigma_t
        c = np.zeros((len(a), 0)) if differences is None else np.asarray(differences, np.float64)
        newest = levels.alpha[1:] - a * levels.alpha[:-1] + c.sum(axis=1)
        b = np.concatenate([newest[:, None], -c], axis=1)
        return cls.from_recurrence(levels, prediction, a=a, b=b, std=std, init_std=init_std)

    def __post_init__(self) -> None:
        for name in ("alpha", "sigma", *self.COLUMNS):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        self._check_shapes()
        self._check_theory()

    def _check_shapes(self) -> None:
        n, trailing = self.a.shape[0], self.a.shape[1:]
        expected = dict.fromkeys(self.COLUMNS, (n, *trailing)) | {
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
        if not (np.isfinite(self.init_std) and self.init_std > 0):
            raise ValueError(f"StepTable: expected `init_std` > 0. Received: {self.init_std}")
        mean = self.alpha[:-1] * self.a + self.b.sum(axis=1) - self.alpha[1:]
        if np.abs(mean).max() > _TOLERANCE * max(1.0, np.abs(self.b).sum(axis=1).max()):
            raise ValueError(f"StepTable: alpha_t a + sum(b) must equal alpha_s in every row; off by {mean.ravel()}")
        variance = (self.sigma[:-1] * self.a) ** 2 + self.std**2 - self.sigma[1:] ** 2
        scale = max(1.0, (self.sigma**2).max())
        if self.keeps_variance and np.abs(variance).max() > _TOLERANCE * scale:
            raise ValueError(
                f"StepTable: (sigma_t a)² + std² must equal sigma_s² in every row; off by {variance.ravel()}"
            )
        if (self.std[self.sigma[1:] == 0] != 0).any() or (self.std < 0).any():
            raise ValueError(
                f"StepTable: `std` must be >= 0 and 0 where a row ends clean. Received: {self.std.ravel()}"
            )

    @property
    def num_steps(self) -> int:
        """The number of rows, each one network call."""
        return self.a.shape[0]

    @property
    def memory(self) -> int:
        """K, how many predictions of x_0 the recurrence uses."""
        return self.b.shape[1] if self.b.ndim > 1 else 0

    def _repr_html_(self) -> str:
        """In a notebook: the noise before each row and after the last, of every frame of the first clip."""
        noise = self.sigma**2 / (self.alpha**2 + self.sigma**2)
        lines = noise.reshape(len(noise), -1, noise.shape[-1])[:, 0]
        title = f"{type(self).__name__}: {self.num_steps} network calls, each by {self.memory} predictions at most"
        return drawn_levels(title, lines)

    def with_known(self, known: np.ndarray) -> StepTable:
        """The same solver with the frames of `known` (bool, [frames] or [batch, frames]) kept clean in every row."""
        known = np.asarray(known, bool)
        return self._gathered(np.where(known, self.num_steps, 0), ~known, self.num_steps, KnownLevel())

    def for_frames(self, start: np.ndarray, stop: np.ndarray, level: KnownLevel | None = None) -> StepTable:
        """The table of clips whose frames are at different rows: each goes through rows start … stop - 1 of this one.

        A frame with start = stop stays as it is: at `num_steps` it is finished and clean, at 0 still the noise that
        sampling starts from.

        Args:
            start, stop: int [frames] or [batch, frames], 0 … num_steps; all frames that move take equally many rows.
            level: of the finished frames, where they are not clean.
        """
        start, stop = np.asarray(start), np.asarray(stop)
        moves = stop > start
        calls = int((stop - start).max())
        if ((stop - start)[moves] != calls).any() or calls < 1:
            raise ValueError(
                f"StepTable.for_frames: expected frames that move to take equally many rows. Received: {stop - start}"
            )
        return self._gathered(start, moves, calls, level or KnownLevel())

    def _gathered(self, start: np.ndarray, moves: np.ndarray, calls: int, level: KnownLevel) -> StepTable:
        """`calls` rows for each frame, from row `start` on where it moves."""
        if self.a.shape[1:] != (1,):
            raise ValueError(
                "StepTable.for_frames: expected a table with one noise level a row. "
                f"Received: columns of shape {self.a.shape}"
            )
        row = np.where(start == self.num_steps, self.num_steps + 1, start)  # One row further than the last: clean.
        ahead = np.arange(calls + 1).reshape(-1, *(1,) * start.ndim)
        index = np.where(moves, row + ahead, row)
        columns: dict[str, Any] = {
            name: self._extended(name, getattr(level, name))[index] for name in ("alpha", "sigma")
        }
        for name in self.COLUMNS:
            column = self._extended(name, getattr(level, name, 0.0))[index[:-1]]
            columns[name] = np.moveaxis(column, -1, 1) if name == "b" else column
        columns["a"] = np.where(moves, columns["a"], 1.0)
        columns["b"], columns["std"] = np.where(moves, columns["b"], 0.0), np.where(moves, columns["std"], 0.0)
        return dataclasses.replace(self, **columns)

    def _extended(self, name: str, known: float) -> np.ndarray:
        """A column [rows, …] padded to num_steps + 2 rows, the last being that of a known frame."""
        column = getattr(self, name)[..., 0]
        padding = np.zeros((self.num_steps + 2 - len(column), *column.shape[1:]))
        padding[-1] = known
        return np.concatenate([column, padding])

    def rows(self, dtype: Any = np.float32) -> Iterator[Row]:
        """The rows, cast once: each field [batch or 1, frames or 1, 1, 1, 1], `b` with K in front."""
        batch, frames = np.broadcast_shapes((1, 1), self.a.shape[1:])
        for i in range(self.num_steps):
            fields = {name: getattr(self, name)[i].astype(dtype) for name in self.COLUMNS}
            yield self.ROW(
                **{
                    name: value.reshape(*value.shape[: value.ndim - self.a.ndim + 1], batch, frames, 1, 1, 1)
                    for name, value in fields.items()
                }
            )


@dataclasses.dataclass(frozen=True, eq=False)
class LearnedVarianceTable(StepTable):
    """A table whose noise the network scales (`LearnedVarianceRow`): `std` is 1 in rows that draw noise, else 0.

    Attributes:
        log_var_min, log_var_max: float64 [num_steps, *S], the logarithms of the variances between which it
            interpolates.
    """

    log_var_min: np.ndarray = dataclasses.field(kw_only=True)
    log_var_max: np.ndarray = dataclasses.field(kw_only=True)

    COLUMNS: ClassVar[tuple[str, ...]] = (*StepTable.COLUMNS, "log_var_min", "log_var_max")
    ROW: ClassVar[type[Row]] = LearnedVarianceRow


def step(
    row: Row,
    x: Any,
    out: Any,
    history: tuple[Any, ...],
    noise: Any,
    clamp: Callable[[Any], Any],
    exp: Callable[[Any], Any] = np.exp,
) -> tuple[Any, tuple]:
    """Equation (7): the next x and the history D_i, D_{i-1}, …, from the network's raw output.

    Uses `+` and `*` alone, so it runs on any array type.

    Args:
        row: one row of a `StepTable`.
        x: the noisy clip, [batch, frames, height, width, channels].
        out: F(c_in x; c_noise), the raw output, of x's shape; with twice the channels from a network that
            learned its variance, whatever solver then uses it.
        history: the K latest predictions of x_0, newest first; zeros at the start.
        noise: standard normal noise of x's shape, or 0 where every std is 0.
        clamp: what keeps the predicted x_0 in range, see `kvdiff.diffusion.transforms.clamps`.
        exp: the exponential function of the array type; read where the variance is learned.
    """
    raw, std = row.read(out, x.shape[-1], exp)
    history = (clamp(row.c_skip * x + row.c_out * raw), *history[:-1])
    moved = row.a * x
    for k, predicted in enumerate(history):
        moved = moved + row.b[k] * predicted
    return moved + std * noise, history
