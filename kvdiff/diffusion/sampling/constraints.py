"""Constraint guidance: linear quantities of the generated frames, imposed while sampling.

Where y = A x_0 + noise is known, the best prediction of x_0 is no longer D = E[x_0 | x_t] but

    E[x_0 | x_t, y] = D + C A' (A C A' + s² I)^-1 (y - A D),        C = Cov[x_0 | x_t] = sigma_t² / alpha_t dD/dx_t

The formula is exact where x_0 given x_t is Gaussian, and C is Tweedie's of second order, so a product C A' v is one
gradient through the network (Rozet et al. 2024, "Learning diffusion priors from observations by expectation
maximization", arXiv:2405.13712, section 3.2). The linear system is solved by conjugate gradients: as many gradients a
step. On Gaussian data the samples' law converges to the exact one given y, at the solver's order.

A trained network's gradient is not exact, and where there is much noise its error is multiplied by sigma_t² / alpha_t:
C is then no covariance, and the gradients may lead away. So the best of them counts; where none helps nothing changes.

```python
rain = constraints.Constraint(constraints.FrameTotals(), target)      # target [batch, frames], NaN where free
model.predict_frames(past, constraints=[rain])
```
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_count, check_kind, check_real
from kvdiff.diffusion.limits import MAX_VALUE
from kvdiff.diffusion.sampling.quantities import BlockMeans, ClipTotal, FrameTotals, PixelValues, Quantity
from kvdiff.diffusion.solvers.rows import Row
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.diffusion.spec import ModelSpec

__all__ = [
    "BlockMeans",
    "ClipTotal",
    "Constraint",
    "FrameTotals",
    "Imposed",
    "PixelValues",
    "Quantity",
    "covariance_scale",
    "imposed_output",
]


@dataclasses.dataclass(frozen=True, eq=False)
class Constraint:
    """A linear quantity of clips and what it is to be, in the numbers of the model's values.

    Attributes:
        quantity: what is measured.
        target: float [batch or 1, …], the quantity of whole clips, known frames among them; NaN is free. Of a call
            with members, they share it.
        noise: the standard deviation of the target's own error, in its unit; 0 is exact.
    """

    quantity: Quantity
    target: Any
    noise: float = 0.0

    def __post_init__(self) -> None:
        check_kind("quantity", self.quantity, Quantity, "a quantity, e.g. FrameTotals()")
        object.__setattr__(self, "target", check_array("target", self.target).astype(np.float32))
        if np.isinf(self.target).any():
            raise ValueError("`target`: expected finite numbers, or NaN where it is free. Received: infinity")
        check_real("noise", self.noise, above=0.0, below=MAX_VALUE, closed=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Imposed:
    """The constraints of a window, in the numbers of x_0.

    Attributes:
        quantities: what is measured, of slope · x_0.
        targets: what they are to be, [batch, …] each, 0 where free.
        there: 1 where there is a target, 0 where it is free, [batch, …] each.
        variances: of the targets' errors.
        slope: numbers of the values for each of x_0's, [channels].
        iterations: of conjugate gradients.
    """

    quantities: tuple[Quantity, ...]
    targets: tuple[Any, ...]
    there: tuple[Any, ...]
    variances: tuple[float, ...]
    slope: Any
    iterations: int

    @classmethod
    def of(cls, spec: ModelSpec, asked: Any, iterations: int, video: np.ndarray, num_windows: int) -> Imposed:
        """Check what a user asked for, of clips like `video` [batch, frames, height, width, channels]."""
        check_count("constraint_iterations", iterations)
        if isinstance(asked, Constraint) or not isinstance(asked, Sequence) or not asked:
            raise TypeError(f"`constraints`: expected a list of constraints. Received: {asked!r}")
        slope, offset = _affine(spec)
        zero, targets, there = np.broadcast_to(offset, (1, *video.shape[1:])), [], []
        for constraint in asked:
            quantity = check_kind("constraints", constraint, Constraint, "constraints").quantity
            if num_windows > 1 and not quantity.per_frame:
                raise ValueError(
                    f"`constraints`: {type(quantity).__name__} expected one window for the whole clip. "
                    f"Received: {num_windows}"
                )
            shape = quantity.shape(video.shape[1], video.shape[2:])
            if constraint.target.shape not in ((1, *shape), (len(video), *shape)):
                raise ValueError(
                    f"`constraints`: the target of {type(quantity).__name__} expected shape "
                    f"{[f'1 or {len(video)}', *shape]}. Received: {list(constraint.target.shape)}"
                )
            target = np.broadcast_to(constraint.target, (len(video), *shape))
            free = np.isnan(target)
            there.append((~free).astype(np.float32))
            targets.append(np.where(free, 0.0, target - quantity.measure(np, zero)).astype(np.float32))
        quantities = tuple(constraint.quantity for constraint in asked)
        variances = tuple(constraint.noise**2 for constraint in asked)
        return cls(quantities, tuple(targets), tuple(there), variances, slope.astype(np.float32), iterations)

    def rows(self, rows: np.ndarray) -> Imposed:
        """Those of some clips of the batch."""
        return self._each(lambda quantity, value: value[rows])

    def frames(self, frames: np.ndarray) -> Imposed:
        """Those of a window: the frames of the video that are numbered `frames`."""
        return self._each(lambda quantity, value: value[:, frames] if quantity.per_frame else value)

    def _each(self, change: Callable[[Quantity, Any], Any]) -> Imposed:
        targets, there = (
            tuple(change(*pair) for pair in zip(self.quantities, values, strict=True))
            for values in (self.targets, self.there)
        )
        return dataclasses.replace(self, targets=targets, there=there)

    def correction(self, xp: Any, x_0: Any, covariance: Callable[[Any], Any]) -> Any:
        """What to add to the predicted x_0, so that it is the best one given the targets too.

        Args:
            xp: `numpy` or `keras.ops`.
            x_0: the prediction D, [batch, frames, height, width, channels].
            covariance: C u of a clip u, the covariance of x_0 given x_t.
        """

        def spread(values: Sequence[Any]) -> Any:
            parts = zip(self.quantities, values, self.there, strict=True)
            return self.slope * sum(quantity.spread(xp, value * there, x_0) for quantity, value, there in parts)

        def measure(clip: Any) -> list[Any]:
            return [
                quantity.measure(xp, self.slope * clip) * there
                for quantity, there in zip(self.quantities, self.there, strict=True)
            ]

        def system(values: Sequence[Any]) -> list[Any]:
            measured = measure(covariance(spread(values)))
            return [m + s * v for m, s, v in zip(measured, self.variances, values, strict=True)]

        wanted = [t - m for t, m in zip(self.targets, measure(x_0), strict=True)]
        return covariance(spread(_solved(xp, system, wanted, self.iterations)))


def covariance_scale(table: StepTable, index: int, shape: tuple[int, ...]) -> np.ndarray:
    """sigma² / alpha of the frames that row `index` moves, 0 of the others: float64 [batch, frames, 1, 1, 1]."""
    moves = np.broadcast_to(table.b.any(axis=(0, 1)), shape[:2])
    alpha, sigma = (np.broadcast_to(column[index], shape[:2]) for column in (table.alpha, table.sigma))
    scale = np.where(moves & (alpha > 0), sigma**2 / np.where(alpha > 0, alpha, 1.0), 0.0)  # Of pure noise: no change.
    return scale[:, :, None, None, None]


def imposed_output(
    xp: Any, imposed: Imposed, row: Row, x: Any, out: Any, scale: Any, pullback: Callable[[Any], Any]
) -> Any:
    """The network's output with which the prediction of x_0 is the best one given the targets too.

    Args:
        xp: `numpy` or `keras.ops`.
        imposed: the constraints.
        row, x, out: of the table, the state, and the network's output for it.
        scale: of `covariance_scale`.
        pullback: of a clip u, the gradient of sum(u D) with respect to x.
    """
    raw = out[..., : x.shape[-1]]
    change = imposed.correction(xp, row.c_skip * x + row.c_out * raw, lambda u: scale * pullback(u))
    known = row.c_out == 0.0
    changed = raw + xp.where(known, xp.zeros_like(change), change / xp.where(known, xp.ones_like(row.c_out), row.c_out))
    return xp.concatenate([changed, out[..., x.shape[-1] :]], axis=-1)


def _solved(xp: Any, system: Callable, right: list[Any], iterations: int) -> list[Any]:
    """Conjugate gradients, for every clip its own; one that is solved, or where curvature is lost, rests.

    Returned is what leaves the smallest rest: where the system is none of a covariance, the rest may grow.
    """

    def dot(a: Sequence[Any], b: Sequence[Any]) -> Any:
        products = (x * y for x, y in zip(a, b, strict=True))  # Not reshaped: in a graph the batch may have any size.
        return sum(
            xp.sum(each, axis=tuple(range(1, len(each.shape)))) if len(each.shape) > 1 else each for each in products
        )

    def ratio(a: Any, b: Any) -> Any:
        """a / b, 0 where b is not positive."""
        return xp.where(b > 0.0, a / xp.where(b > 0.0, b, xp.ones_like(b)), xp.zeros_like(b))

    def moved(a: Sequence[Any], length: Any, b: Sequence[Any]) -> list[Any]:
        return [x + of_clips(length, x) * y for x, y in zip(a, b, strict=True)]

    def of_clips(numbers: Any, like: Any) -> Any:
        """[batch] as [batch, 1, …]."""
        return xp.reshape(numbers, (-1, *[1] * (len(like.shape) - 1)))

    found, rest, way = [0.0 * each for each in right], right, right
    size = first = least = dot(rest, rest)
    best = found
    for _ in range(iterations):
        image = system(way)
        length = xp.where(size > 1e-12 * first, ratio(size, dot(way, image)), xp.zeros_like(size))
        found, rest = moved(found, length, way), moved(rest, -length, image)
        size, before = dot(rest, rest), size
        way = moved(rest, ratio(size, before), way)
        better = size < least
        best = [xp.where(of_clips(better, new), new, old) for new, old in zip(found, best, strict=True)]
        least = xp.where(better, size, least)
    return best


def _affine(spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """(slope, offset) [channels] of the values' decoding; raises where it is none that a straight line describes."""
    if spec.codec is not None:
        raise ValueError(f"`constraints`: expected a model without a codec. Received: {type(spec.codec).__name__}")
    low, zero, high = (
        np.asarray(spec.values.decode(np.full((1, 1, 1, 1, spec.clip.channels), x, np.float32)), np.float64).ravel()
        for x in (-0.5, 0.0, 0.5)
    )
    if not np.allclose(high + low, 2.0 * zero, rtol=0.0, atol=1e-4 * np.abs(high - low).max()):
        raise ValueError(
            "`constraints`: expected values that are linear in x_0, for what is imposed is. "
            f"Received: {spec.values.config['values']}"
        )
    return high - low, zero
