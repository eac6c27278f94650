"""The Keras engines: the network call and the table's row compiled into one graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_real
from kvdiff.diffusion.conditions.conditioning import Conditioning, guided_output
from kvdiff.diffusion.sampling.constraints import Imposed, covariance_scale, imposed_output
from kvdiff.diffusion.sampling.engine import Draws
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.solvers.rows import Row
from kvdiff.diffusion.solvers.step_table import StepTable, step
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.clamps import clamp_to

__all__ = ["KerasEngine", "ReconstructionEngine", "ReconstructionSampler"]


class KerasEngine:
    """Runs windows through a Keras denoiser; the clip stays on the device between rows.

    Args:
        denoiser: a Keras model of `{"noisy_clip", "noise_label"}`, as `UNet3D` returns.
        spec: what it was trained for.
        clamp: of predicted x_0, on tensors, in place of the values' bounds, e.g. `dynamic(xp=keras.ops)`.
    """

    def __init__(self, denoiser: keras.Model, spec: ModelSpec, *, clamp: Callable[[Any], Any] | None = None) -> None:
        self._denoiser, self._conditions = denoiser, spec.conditions
        self.clamp = clamp or clamp_to(spec.bounds, ops)
        self.compile()

    def compile(self) -> None:
        """Forget the graphs that were traced: for a network that computes otherwise from now on."""
        self._compiled_call = compiled(self.call)
        self._compiled_step = compiled(self._step)
        self._compiled_imposed: dict[Any, Callable[..., Any]] = {}

    @property
    def imposes_constraints(self) -> bool:
        """Whether the network has a gradient here: on TensorFlow."""
        return keras.backend.backend() == "tensorflow"

    def denoise(self, noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any] | None = None) -> Any:
        """The network's raw output, float32."""
        tensors = {name: ops.convert_to_tensor(value) for name, value in (inputs or {}).items()}
        return self._compiled_call(ops.convert_to_tensor(noisy_clip), ops.convert_to_tensor(noise_label), tensors)

    def call(self, noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any]) -> Any:
        """As `denoise`, of tensors and inside of a graph."""
        inputs = {"noisy_clip": noisy_clip, "noise_label": noise_label, **inputs}
        return ops.cast(self._denoiser(inputs, training=False), "float32")

    def run_window(
        self, table: StepTable, x: np.ndarray, history: np.ndarray, draws: Draws
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in `Engine`."""
        state, memory = ops.convert_to_tensor(x), tuple(ops.convert_to_tensor(predicted) for predicted in history)
        conditioning = draws.conditioning.on(ops.convert_to_tensor)
        for index, row in enumerate(table.rows()):
            noise = ops.convert_to_tensor(np.broadcast_to(draws.fresh(index, row), x.shape))
            here = conditioning.at(row.c_noise)
            asked = (here.inputs, here.guidance, here.rescale)  # A tuple, for what `spread` says of objects.
            call: tuple[Any, ...] = (type(row), spread(row, x.shape), (state, memory), noise, asked)
            if draws.imposed is None:
                state, memory = self._compiled_step(*call)
            else:
                scale = ops.convert_to_tensor(covariance_scale(table, index, x.shape).astype("float32"))
                state, memory = self._imposed_step(draws.imposed)(
                    *call, scale, draws.imposed.targets, draws.imposed.there
                )
            draws.report(1)
        return ops.convert_to_numpy(state), np.stack([ops.convert_to_numpy(predicted) for predicted in memory])

    def _step(
        self,
        row_type: type[Row],
        columns: dict[str, Any],
        state: tuple[Any, tuple[Any, ...]],
        noise: Any,
        asked: tuple[dict[str, Any], Any, float],
    ) -> Any:
        row, (x, history), (inputs, guidance, rescale) = row_type(**columns), state, asked
        conditioning = Conditioning(self._conditions, inputs, guidance, rescale=rescale)
        # The network is a graph of its own, so steps of other solvers, lengths of memory and batches share its tracing.
        out = guided_output(ops, self._compiled_call, row.c_in * x, row.c_noise[:, :, 0, 0, 0], conditioning)
        return step(row, x, out, history, noise, self.clamp, ops.exp)

    def _imposed_step(self, imposed: Imposed) -> Callable[..., Any]:
        """`_step` with constraints of these quantities; their targets are arguments, so one graph serves many calls."""
        import tensorflow as tf

        def step_of(
            row_type: type[Row],
            columns: dict[str, Any],
            state: tuple[Any, tuple[Any, ...]],
            noise: Any,
            asked: tuple[dict[str, Any], Any, float],
            scale: Any,
            targets: tuple[Any, ...],
            there: tuple[Any, ...],
        ) -> Any:
            row, (x, history), (inputs, guidance, rescale) = row_type(**columns), state, asked
            conditioning = Conditioning(self._conditions, inputs, guidance, rescale=rescale)
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(x)
                out = guided_output(ops, self.call, row.c_in * x, row.c_noise[:, :, 0, 0, 0], conditioning)
                predicted = row.c_skip * x + row.c_out * out[..., : x.shape[-1]]
            here = dataclasses.replace(imposed, targets=targets, there=there)
            pullback = lambda u: tape.gradient(predicted, x, output_gradients=u)  # noqa: E731
            out = imposed_output(ops, here, row, x, out, scale, pullback)
            return step(row, x, out, history, noise, self.clamp, ops.exp)

        key = (imposed.quantities, imposed.variances, imposed.iterations)
        if key not in self._compiled_imposed:
            self._compiled_imposed[key] = compiled(step_of)
        return self._compiled_imposed[key]


class ReconstructionEngine(KerasEngine):
    """Imposes known frames on a model that was trained without any, by reconstruction guidance. TensorFlow only.

    Known frames carry noise like the others, drawn anew in each row (the replacement method); and because that alone
    does not make the other frames agree with them, the predicted x_0 of the unknown frames descends the known frames'
    error (Ho et al. 2022, arXiv:2204.03458, eq. 7):

        D_unknown <- D_unknown - (weight alpha_t / 2) d|x_0 - D|²_known / d x_t

    A model of this package knows clean frames from training and does better without.

    Args:
        denoiser, spec: as for `KerasEngine`.
        weight: w_r, at least 0; 0 is the replacement method, the paper uses 2 and more.
    """

    denoise = None  # type: ignore[assignment]  # A single call would leave the guidance out.
    imposes_constraints = False  # It has a way of its own to impose frames.

    def __init__(self, denoiser: keras.Model, spec: ModelSpec, *, weight: float = 2.0) -> None:
        if not isinstance(denoiser, keras.Model):
            received = type(denoiser).__name__
            raise TypeError(f"ReconstructionSampler: expected a Keras model, for its gradient. Received: {received}")
        super().__init__(denoiser, spec)
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError("ReconstructionSampler: expected the TensorFlow backend, for its gradient.")
        self.weight = check_real("weight", weight, above=0.0, below=np.inf, closed=True)
        self._compiled_guided_step = compiled(self._guided_step)

    def run_window(
        self, table: StepTable, x: np.ndarray, history: np.ndarray, draws: Draws
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in `Engine`, with the known frames on the noise level of the others."""
        known, table = self._known_frames(table, draws, x.shape)
        video, given = x, known[:, :, None, None, None]
        state, memory = ops.convert_to_tensor(x), tuple(ops.convert_to_tensor(predicted) for predicted in history)
        for index, row in enumerate(table.rows()):
            alpha, sigma = (np.float32(column[index, 0]) for column in (table.alpha, table.sigma))
            state = ops.where(given, alpha * video + sigma * draws(index), state)
            noise = ops.convert_to_tensor(draws(index + 1))
            goal = (alpha, video, given)
            state, memory = self._compiled_guided_step(type(row), spread(row, x.shape), (state, memory), noise, goal)
            draws.report(1)
        clip = np.where(given, video, ops.convert_to_numpy(state))
        return clip, np.stack([ops.convert_to_numpy(predicted) for predicted in memory])

    @staticmethod
    def _known_frames(table: StepTable, draws: Draws, shape: tuple[int, ...]) -> tuple[np.ndarray, StepTable]:
        """The known frames, bool [batch, frames], and the table of the others, one level for all.

        Raises:
            ValueError: conditions, noisy known frames, or frames that are at different levels.
        """
        moves = np.broadcast_to(table.b.any(axis=(0, 1)), shape[:2])
        sigma = np.moveaxis(table.sigma, 0, -1)  # [frames or 1, rows], or with the batch before it.
        levels = np.unique(np.broadcast_to(sigma, (*shape[:2], sigma.shape[-1]))[moves], axis=0)
        noisy = np.broadcast_to(table.sigma[0], shape[:2])[~moves].any()
        if draws.conditioning.inputs or noisy or len(levels) > 1:
            raise ValueError(
                "ReconstructionSampler: expected clean known frames, the others at one noise level, and no conditions. "
                f"Received: {'noisy known frames, ' if noisy else ''}{len(levels)} levels, "
                f"conditions {list(draws.conditioning.inputs)}"
            )
        first = tuple(np.argwhere(np.broadcast_to(table.b.any(axis=(0, 1)), table.a.shape[1:]))[0])
        columns = {name: getattr(table, name)[(..., *first)][..., None] for name in ("alpha", "sigma", *table.COLUMNS)}
        return ~moves, dataclasses.replace(table, **columns)

    def _guided_step(
        self,
        row_type: type[Row],
        columns: dict[str, Any],
        state: tuple[Any, tuple[Any, ...]],
        noise: Any,
        goal: tuple[Any, Any, Any],
    ) -> Any:
        import tensorflow as tf

        row, (x, history), (alpha, clip, known) = row_type(**columns), state, goal
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = self.call(row.c_in * x, row.c_noise[:, :, 0, 0, 0], {})
            raw = out[..., : x.shape[-1]]
            error = ops.where(known, clip - (row.c_skip * x + row.c_out * raw), 0.0)
            squared = ops.sum(ops.square(error))
        descent = ops.where(known, 0.0, 0.5 * self.weight * alpha * tape.gradient(squared, x))
        # D = c_skip x + c_out F, so a descent of D is one of F over c_out.
        return step(row, x, raw - descent / row.c_out, history, noise, self.clamp, ops.exp)


def ReconstructionSampler(denoiser: keras.Model, spec: ModelSpec, *, weight: float = 2.0) -> Sampler:
    """A sampler that imposes known frames by reconstruction guidance, see `ReconstructionEngine`.

    `ReconstructionSampler(model.denoiser, model.spec)` is that of a trained model.
    """
    return Sampler(spec, ReconstructionEngine(denoiser, spec, weight=weight))


def spread(row: Row, clip_shape: tuple[int, ...]) -> dict[str, Any]:
    """The fields of `row` as tensors [batch, frames, 1, 1, 1]: one graph serves every task and solver of one memory.

    A dictionary, because a compiled function would take each row object for a new constant and trace anew.
    """

    def tensor(column: np.ndarray) -> Any:
        return ops.convert_to_tensor(np.broadcast_to(column, (*column.shape[:-5], *clip_shape[:2], 1, 1, 1)))

    return {field.name: tensor(getattr(row, field.name)) for field in dataclasses.fields(row)}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on TensorFlow; variables are read at call time, so training on is seen. Others run it as it is."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, reduce_retracing=True, autograph=False)
